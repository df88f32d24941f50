"""Digest authentication (RFC 7616), and the MD5 of its predecessors that proxies still ask for (RFC 2617, RFC 2069).

The password itself never goes out, only a hash of it with the proxy's nonce, ours, a count, the method and the URI.
Of the qualities of protection only "auth" is used: "auth-int" hashes a body, and CONNECT has none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ...errors import RemoteProtocolError
from .challenge import Challenge


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


_HASHES: Final[dict[str, Callable[[bytes], str]]] = {"MD5": _md5, "SHA-256": _sha256}
if "sha512_256" in hashlib.algorithms_available:
    _HASHES["SHA-512-256"] = _sha512_256
_SESSION: Final = "-SESS"
# RFC 5987 section 3.2.1: what need not be percent-encoded in an extended value.
_ATTRIBUTE_CHARACTERS: Final = "!#$&+-.^_`|~"
_PLAIN = re.compile(r"[\t\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class DigestChallenge:
    """A challenge that can be answered. Texts stand for octets, as ISO 8859-1: they go back as they came."""

    realm: str
    nonce: str
    opaque: str | None
    algorithm: str | None
    """As the proxy wrote it; None: not at all, which means MD5."""
    with_qop: bool
    """False for RFC 2069, which has neither a count nor a nonce of ours."""
    utf8: bool
    userhash: bool
    stale: bool
    """Whether only the nonce was too old: the same password with the new nonce is expected."""

    @property
    def hash_name(self) -> str:
        """The hash: "MD5", "SHA-256" or "SHA-512-256"."""
        return (self.algorithm or "MD5").upper().removesuffix(_SESSION)

    @property
    def strength(self) -> int:
        """What is wanted most when a proxy offers several: a larger number is a longer hash."""
        return ("MD5", "SHA-256", "SHA-512-256").index(self.hash_name)

    @property
    def in_sessions(self) -> bool:
        """Whether the secret is hashed once for all requests with the nonce ("-sess")."""
        return (self.algorithm or "").upper().endswith(_SESSION)


def parse_digest(challenge: Challenge) -> DigestChallenge:
    """Return what a Digest challenge asks for. Raises RemoteProtocolError when it cannot be answered."""
    parameters = challenge.parameters
    nonce = parameters.get("nonce")
    if not nonce:
        raise RemoteProtocolError("a Digest challenge without a nonce", layer="http")
    qop = parameters.get("qop")
    offered = {item.strip().lower() for item in qop.split(",")} if qop is not None else set()
    if offered and "auth" not in offered:
        raise RemoteProtocolError("a Digest challenge that wants bodies to be signed (qop=auth-int)", layer="http")
    result = DigestChallenge(
        realm=parameters.get("realm", ""),
        nonce=nonce,
        opaque=parameters.get("opaque"),
        algorithm=parameters.get("algorithm"),
        with_qop="auth" in offered,
        utf8=parameters.get("charset", "").upper() == "UTF-8",
        userhash=parameters.get("userhash", "").lower() == "true",
        stale=parameters.get("stale", "").lower() == "true",
    )
    if result.hash_name not in _HASHES:
        raise RemoteProtocolError("a Digest challenge with an unknown algorithm", layer="http")
    if any(map(_CONTROL.search, (result.realm, result.nonce, result.opaque or ""))):
        raise RemoteProtocolError("a Digest challenge with control characters", layer="http")
    return result


def answer_digest(
    challenge: DigestChallenge,
    *,
    username: str,
    password: str,
    method: str,
    uri: str,
    cnonce: str,
    count: int = 1,
) -> str:
    """Return the value of Proxy-Authorization (or Authorization, for other users than proxies), as ISO 8859-1.

    ``uri`` is the request's target as sent. ``count`` says how often the nonce has been used, from 1.
    """
    encoding = _encoding(challenge, username + password)
    user = username.encode(encoding, "replace")
    response = _response(challenge, user, password.encode(encoding, "replace"), method, uri, cnonce, count)
    name = f'username="{_quoted(user.decode("latin-1"))}"'
    if challenge.userhash:
        # "username = H( unq(username) ":" unq(realm) )" -- RFC 7616 section 3.4.4
        name = f'username="{_hashed(challenge, user, _octets(challenge.realm))}"'
    elif challenge.utf8 and not _PLAIN.fullmatch(username):
        # RFC 7616 section 3.4: username* for what a quoted string cannot carry.
        name = f"username*=UTF-8''{quote(username, safe=_ATTRIBUTE_CHARACTERS)}"
    parts = [
        name,
        f'realm="{_quoted(challenge.realm)}"',
        f'nonce="{_quoted(challenge.nonce)}"',
        f'uri="{_quoted(uri)}"',
        f'response="{response}"',
    ]
    if challenge.algorithm is not None:
        parts.append(f"algorithm={challenge.algorithm}")
    if challenge.opaque is not None:
        parts.append(f'opaque="{_quoted(challenge.opaque)}"')
    if challenge.with_qop:
        parts += ["qop=auth", f"nc={count:08x}"]
    if challenge.with_qop or challenge.in_sessions:
        parts.append(f'cnonce="{cnonce}"')
    if challenge.userhash:
        parts.append("userhash=true")
    return "Digest " + ", ".join(parts)


def _response(
    challenge: DigestChallenge, user: bytes, password: bytes, method: str, uri: str, cnonce: str, count: int
) -> str:
    """Return the response of RFC 7616 section 3.4.1, or of RFC 2069 where the proxy offers no qop."""
    nonce, ours = _octets(challenge.nonce), cnonce.encode()
    # "A1 = unq(username) ":" unq(realm) ":" passwd" -- RFC 7616 section 3.4.2
    secret = _hashed(challenge, user, _octets(challenge.realm), password)
    if challenge.in_sessions:
        # "A1 = H( unq(username) ":" unq(realm) ":" passwd ) ":" unq(nonce-prime) ":" unq(cnonce-prime)"
        secret = _hashed(challenge, secret.encode(), nonce, ours)
    # "A2 = Method ":" request-uri" -- RFC 7616 section 3.4.3
    request = _hashed(challenge, method.encode(), uri.encode())
    if challenge.with_qop:
        return _hashed(challenge, secret.encode(), nonce, f"{count:08x}".encode(), ours, b"auth", request.encode())
    return _hashed(challenge, secret.encode(), nonce, request.encode())


def _hashed(challenge: DigestChallenge, *parts: bytes) -> str:
    return _HASHES[challenge.hash_name](b":".join(parts))


def _octets(text: str) -> bytes:
    return text.encode("latin-1")


def _encoding(challenge: DigestChallenge, text: str) -> str:
    """Return UTF-8 where the proxy says so (RFC 7616 section 4), or where the ISO 8859-1 of old cannot carry it."""
    if challenge.utf8:
        return "utf-8"
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return "utf-8"
    return "latin-1"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
