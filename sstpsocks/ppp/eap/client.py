"""The side that logs in by EAP over PPP (RFC 3748, RFC 2284): packets, repetitions, Success and Failure.

The server repeats a Request that was not answered in time; it has the same identifier and gets the identical Response
again, whatever that cost the first time, so that nobody is asked twice. The client has no timers of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from ...errors import LocalProtocolError, RemoteProtocolError
from ..auth import ZERO_HLAK, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from ..auth_outbox import AuthOutbox
from ..auth_text import CREDENTIALS_HINT, with_server_text
from ..packet import PROTOCOL_EAP
from .keys import hlak_of_msk
from .method import Decision, Refusal
from .packet import EapCode, EapPacket, MethodType, describe_type
from .peer_conversation import PeerConversation, PeerMethods

_CERTIFICATE_HINT = "It may not know the certificate, or want another user name with it (--user)."


class EapClientState(Enum):
    """What the client waits for."""

    WAITING = "waiting for the server"
    RUNNING = "running"
    MAY_RETRY = "refused, another try is allowed"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class EapClient(AuthOutbox):
    """An Authenticator. There is one AuthSucceeded, for the first time: later log-ins on the link say nothing new."""

    protocol: int = PROTOCOL_EAP

    def __init__(
        self,
        credentials: Credentials,
        methods: PeerMethods,
        *,
        identity: str,
        first_method: AuthMethod,
        advise: Callable[[tuple[MethodType, ...]], str],
        zero_hlak: bool = False,
    ) -> None:
        """Raises ConfigError when the identity cannot be sent.

        ``identity`` answers an Identity Request; ``first_method`` is what a refusal before any method is put down to;
        ``advise`` says what to do when the server proposes only these Types. ``zero_hlak``: bind bare EAP-MSCHAPv2
        with zeroes (see keys.py).
        """
        super().__init__()
        self.state = EapClientState.WAITING
        self._credentials = credentials
        self._methods = methods
        self._identity = identity
        self._advise = advise
        self._first_method = first_method
        self._zero_hlak = zero_hlak
        self._conversation = PeerConversation(identity, methods, credentials)
        self._refused: list[Credentials] = []
        self._last_request = b""
        self._last_response: bytes | None = None
        self._last_identifier: int | None = None
        self._announced = False

    def __repr__(self) -> str:
        return f"<EapClient {self.state.name} {self._conversation!r}>"

    # The contract.

    def start(self, now: float) -> None:
        """Begin: the server speaks first, so there is nothing to do."""

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed or out of place."""
        parsed = EapPacket.parse(packet)
        match parsed.code:
            case EapCode.REQUEST:
                self._receive_request(parsed)
            case EapCode.SUCCESS:
                self._receive_success(parsed)
            case EapCode.FAILURE:
                self._receive_failure(parsed)
            case _:
                self.discarded += 1

    def handle_timer(self, now: float) -> None:
        """Nothing is ever due."""

    def retry(self, credentials: Credentials, now: float) -> None:
        """Answer a refusal that allows it with other credentials, or what the server asks for beyond the first.

        Raises LocalProtocolError when no retry is allowed or these credentials were refused before, ConfigError when
        they cannot be sent.
        """
        if self.state is not EapClientState.MAY_RETRY:
            raise LocalProtocolError(f"the server allows no other try ({self.state.value})", layer="eap")
        if credentials in self._refused:
            raise LocalProtocolError("these credentials were refused and are not sent again", layer="eap")
        response = self._conversation.retry(credentials)
        self._credentials = credentials
        self.state = EapClientState.RUNNING
        self._send(response)

    # Inside.

    def _receive_request(self, request: EapPacket) -> None:
        packet = request.to_bytes()
        if packet == self._last_request:
            # RFC 3748 section 4.1: "a peer receiving a duplicate Request MUST resend" the same Response. The whole
            # packet is compared, since servers exist that use an identifier twice in a row.
            if self._last_response is not None:
                self._output = [self._last_response]
            return
        if self.state in (EapClientState.REFUSED, EapClientState.MAY_RETRY):
            self.discarded += 1
            return
        if self.state is EapClientState.SUCCEEDED:
            # The server may ask anew on the open link (RFC 3748 section 2): from the beginning.
            self._conversation = PeerConversation(self._identity, self._methods, self._credentials)
        response = self._conversation.answer(request)
        self.state = EapClientState.RUNNING
        self._last_request = packet
        self._last_response = None
        self._last_identifier = request.identifier
        if response is not None:
            self._send(response)
        if (refusal := self._conversation.refusal) is not None:
            self._refuse(refusal)

    def _send(self, response: EapPacket) -> None:
        self._last_response = response.to_bytes()
        self._output = [self._last_response]

    def _fits(self, packet: EapPacket) -> bool:
        # RFC 3748 section 4.2: the identifier "MUST match the Identifier field of the Response packet that it is sent
        # in response to". Some servers count one further.
        last = self._last_identifier
        return last is None or packet.identifier in (last, (last + 1) % 256)

    def _receive_success(self, packet: EapPacket) -> None:
        method = self._conversation.method
        # RFC 3748 section 4.2: a Success "prior to" the method's own end is discarded: it would skip the proof of
        # the server.
        if self.state is not EapClientState.RUNNING or method is None or not self._fits(packet):
            self.discarded += 1
            return
        if method.decision is Decision.FAIL:
            raise RemoteProtocolError("EAP Success before the method has ended", layer="eap")
        self.state = EapClientState.SUCCEEDED
        method.finished()
        if not self._announced:
            self._announced = True
            zero = self._zero_hlak and method.method is AuthMethod.EAP_MSCHAPV2
            hlak = ZERO_HLAK if zero else hlak_of_msk(method.msk)
            text = self._conversation.text
            self._events.append(AuthSucceeded(method.method, hlak, method.username, text, method.password_changed))

    def _receive_failure(self, packet: EapPacket) -> None:
        if self.state in (EapClientState.REFUSED, EapClientState.SUCCEEDED) or not self._fits(packet):
            self.discarded += 1
        elif self._conversation.decision is Decision.UNCONDITIONAL_SUCCESS:
            # RFC 3748 section 4.2: after both sides have indicated success, "a Failure packet MUST be silently
            # discarded".
            self.discarded += 1
        elif self.state is EapClientState.MAY_RETRY:
            # The server does not wait for another try.
            self.state = EapClientState.REFUSED
            self._events.append(self._event(Refusal("the server ended the log-in")))
        else:
            method = self._conversation.method
            self._refuse((method.pending if method is not None else None) or self._explain_failure())

    def _refuse(self, refusal: Refusal) -> None:
        self._refused.append(self._credentials)
        self.state = EapClientState.MAY_RETRY if refusal.retry_allowed else EapClientState.REFUSED
        self._events.append(self._event(refusal))

    def _event(self, refusal: Refusal) -> AuthRefused:
        running = self._conversation.method
        return AuthRefused(
            running.method if running is not None else self._first_method,
            refusal.code,
            refusal.retry_allowed,
            refusal.message,
            refusal.hint,
        )

    def _explain_failure(self) -> Refusal:
        conversation = self._conversation
        if conversation.method is not None:
            message = f"the server refused the log-in by {describe_type(conversation.method.kind)}"
            check = _CERTIFICATE_HINT if conversation.method.method is AuthMethod.EAP_TLS else CREDENTIALS_HINT
            hint = f"{check} The account may also lack the permission to dial in; its administrator can see."
        elif conversation.refused_types:
            offered = tuple(dict.fromkeys(conversation.refused_types))
            names = ", then ".join(map(describe_type, offered))
            message = f"within EAP the server offers only {names} to log in, which is not allowed or not possible"
            hint = self._advise(offered)
        else:
            message = "the server refused the user name before it asked for anything else (EAP)"
            hint = f"{CREDENTIALS_HINT} Some servers want DOMAIN\\user or user@domain."
        return Refusal(with_server_text(message, conversation.text), hint)
