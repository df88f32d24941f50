"""``sstp://user:password@host:port`` links."""

from __future__ import annotations

from urllib.parse import unquote

from .profile import Draft, ImportedProfile

SCHEME = "sstp://"


def read_link(text: str) -> ImportedProfile:
    """Return the profile of a link; it is called as its host. Raises ConfigError, which never repeats a password."""
    rest = text.strip()[len(SCHEME) :]
    end = min((position for mark in "/?#" if (position := rest.find(mark)) >= 0), default=len(rest))
    # An unencoded "/" or "#" may be part of a password before the last "@".
    at = rest.rfind("@")
    if at > end:
        end = min((position for mark in "/?#" if (position := rest.find(mark, at)) >= 0), default=len(rest))
    authority, behind = rest[:end], rest[end:]
    login, _, place = authority.rpartition("@")
    draft = Draft(place.partition(":")[0] if not place.startswith("[") else place[1:].partition("]")[0])
    draft.server(place)
    user, _, password = login.partition(":")
    draft.user(unquote(user), None, "user")
    draft.secret("password", unquote(password), "password")
    if behind.strip("/"):
        draft.drop("what follows the port", "links of other programs mean different things by it")
    return draft.finish()
