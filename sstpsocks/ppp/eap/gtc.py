"""EAP-GTC, the generic token card (RFC 3748 section 5.6): a text of the server, an answer in clear text. No keys.

Bare it shows the server the password, or the code, like PAP. The first question is taken to be for the password that
the user gave; any further one is for something else, a second factor usually, so the same secret is never sent twice.
"""

from __future__ import annotations

import hmac

from ...base.entropy import Entropy
from ..auth import AuthMethod, Credentials
from ..auth_text import clean_text, encode_password
from .method import Decision, PeerMethod, Refusal, ServerMethod, Users
from .packet import GTC, EapPacket


class GtcPeer(PeerMethod):
    """The side that logs in."""

    kind = GTC
    method = AuthMethod.EAP_GTC

    def __init__(self, credentials: Credentials) -> None:
        """Raises ConfigError when the password cannot be sent."""
        super().__init__()
        self.username = credentials.username
        self._secret: bytes | None = encode_password(credentials.password)

    def answer(self, request: EapPacket) -> bytes | None:
        """Give the password, once."""
        self.message = clean_text(request.data)
        if self._secret is None:
            self.decision = Decision.FAIL
            asked = self.message or "no text"
            self.refusal = Refusal(
                f"the server asks for something beyond the password: {asked}",
                "A password prompt or --password-command can answer it.",
                retry_allowed=True,
            )
            return None
        secret, self._secret = self._secret, None
        self.decision = Decision.CONDITIONAL_SUCCESS
        return secret

    def retry(self, credentials: Credentials) -> bytes:
        """Answer the further question."""
        secret = encode_password(credentials.password)
        self.decision = Decision.CONDITIONAL_SUCCESS
        return secret


class GtcServer(ServerMethod):
    """The asking side."""

    kind = GTC
    method = AuthMethod.EAP_GTC

    def __init__(self, identity: str, users: Users, entropy: Entropy) -> None:
        super().__init__()
        self.username = identity
        self._users = users

    def request(self, identifier: int) -> bytes:
        """Return the question."""
        return b"Password: "

    def take(self, response: EapPacket) -> None:
        """Judge the answer."""
        password = self._users.lookup(self.username)
        if password is None or not hmac.compare_digest(response.data, encode_password(password)):
            self.fail(f"wrong user name or password for {clean_text(self.username)!r}")
        self.done = True
