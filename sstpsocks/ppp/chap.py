"""CHAP with MD5 (RFC 1994 section 4.1): the server proves nothing, and no keys come out of it."""

from __future__ import annotations

import hashlib
import hmac

from .auth import ZERO_HLAK, AuthMethod, AuthRefused, AuthSucceeded
from .auth_packet import ChapValue
from .auth_text import CREDENTIALS_HINT, clean_text, encode_password, with_server_text
from .chap_machine import ChapClient, ChapServer, Verdict


def chap_md5(identifier: int, secret: bytes, challenge: bytes) -> bytes:
    """Return the value of a Response: MD5 over identifier, secret and challenge (RFC 1994 section 4.1)."""
    return hashlib.md5(bytes((identifier,)) + secret + challenge, usedforsecurity=False).digest()


class ChapMd5Client(ChapClient):
    """The side that is asked, with MD5."""

    method = AuthMethod.CHAP_MD5
    layer = "chap"

    def _encode_secret(self, password: str) -> None:
        self._secret = encode_password(password)

    def _check_challenge(self, value: bytes) -> None:
        """Any size will do: "the length of the Challenge Value depends upon the method" (RFC 1994 section 4.1)."""

    def _answer(self, identifier: int, challenge: bytes) -> bytes:
        return chap_md5(identifier, self._secret, challenge)

    def _on_success(self, message: bytes) -> AuthSucceeded:
        return AuthSucceeded(self.method, ZERO_HLAK, self._credentials.username, clean_text(message))

    def _on_failure(self, identifier: int, message: bytes, now: float) -> AuthRefused:
        text = with_server_text("the server refused the user name or the password", clean_text(message))
        return AuthRefused(self.method, None, False, text, CREDENTIALS_HINT)


class ChapMd5Server(ChapServer):
    """The asking side of CHAP with MD5."""

    method = AuthMethod.CHAP_MD5
    layer = "chap"

    def _judge(self, identifier: int, response: ChapValue) -> Verdict:
        username = response.name.decode("utf-8", "replace")
        password = self._lookup(username)
        if password is not None and hmac.compare_digest(
            response.value, chap_md5(identifier, encode_password(password), self._challenge)
        ):
            return Verdict(True, b"Welcome", AuthSucceeded(self.method, ZERO_HLAK, username))
        message = f"wrong user name or password for {clean_text(username)!r}"
        return Verdict(False, b"Wrong user name or password", AuthRefused(self.method, None, False, message))
