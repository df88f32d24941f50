"""The side that asks by EAP over PPP: one Request at a time, repeated until it is answered, then Success or Failure."""

from __future__ import annotations

from enum import Enum

from ...base.entropy import Entropy
from ...errors import LocalProtocolError
from ..auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from ..auth_outbox import AuthOutbox
from ..packet import PROTOCOL_EAP
from .keys import hlak_of_msk
from .packet import EapCode, EapPacket
from .server_conversation import ServerConversation, ServerMethods

RESTART_TIMER = 3.0  # seconds; as CHAP's (RFC 1661 section 4.6)
MAX_ATTEMPTS = 10


class EapServerState(Enum):
    """What the server waits for."""

    INITIAL = "not started"
    REQUEST_SENT = "Request sent"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class EapServer(AuthOutbox):
    """An Authenticator. It sets no limit to the whole log-in: after the last repetition it goes on waiting."""

    protocol: int = PROTOCOL_EAP

    def __init__(self, methods: ServerMethods, entropy: Entropy, *, first_method: AuthMethod) -> None:
        """``methods`` are proposed in turn; ``first_method`` is what a refusal before any of them is put down to."""
        super().__init__()
        self.state = EapServerState.INITIAL
        self._methods = methods
        self._first_method = first_method
        self._identifier = entropy.random_bytes(1)[0]
        self._conversation = ServerConversation(methods)
        self._request = b""
        self._sent = 0
        self._announced = False

    def __repr__(self) -> str:
        return f"<EapServer {self.state.name} {self._conversation!r}>"

    def start(self, now: float) -> None:
        """Ask for the identity; again on an open link for another log-in."""
        self._conversation = ServerConversation(self._methods)
        self._ask(now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed or out of place."""
        parsed = EapPacket.parse(packet)
        # RFC 3748 section 4.1: a Response to another Request than the present one is discarded.
        fits = parsed.code == EapCode.RESPONSE and parsed.identifier == self._identifier
        if not fits or self.state is not EapServerState.REQUEST_SENT:
            self.discarded += 1
            return
        self._conversation.take(parsed)
        if self._conversation.done:
            self._end()
        else:
            self._ask(now)

    def handle_timer(self, now: float) -> None:
        """Repeat the Request when its time has come."""
        if self._deadline is not None and now >= self._deadline:
            if self._sent < MAX_ATTEMPTS:
                self._send_request(now)
            else:
                self._deadline = None

    def retry(self, credentials: Credentials, now: float) -> None:
        """A server has no credentials to try."""
        raise LocalProtocolError("the server's side of a log-in has no credentials", layer="eap")

    def _ask(self, now: float) -> None:
        # RFC 3748 section 4.1: each new Request has another identifier, a repetition the same.
        self._identifier = (self._identifier + 1) % 256
        self._request = self._conversation.request(self._identifier).to_bytes()
        self.state = EapServerState.REQUEST_SENT
        self._sent = 0
        self._send_request(now)

    def _send_request(self, now: float) -> None:
        self._output = [self._request]
        self._sent += 1
        self._deadline = now + RESTART_TIMER

    def _end(self) -> None:
        self._deadline = None
        method, refusal = self._conversation.method, self._conversation.refusal
        code = EapCode.SUCCESS if refusal is None else EapCode.FAILURE
        # RFC 3748 section 4.2: the identifier is that of the Response. Never repeated: nothing answers it.
        self._output.append(EapPacket(code, self._identifier).to_bytes())
        if refusal is not None:
            self.state = EapServerState.REFUSED
            kind = method.method if method is not None else self._first_method
            self._events.append(AuthRefused(kind, refusal.code, False, refusal.message))
            return
        self.state = EapServerState.SUCCEEDED
        if method is not None and not self._announced:
            self._announced = True
            self._events.append(AuthSucceeded(method.method, hlak_of_msk(method.msk), method.username))
