"""EAP-MD5 (RFC 3748 section 5.4): CHAP-MD5 within EAP. No keys, and the server proves nothing."""

from __future__ import annotations

import hashlib
import hmac

from ...base.entropy import Entropy
from ..auth import AuthMethod, Credentials
from ..auth_packet import ChapValue
from ..auth_text import clean_text, encode_name, encode_password
from .method import Decision, PeerMethod, ServerMethod, Users
from .packet import MD5_CHALLENGE, EapPacket

_CHALLENGE_SIZE = 16
_LAYER = "eap-md5"


def _response(identifier: int, password: str, challenge: bytes) -> bytes:
    # RFC 1994 section 4.1: the hash over identifier, secret and challenge.
    return hashlib.md5(bytes((identifier,)) + encode_password(password) + challenge, usedforsecurity=False).digest()


class Md5Peer(PeerMethod):
    """The side that logs in."""

    kind = MD5_CHALLENGE
    method = AuthMethod.EAP_MD5

    def __init__(self, credentials: Credentials) -> None:
        """Raises ConfigError when user name or password cannot be sent."""
        super().__init__()
        self.username = credentials.username
        self._name = encode_name(credentials.username)
        self._password = credentials.password
        encode_password(self._password)

    def answer(self, request: EapPacket) -> bytes:
        """Answer the challenge."""
        challenge = ChapValue.parse(request.data, _LAYER).value
        self.decision = Decision.CONDITIONAL_SUCCESS
        return ChapValue(_response(request.identifier, self._password, challenge), self._name).to_bytes()


class Md5Server(ServerMethod):
    """The asking side."""

    kind = MD5_CHALLENGE
    method = AuthMethod.EAP_MD5

    def __init__(self, identity: str, users: Users, entropy: Entropy) -> None:
        super().__init__()
        self.username = identity
        self._users = users
        self._challenge = entropy.random_bytes(_CHALLENGE_SIZE)

    def request(self, identifier: int) -> bytes:
        """Return the challenge."""
        return ChapValue(self._challenge, encode_name(self._users.name)).to_bytes()

    def take(self, response: EapPacket) -> None:
        """Judge the answer. The user is the one of the Identity: a Name here is only informative."""
        value = ChapValue.parse(response.data, _LAYER).value
        password = self._users.lookup(self.username)
        if password is None or not hmac.compare_digest(
            value, _response(response.identifier, password, self._challenge)
        ):
            self.fail(f"wrong user name or password for {clean_text(self.username)!r}")
        self.done = True
