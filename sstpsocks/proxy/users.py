"""Who may use the local port: user names with their passwords."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Protocol


class Login(Protocol):
    """Tells who may use the port."""

    @property
    def required(self) -> bool:
        """Whether clients must say who they are."""
        ...

    def check(self, username: bytes, password: bytes) -> bool:
        """Tell whether they belong together."""
        ...


class Users:
    """User names and passwords that local programs may give; none of them: nobody is asked."""

    def __init__(self, credentials: Iterable[tuple[str, str]] = ()) -> None:
        self._digests: list[bytes] = []
        self.replace(credentials)

    def replace(self, credentials: Iterable[tuple[str, str]]) -> None:
        """Let these hold from now on; connections that stand stay."""
        self._digests = [_digest(name.encode(), password.encode()) for name, password in credentials]

    def __repr__(self) -> str:
        return f"<Users {len(self._digests)}>"

    @property
    def required(self) -> bool:
        """Whether clients must say who they are."""
        return bool(self._digests)

    def check(self, username: bytes, password: bytes) -> bool:
        """Tell whether they belong together, in a time that says nothing of how much of them was right."""
        given = _digest(username, password)
        # All are compared, whichever fits: the time does not tell who exists either.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


NOBODY_ASKED = Users()


def _digest(username: bytes, password: bytes) -> bytes:
    """Return a hash of both, of one length whatever theirs, so that comparing takes the same time."""
    return hashlib.sha256(len(username).to_bytes(8, "big") + username + password).digest()
