"""What EAP-TLS and PEAP share: a TLS connection whose messages travel in Requests and Responses.

The two sides here only move bytes; what a finished handshake means, and what is said inside, is the method's.
"""

from __future__ import annotations

from abc import abstractmethod

from ...errors import RemoteProtocolError
from ..auth_text import clean_text
from .method import Decision, PeerMethod, Refusal, ServerMethod
from .packet import EapPacket, describe_type
from .tls_engine import EapTlsEngine, TlsProblem
from .tls_transport import Flags, TlsPacket, TlsTransport

KEY_LABEL = "client EAP encryption"  # RFC 5216 section 2.3
KEY_LABEL_TLS13 = "EXPORTER_EAP_TLS_Key_Material"  # RFC 9190 section 2.3, RFC 9427 section 2.1
KEY_MATERIAL_SIZE = 128


def key_material(engine: EapTlsEngine, eap_type: int, size: int = KEY_MATERIAL_SIZE) -> bytes:
    """Return the 128 bytes whose first half is the MSK.

    RFC 9190 section 2.3: with TLS 1.3 the context is the EAP type; the whole is exported and then cut, since the length
    is part of the derivation there.
    """
    if engine.is_tls13:
        return engine.export_keying_material(KEY_LABEL_TLS13, size, bytes((eap_type,)))
    return engine.export_keying_material(KEY_LABEL, size, None)


class TlsPeerMethod(PeerMethod):
    """The side that is asked: the TLS client."""

    def __init__(self, engine: EapTlsEngine) -> None:
        super().__init__()
        self._engine = engine
        self._layer = describe_type(self.kind)
        self._transport = TlsTransport(self._layer)
        self._started = False

    def answer(self, request: EapPacket) -> bytes | None:
        """Take what the Request carries and answer with what TLS has to say, or an acknowledgement."""
        packet = TlsPacket.parse(request.data, self._layer)
        if packet.flags & Flags.START:
            if self._started:
                raise RemoteProtocolError("the server starts twice", layer=self._layer)
            self._started = True
            self._engine.start()
            return self._send()
        if not self._started:
            raise RemoteProtocolError("the server does not start", layer=self._layer)
        if packet.is_acknowledgement:
            if self._transport.sending:
                return self._transport.next_fragment()
            # Nothing inside: some servers ask so for the last word.
            self._advance(request.identifier)
            return self._send()
        if self._transport.sending:
            raise RemoteProtocolError("a TLS message comes in the middle of ours", layer=self._layer)
        message = self._transport.receive(packet)
        if message is not None:
            self._engine.receive_data(message)
            self._advance(request.identifier)
            if self.refusal is not None and self.refusal.retry_allowed:
                return None  # the user is asked
        return self._send()

    def _send(self) -> bytes:
        problem = self._engine.problem
        if problem is not None and self.refusal is None:
            self.decision = Decision.FAIL
            self.refusal = Refusal(problem.message, problem.hint)
        # With a problem it is the alert that goes out; RFC 5216 section 2.1.3 has even that in a packet.
        return self._transport.send(self._engine.data_to_send())

    def _advance(self, identifier: int) -> None:
        if self._engine.problem is None and self._engine.handshake_complete:
            self._take_plaintext(self._engine.read(), identifier)

    @abstractmethod
    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        """The handshake is complete: take what was said inside, perhaps nothing."""

    def finished(self) -> None:
        """Keep the session for a fast reconnect, but not one of TLS 1.3.

        hostapd 2.10 resumes those and then forgets a record (PEAP) or the success indication (EAP-TLS), so that the
        log-in would fail.
        """
        if not self._engine.is_tls13:
            self._engine.remember_session()


class TlsServerMethod(ServerMethod):
    """The asking side: the TLS server."""

    def __init__(self, engine: EapTlsEngine) -> None:
        super().__init__()
        self._engine = engine
        self._layer = describe_type(self.kind)
        self._transport = TlsTransport(self._layer)
        self._next: bytes | None = TlsPacket(Flags.START).to_bytes()

    def request(self, identifier: int) -> bytes:
        """Return the start, the next fragment, what TLS has to say, or an acknowledgement."""
        if self._next is not None:
            data, self._next = self._next, None
            return data
        if self._transport.sending:
            return self._transport.next_fragment()
        return self._transport.send(self._message(identifier))

    def take(self, response: EapPacket) -> None:
        """Take a fragment or an acknowledgement of one."""
        packet = TlsPacket.parse(response.data, self._layer)
        if packet.is_acknowledgement:
            if self._transport.sending:
                return
            if self.refusal is not None:
                self.done = True
            elif not self._engine.handshake_complete:
                raise RemoteProtocolError("the client does not go on with TLS", layer=self._layer)
            else:
                self._acknowledged()
            return
        if self._transport.sending:
            raise RemoteProtocolError("a TLS message comes in the middle of ours", layer=self._layer)
        message = self._transport.receive(packet)
        if message is None:
            self._next = self._transport.send(b"")
            return
        self._engine.receive_data(message)
        if self._engine.problem is not None:
            self._fail_with_alert(self._engine.problem)
        elif self._engine.handshake_complete:
            self._take_plaintext(self._engine.read(), response.identifier)

    def _fail_with_alert(self, problem: TlsProblem) -> None:
        # RFC 5216 section 2.1.3: the alert goes first, and the Failure when the peer has acknowledged it.
        self.refusal = Refusal(clean_text(problem.message))
        alert = self._engine.data_to_send()
        if alert:
            self._next = self._transport.send(alert)
        else:
            self.done = True

    def _message(self, identifier: int) -> bytes:
        """Return what the next Request carries."""
        return self._engine.data_to_send()

    @abstractmethod
    def _take_plaintext(self, data: bytes, identifier: int) -> None:
        """The handshake is complete: take what was said inside, perhaps nothing."""

    @abstractmethod
    def _acknowledged(self) -> None:
        """The peer has taken all that was sent, and says nothing."""
