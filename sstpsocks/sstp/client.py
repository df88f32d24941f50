"""The client's side of an SSTP call (MS-SSTP 3.2)."""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar, Final

from ..errors import LocalProtocolError, RemoteProtocolError
from . import explain
from .crypto_binding import build_call_connected, certificate_hash, choose_hash
from .events import EndReason
from .machine import DEFAULT_TIMERS, MAX_RETRIES, SstpMachine, SstpTimers
from .packet import (
    ALL_HASHES,
    AttributeId,
    ControlPacket,
    CryptoBindingRequest,
    HashProtocol,
    MessageType,
    Status,
    StatusInfo,
    call_connect_request,
)
from .states import ENDING, ENDING_TABLE, FINAL, Reaction, State, Table

_M = MessageType
_R = Reaction

# MS-SSTP 3.2.5.3. One leniency: an ECHO_REQUEST is answered, and an ECHO_RESPONSE taken, before Call_Connected too,
# because some servers run their hello timer from the first moment on.
CLIENT_TABLE: Final[Table] = MappingProxyType(
    {
        State.CLIENT_CALL_DISCONNECTED: {
            _M.CALL_CONNECT_REQUEST: _R.REFUSE,
            _M.CALL_CONNECT_ACK: _R.REFUSE,
            _M.CALL_CONNECT_NAK: _R.REFUSE,
            _M.CALL_CONNECTED: _R.REFUSE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CLIENT_CONNECT_REQUEST_SENT: {
            _M.CALL_CONNECT_REQUEST: _R.REFUSE,
            _M.CALL_CONNECT_ACK: _R.TAKE_ACK,
            _M.CALL_CONNECT_NAK: _R.TAKE_NAK,
            _M.CALL_CONNECTED: _R.REFUSE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CLIENT_CONNECT_ACK_RECEIVED: {
            _M.CALL_CONNECT_REQUEST: _R.REFUSE,
            _M.CALL_CONNECT_ACK: _R.REFUSE,
            _M.CALL_CONNECT_NAK: _R.REFUSE,
            _M.CALL_CONNECTED: _R.REFUSE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CLIENT_CALL_CONNECTED: {
            _M.CALL_CONNECT_REQUEST: _R.REFUSE,
            _M.CALL_CONNECT_ACK: _R.REFUSE,
            _M.CALL_CONNECT_NAK: _R.REFUSE,
            _M.CALL_CONNECTED: _R.REFUSE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        **ENDING_TABLE,
    }
)


class SstpClient(SstpMachine):
    """An SSTP call from the client's side.

    ``certificate_der``: the server's leaf certificate as seen in the TLS handshake, for the crypto binding.
    ``supported_hashes``: ClientHashProtocolSupported; SHA-256 is taken wherever the server offers it.
    """

    TABLE: ClassVar[Table] = CLIENT_TABLE
    PEER: ClassVar[str] = "server"
    FRAME_STATES: ClassVar[frozenset[State]] = frozenset(
        {State.CLIENT_CONNECT_ACK_RECEIVED, State.CLIENT_CALL_CONNECTED}
    )
    CONNECTED: ClassVar[State] = State.CLIENT_CALL_CONNECTED

    def __init__(
        self,
        certificate_der: bytes,
        *,
        timers: SstpTimers = DEFAULT_TIMERS,
        supported_hashes: HashProtocol = ALL_HASHES,
    ) -> None:
        super().__init__(State.CLIENT_CALL_DISCONNECTED, timers)
        self.hash_protocol: HashProtocol | None = None
        """ClientHashProtocolChosen: known once the call is accepted."""
        self.offered_hashes: HashProtocol | None = None
        """What the server's Crypto Binding Request offers, known with it."""
        self._certificate_der = certificate_der
        self._supported_hashes = supported_hashes
        self._nonce = b""  # ClientNonce
        self._retries = 0  # connect requests sent after a NAK
        self._reactions[Reaction.TAKE_ACK] = self._take_ack
        self._reactions[Reaction.TAKE_NAK] = self._take_nak

    def connect(self, now: float) -> None:
        """Send CALL_CONNECT_REQUEST: the HTTP exchange is over (MS-SSTP 3.2.4.1)."""
        if self.state is not State.CLIENT_CALL_DISCONNECTED:
            raise LocalProtocolError(f"connect() in {self.state.value}", layer="sstp")
        self.last_received = now
        self.state = State.CLIENT_CONNECT_REQUEST_SENT
        self._send(call_connect_request())
        self._start_negotiation_timer(now)

    def authenticated(self, hlak: bytes, now: float) -> None:
        """Send CALL_CONNECTED at once: PPP authentication has succeeded (MS-SSTP 3.2.7.1).

        ``hlak``: 32 bytes, zeroes for methods without keys. Must come before any NCP packet. A later
        re-authentication of the same call changes nothing, and a call that is ending takes no notice.
        """
        if self.state is self.CONNECTED or self.state in ENDING or self.state in FINAL:
            return
        if self.hash_protocol is None:
            raise LocalProtocolError(f"authenticated() in {self.state.value}", layer="sstp")
        server_hash = certificate_hash(self._certificate_der, self.hash_protocol)
        self._send(build_call_connected(hlak, self.hash_protocol, self._nonce, server_hash))
        self._enter_connected(now)

    def _take_ack(self, packet: bytes, now: float) -> None:
        """MS-SSTP 3.2.5.3.2."""
        try:
            attribute = ControlPacket.parse(packet).find(AttributeId.CRYPTO_BINDING_REQ)
        except RemoteProtocolError as error:
            self._refuse_invalid(str(error), now)
            return
        try:
            request = None if attribute is None else CryptoBindingRequest.parse(attribute.value)
        except RemoteProtocolError:
            request = None
        if request is None:
            text = "The server accepted the SSTP call without a usable Crypto Binding Request"
            self._refuse_ack(Status.ATTRIB_NOT_SUPPORTED_IN_MSG, text, now)
            return
        self.offered_hashes = request.hashes
        self.hash_protocol = choose_hash(request.hashes, self._supported_hashes)
        if self.hash_protocol is None:
            text = "The server offers no hash for the crypto binding that we support (SHA-256 or SHA-1)"
            self._refuse_ack(Status.VALUE_NOT_SUPPORTED, text, now)
            return
        self._nonce = request.nonce
        self._accept_call(State.CLIENT_CONNECT_ACK_RECEIVED, now)

    def _refuse_ack(self, status: Status, text: str, now: float) -> None:
        self._begin_abort(EndReason.ABORTED, AttributeId.CRYPTO_BINDING_REQ, status, text, now)

    def _take_nak(self, packet: bytes, now: float) -> None:
        """MS-SSTP 3.2.5.3.3."""
        if self._retries < MAX_RETRIES:
            self._retries += 1
            self._send(call_connect_request())
            self._start_negotiation_timer(now)
            return
        told = _first_fault(packet)
        text = explain.call_refused(self.PEER, self._retries + 1, *told)
        status = Status.RETRY_COUNT_EXCEEDED
        self._begin_abort(EndReason.ABORTED, AttributeId.STATUS_INFO, status, text, now, told=told)


def _first_fault(packet: bytes) -> tuple[int | None, int | None]:
    """Return what a CALL_CONNECT_NAK complains of first, as far as it can be made out."""
    try:
        attribute = ControlPacket.parse(packet).find(AttributeId.STATUS_INFO)
        info = None if attribute is None else StatusInfo.parse(attribute.value)
    except RemoteProtocolError:
        info = None
    return (None, None) if info is None else (info.attribute_id, info.status)
