"""The server's side of an SSTP call (MS-SSTP 3.3)."""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar, Final

from ..base.entropy import Entropy
from ..errors import LocalProtocolError, RemoteProtocolError
from . import explain
from .crypto_binding import BindingFault, verify_call_connected
from .events import EndReason
from .machine import DEFAULT_TIMERS, MAX_RETRIES, SstpMachine, SstpTimers
from .packet import (
    ALL_HASHES,
    MAX_STATUS_VALUE,
    NONCE_SIZE,
    PROTOCOL_PPP,
    Attribute,
    AttributeId,
    ControlPacket,
    HashProtocol,
    MessageType,
    Status,
    StatusInfo,
    call_connect_ack,
    call_connect_nak,
)
from .states import ENDING, ENDING_TABLE, FINAL, Reaction, State, Table

_M = MessageType
_R = Reaction

# MS-SSTP 3.3.5.2, with the leniency towards early echoes that the client's table has.
SERVER_TABLE: Final[Table] = MappingProxyType(
    {
        State.SERVER_CALL_DISCONNECTED: {
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
        State.SERVER_CONNECT_REQUEST_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.TAKE_REQUEST,
            _M.CALL_CONNECT_ACK: _R.REFUSE,
            _M.CALL_CONNECT_NAK: _R.REFUSE,
            _M.CALL_CONNECTED: _R.REFUSE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.SERVER_CALL_CONNECTED_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.REFUSE,
            _M.CALL_CONNECT_ACK: _R.REFUSE,
            _M.CALL_CONNECT_NAK: _R.REFUSE,
            _M.CALL_CONNECTED: _R.TAKE_CONNECTED,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.REFUSE,
            _M.ECHO_REQUEST: _R.ANSWER_ECHO,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.SERVER_CALL_CONNECTED: {
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


class SstpServer(SstpMachine):
    """An SSTP call from the server's side.

    ``certificate_der``: the certificate that TLS shows to the client. ``offered_hashes``:
    ServerHashProtocolSupported, at least one. ``verify_binding=False`` takes any CALL_CONNECTED, as some servers do.
    """

    TABLE: ClassVar[Table] = SERVER_TABLE
    PEER: ClassVar[str] = "client"
    FRAME_STATES: ClassVar[frozenset[State]] = frozenset(
        {State.SERVER_CALL_CONNECTED_PENDING, State.SERVER_CALL_CONNECTED}
    )
    CONNECTED: ClassVar[State] = State.SERVER_CALL_CONNECTED

    def __init__(
        self,
        certificate_der: bytes,
        entropy: Entropy,
        *,
        timers: SstpTimers = DEFAULT_TIMERS,
        offered_hashes: HashProtocol = ALL_HASHES,
        verify_binding: bool = True,
    ) -> None:
        if not offered_hashes & ALL_HASHES:
            raise LocalProtocolError("the server must offer at least one hash protocol", layer="sstp")
        super().__init__(State.SERVER_CALL_DISCONNECTED, timers)
        self._answered = True  # what enters Call_Connected here has been verified
        self._certificate_der = certificate_der
        self._offered_hashes = offered_hashes
        self._verify_binding = verify_binding
        self._nonce = entropy.random_bytes(NONCE_SIZE)
        self._hlak: bytes | None = None  # ServerHLAKKey, once PPP authentication is complete
        self._early: bytes | None = None  # a CALL_CONNECTED that came before that
        self._refused = 0  # NAKs sent
        self._reactions[Reaction.TAKE_REQUEST] = self._take_request
        self._reactions[Reaction.TAKE_CONNECTED] = self._take_connected

    def accept(self, now: float) -> None:
        """Begin to wait for CALL_CONNECT_REQUEST: the HTTP exchange is over (MS-SSTP 3.3.7.2).

        The first data received does the same; call it to bound how long a client may stay silent.
        """
        if self.state is not State.SERVER_CALL_DISCONNECTED:
            raise LocalProtocolError(f"accept() in {self.state.value}", layer="sstp")
        self.last_received = now
        self.state = State.SERVER_CONNECT_REQUEST_PENDING
        self._start_negotiation_timer(now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes of the stream behind the HTTP header; see SstpMachine."""
        if self.state is State.SERVER_CALL_DISCONNECTED:
            self.accept(now)
        super().receive_data(data, now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one whole SSTP packet; see SstpMachine."""
        if self.state is State.SERVER_CALL_DISCONNECTED:
            self.accept(now)
        super().receive_packet(packet, now)

    def authenticated(self, hlak: bytes, now: float) -> None:
        """PPP authentication has succeeded: keep the key, and judge a CALL_CONNECTED that came early.

        A call that is connected or ending takes no notice.
        """
        if self.state is self.CONNECTED or self.state in ENDING or self.state in FINAL:
            return
        if self.state is not State.SERVER_CALL_CONNECTED_PENDING:
            raise LocalProtocolError(f"authenticated() in {self.state.value}", layer="sstp")
        self._hlak = hlak
        if self._early is not None:
            self._judge(self._early, hlak, now)

    def _take_request(self, packet: bytes, now: float) -> None:
        """MS-SSTP 3.3.5.2.2."""
        try:
            attributes = ControlPacket.parse(packet).attributes
        except RemoteProtocolError as error:
            self._refuse_invalid(str(error), now)
            return
        faults = _faults(attributes)
        if not faults:
            self._send(call_connect_ack(self._offered_hashes, self._nonce))
            self._accept_call(State.SERVER_CALL_CONNECTED_PENDING, now)
        elif self._refused < MAX_RETRIES:
            self._refused += 1
            self._send(call_connect_nak(tuple(faults)))
        else:
            told = (faults[0].attribute_id, faults[0].status)
            text = explain.call_refused(self.PEER, self._refused + 1, *told)
            status = Status.RETRY_COUNT_EXCEEDED
            self._begin_abort(EndReason.ABORTED, AttributeId.STATUS_INFO, status, text, now, told=told)

    def _take_connected(self, packet: bytes, now: float) -> None:
        """MS-SSTP 3.3.5.2.3."""
        if not self._verify_binding:
            self._enter_connected(now)
        elif self._hlak is not None:
            self._judge(packet, self._hlak, now)
        elif self._early is None:
            # The client knows that it is authenticated as soon as our last PPP packet says so; whoever feeds this
            # machine may tell it a little later.
            self._early = packet
        else:
            self._refuse(packet, now)

    def _judge(self, packet: bytes, hlak: bytes, now: float) -> None:
        fault = verify_call_connected(
            packet,
            hlak=hlak,
            nonce=self._nonce,
            certificate_der=self._certificate_der,
            offered=self._offered_hashes,
        )
        if fault is None:
            self._enter_connected(now)
            return
        if fault is BindingFault.MISSING:
            attribute_id, status = AttributeId.STATUS_INFO, Status.ATTRIB_NOT_SUPPORTED_IN_MSG
        else:
            attribute_id, status = AttributeId.CRYPTO_BINDING, Status.VALUE_NOT_SUPPORTED
        text = f"The client's crypto binding does not hold: {fault.value}"
        self._begin_abort(EndReason.ABORTED, attribute_id, status, text, now)


def _faults(attributes: tuple[Attribute, ...]) -> list[StatusInfo]:
    """Return what is not acceptable in a connect request, in the order of MS-SSTP 3.3.5.2.2."""
    faults: list[StatusInfo] = []
    seen: set[int] = set()
    for attribute in attributes:
        number = attribute.attribute_id
        # "If the original attribute is greater than 64 bytes, only the first 64 bytes are sent back." -- 2.2.8
        value = attribute.value[:MAX_STATUS_VALUE]
        if number in seen:
            faults.append(StatusInfo(number, Status.DUPLICATE_ATTRIBUTE, value))
        elif number == AttributeId.STATUS_INFO:
            if attribute.value[4:8] != bytes(4):
                faults.append(StatusInfo(number, Status.STATUS_INFO_NOT_SUPPORTED_IN_MSG, value))
        elif number != AttributeId.ENCAPSULATED_PROTOCOL_ID:
            # The value "is not present [...] if the attribute that is sent by the client [...] is not understood by
            # the server" -- 2.2.8
            faults.append(StatusInfo(number, Status.UNRECOGNIZED_ATTRIBUTE))
        elif len(attribute.value) != 2:
            faults.append(StatusInfo(number, Status.INVALID_ATTRIB_VALUE_LENGTH, value))
        elif int.from_bytes(attribute.value, "big") != PROTOCOL_PPP:
            faults.append(StatusInfo(number, Status.VALUE_NOT_SUPPORTED, value))
        seen.add(number)
    if AttributeId.ENCAPSULATED_PROTOCOL_ID not in seen:
        # 2.2.8 names the missing attribute here, 3.3.5.2.2 the Status Info; the first tells the client more.
        missing = AttributeId.ENCAPSULATED_PROTOCOL_ID
        faults.append(StatusInfo(missing, Status.REQUIRED_ATTRIBUTE_MISSING))
    return faults
