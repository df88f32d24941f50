"""What SSTP client and server share: the states, the timers, abort, disconnect, echo (MS-SSTP 3.1).

Theory of operation. A call is in one State. For every state a literal table says what each message does: a
Reaction. The tables of abort and disconnect are in states.py, those of call establishment in client.py and
server.py. The states that the specification passes through without waiting (Call_Abort_In_Progress_1 and so on)
are the methods that send the message and enter the state behind.

At most one timer runs at a time. Negotiation, abort and disconnect timers are one ``_deadline``, since no state has
two of them. The hello timer of a connected call is not armed for each packet but derived from ``last_received``,
which the data path may also write by itself, once a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from ..errors import LocalProtocolError, RemoteProtocolError
from . import explain
from .events import (
    CallAccepted,
    CallConnected,
    CallEnded,
    CallEnding,
    EchoRequested,
    EndReason,
    FrameReceived,
    SstpEvent,
)
from .explain import Phase
from .frames import is_ncp_answer, is_network_layer
from .packet import (
    CALL_ABORT_ANSWER,
    CALL_DISCONNECT_ACK,
    ECHO_REQUEST,
    ECHO_RESPONSE,
    HEADER_SIZE,
    AttributeId,
    MessageType,
    PacketBuffer,
    Status,
    call_abort,
    call_disconnect,
    check_header,
    encode_data,
    end_status,
    is_control,
)
from .states import ENDING, FINAL, NOT_STARTED, Reaction, State, Table

# MS-SSTP appendix, product behaviour of sections 3.2.5.3.3 and 3.3.5.2.2: Windows retries 3 times.
MAX_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class SstpTimers:
    """Lengths of the timers in seconds, all above 0. The defaults are MS-SSTP 3.1.2 and 3.2.2 except for hello."""

    negotiation: float = 60.0
    """Connect request to its answer, and from there to CALL_CONNECTED; the time for logging in counts in it."""
    hello: float = 20.0
    """Silence after which an ECHO_REQUEST goes out, and after which, once more, the peer is dead. The specification
    says 60; 20 keeps NAT entries, and some servers drop a client after 20 s of silence."""
    abort_1: float = 3.0
    """TIMER_VAL_ABORT_STATE_TIMER_1: CALL_ABORT sent, waiting for the peer's."""
    abort_2: float = 1.0
    """TIMER_VAL_ABORT_STATE_TIMER_2: lingering so that the peer reads our CALL_ABORT."""
    disconnect_1: float = 5.0
    """TIMER_VAL_DISCONNECT_STATE_TIMER_1: CALL_DISCONNECT sent, waiting for the acknowledgment."""
    disconnect_2: float = 1.0
    """TIMER_VAL_DISCONNECT_STATE_TIMER_2: lingering so that the peer reads our acknowledgment."""

    def __post_init__(self) -> None:
        for name in ("negotiation", "hello", "abort_1", "abort_2", "disconnect_1", "disconnect_2"):
            if not getattr(self, name) > 0:
                raise LocalProtocolError(f"the SSTP timer {name} must be above 0", layer="sstp")


DEFAULT_TIMERS: Final = SstpTimers()


class SstpMachine:
    """The part of an SSTP call that is the same for both roles. Use SstpClient or SstpServer.

    ``receive_data()`` or ``receive_packet()`` take what came, ``next_event()`` tells what it means,
    ``data_to_send()`` gives what to send, ``poll_at()`` says when ``handle_timer()`` wants to be called. ``now`` is
    in seconds of a monotonic clock.
    """

    TABLE: ClassVar[Table]
    """What each message does in each state of the role."""
    PEER: ClassVar[str]
    """What the user calls the other side: "server" or "client"."""
    FRAME_STATES: ClassVar[frozenset[State]]
    """The states in which PPP control frames pass in both directions."""
    CONNECTED: ClassVar[State]
    """The role's Call_Connected."""

    def __init__(self, state: State, timers: SstpTimers) -> None:
        self.state = state
        """CurrentState of the specification."""
        self.passes_data = False
        """Call_Connected: network-layer frames pass. Read-only for others."""
        self.last_received = 0.0
        """When the last packet came. A data path that bypasses receive_packet() must set it, once a batch."""
        self.closed = False
        """The call is over, by CallEnded or by RemoteProtocolError."""
        self.frames_dropped = 0
        """PPP frames in either direction that the state did not let pass."""
        self._timers = timers
        self._buffer = PacketBuffer()
        self._events: deque[SstpEvent] = deque()
        self._outgoing: list[bytes] = []
        self._deadline: float | None = None  # negotiation, abort or disconnect timer, whichever the state has
        self._echo_sent_at: float | None = None  # the last ECHO_REQUEST of the hello timer
        self._end: CallEnded | None = None  # what began the end; given once everything is over
        self._answered = False  # the peer has shown that the crypto binding holds
        self._reactions: dict[Reaction, Callable[[bytes, float], None]] = {
            Reaction.IGNORE: self._ignore,
            Reaction.REFUSE: self._refuse,
            Reaction.ANSWER_ECHO: self._answer_echo,
            Reaction.ANSWER_ABORT: self._answer_abort,
            Reaction.LINGER: self._linger,
            Reaction.ANSWER_DISCONNECT: self._answer_disconnect,
            Reaction.ACKNOWLEDGE: self._acknowledge,
            Reaction.FINISH: self._finish,
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.value}>"

    # Contract

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes of the stream behind the HTTP header.

        Raises RemoteProtocolError when the stream cannot be delineated. "Then the connection MUST be forcefully
        aborted without sending a message to the SSTP far end" (MS-SSTP 3.1.5.1): close the transport.
        """
        self._check_usable()
        if self.closed:
            return
        self._buffer.feed(data)
        while not self.closed:
            try:
                packet = self._buffer.next_packet()
            except RemoteProtocolError:
                self._break()
                raise
            if packet is None:
                return
            self._receive(packet, now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one whole SSTP packet with its header. Raises as receive_data() does."""
        self._check_usable()
        if self.closed:
            return
        try:
            if len(packet) < HEADER_SIZE or check_header(packet) != len(packet):
                raise RemoteProtocolError("not one whole SSTP packet", layer="sstp")
        except RemoteProtocolError:
            self._break()
            raise
        self._receive(packet, now)

    def next_event(self) -> SstpEvent | None:
        """Return the next event, or None."""
        return self._events.popleft() if self._events else None

    def data_to_send(self, now: float) -> list[bytes]:
        """Return the whole SSTP packets to send now, in order, and forget them."""
        del now  # nothing here depends on when it is asked for
        packets, self._outgoing = self._outgoing, []
        return packets

    def poll_at(self) -> float | None:
        """Return when handle_timer() wants to be called, None for never."""
        if self.state is self.CONNECTED:
            return self._hello_deadline()
        return self._deadline

    def handle_timer(self, now: float) -> None:
        """Let the timers that have expired by ``now`` act."""
        deadline = self.poll_at()
        if deadline is None or now < deadline:
            return
        if self.state is self.CONNECTED:
            self._on_hello_timer(now)
        elif self.state in ENDING:
            # MS-SSTP 3.1.6.1 and 3.1.6.2: whichever of the four it is, "immediately clear the connection state".
            self._close()
        else:
            self._on_negotiation_timer(now)

    def send_frame(self, frame: bytes, now: float) -> None:
        """Queue a PPP frame of at most MAX_FRAME bytes.

        A call that is ending drops it, as MS-SSTP 3.2.7.1 says. Raises LocalProtocolError when a live call does not
        let it pass yet: any frame before the connect ACK, network-layer frames before CALL_CONNECTED.
        """
        del now
        if self.state in ENDING or self.state in FINAL:
            self.frames_dropped += 1
            return
        if self.state not in self.FRAME_STATES or (not self.passes_data and is_network_layer(frame)):
            raise LocalProtocolError(f"no such PPP frame may be sent in {self.state.value}", layer="sstp")
        self._outgoing.append(encode_data(frame))

    def send_echo_request(self) -> None:
        """Ask whether the peer lives, besides what the hello timer does; only ever in Call_Connected, as there."""
        if self.passes_data:
            self._send(ECHO_REQUEST)

    def disconnect(self, now: float) -> None:
        """End the call in order: CALL_DISCONNECT, then CallEnded within the timers. PPP should have ended before."""
        self._begin_disconnect("We ended the SSTP call", now)

    def authentication_failed(self, now: float) -> None:
        """PPP authentication has failed: disconnect (MS-SSTP 3.2.7.1, Inner Authentication Completed Event)."""
        self._begin_disconnect("PPP authentication failed and we ended the SSTP call", now)

    def abort(self, attribute_id: int, status: int, now: float) -> None:
        """End the call because of an error: CALL_ABORT with that Status Info, then CallEnded within the timers."""
        text = f"We aborted the SSTP call {self._phase().value}: {explain.describe_status(attribute_id, status)}"
        self._begin_abort(EndReason.ABORTED, attribute_id, status, text, now)

    def lower_layer_lost(self, now: float) -> None:
        """The connection below is gone: clean up "without any over-the-wire interaction" (MS-SSTP 3.1.7.2)."""
        del now
        if self.closed:
            return
        if self._end is None:
            text = explain.lower_layer_lost(self.PEER, self._phase())
            self._end = CallEnded(EndReason.LOWER_LAYER_LOST, None, None, text)
        self._outgoing.clear()
        self._close()

    # For the roles

    def _phase(self) -> Phase:
        """Return how far the call has come."""
        if self.state is self.CONNECTED:
            return Phase.ESTABLISHED if self._answered else Phase.UNPROVEN
        return Phase.NEGOTIATING if self.state in self.FRAME_STATES else Phase.UNANSWERED

    def _send(self, packet: bytes) -> None:
        self._outgoing.append(packet)

    def _start_negotiation_timer(self, now: float) -> None:
        self._deadline = now + self._timers.negotiation

    def _accept_call(self, state: State, now: float) -> None:
        """Enter the state in which PPP may start."""
        self.state = state
        self._start_negotiation_timer(now)
        self._events.append(CallAccepted())

    def _enter_connected(self, now: float) -> None:
        """Enter Call_Connected: frames of all kinds pass and the hello timer runs."""
        self.state = self.CONNECTED
        self._deadline = None
        self._echo_sent_at = None
        self.last_received = now
        self.passes_data = True
        self._events.append(CallConnected())

    def _begin_abort(
        self,
        reason: EndReason,
        attribute_id: int,
        status: int,
        text: str,
        now: float,
        *,
        told: tuple[int | None, int | None] | None = None,
    ) -> None:
        """Call_Abort_In_Progress_1. ``told``: the Status Info for the events where it is not the one sent."""
        if self.state in ENDING or self.closed:
            return
        event_attribute, event_status = (attribute_id, status) if told is None else told
        if self.state in NOT_STARTED:
            self._end = CallEnded(reason, event_attribute, event_status, text)
            self._close()
            return
        self._send(call_abort(attribute_id, status))
        self._begin_end(CallEnded(reason, event_attribute, event_status, text))
        self._enter_ending(State.CALL_ABORT_PENDING, now + self._timers.abort_1)

    # Receiving

    def _check_usable(self) -> None:
        if self.state is State.ERROR:
            raise RemoteProtocolError("the SSTP stream is broken since an earlier error", layer="sstp")

    def _break(self) -> None:
        """The stream is unusable: end without a word."""
        self.state = State.ERROR
        self.closed = True
        self.passes_data = False
        self._deadline = None
        self._outgoing.clear()

    def _receive(self, packet: bytes, now: float) -> None:
        # "The timer is restarted after receiving an SSTP packet (both the SSTP control packet and the SSTP data
        # packet)." -- MS-SSTP 3.1.2.3
        self.last_received = now
        if not is_control(packet):
            self._receive_frame(packet[HEADER_SIZE:])
            return
        number = int.from_bytes(packet[4:6], "big")
        try:
            message_type = MessageType(number)
        except ValueError:
            if self.state not in ENDING:
                self._refuse_invalid(f"unknown message type {number}", now)
            return
        self._reactions[self.TABLE[self.state][message_type]](packet, now)

    def _receive_frame(self, frame: bytes) -> None:
        network_layer = is_network_layer(frame)
        if self.state not in self.FRAME_STATES or (network_layer and not self.passes_data):
            self.frames_dropped += 1
            return
        if self.passes_data and not self._answered:
            self._answered = network_layer or is_ncp_answer(frame)
        self._events.append(FrameReceived(frame))

    def _ignore(self, packet: bytes, now: float) -> None:
        """Discard silently."""

    def _refuse(self, packet: bytes, now: float) -> None:
        name = MessageType(int.from_bytes(packet[4:6], "big")).name
        status = Status.UNACCEPTED_FRAME_RECEIVED
        text = f"The {self.PEER} broke the SSTP protocol: it sent {name} in {self.state.value}"
        self._begin_abort(EndReason.ABORTED, AttributeId.STATUS_INFO, status, text, now)

    def _refuse_invalid(self, what: str, now: float) -> None:
        """Abort because of a message that can be delineated but not understood."""
        status = Status.INVALID_FRAME_RECEIVED
        text = f"The {self.PEER} broke the SSTP protocol: {what}"
        self._begin_abort(EndReason.ABORTED, AttributeId.STATUS_INFO, status, text, now)

    def _answer_echo(self, packet: bytes, now: float) -> None:
        # By the letter only in Call_Connected; some servers ask from the first moment on.
        self._send(ECHO_RESPONSE)

    def _answer_abort(self, packet: bytes, now: float) -> None:
        """Call_Abort_In_Progress_2."""
        attribute_id, status = end_status(packet)
        text = explain.peer_aborted(self.PEER, self._phase(), attribute_id, status)
        self._send(CALL_ABORT_ANSWER)
        self._begin_end(CallEnded(EndReason.PEER_ABORTED, attribute_id, status, text))
        self._enter_ending(State.CALL_ABORT_TIMEOUT_PENDING, now + self._timers.abort_2)

    def _linger(self, packet: bytes, now: float) -> None:
        self._enter_ending(State.CALL_ABORT_TIMEOUT_PENDING, now + self._timers.abort_2)

    def _answer_disconnect(self, packet: bytes, now: float) -> None:
        """Call_Disconnect_In_Progress_2."""
        attribute_id, status = end_status(packet)
        text = explain.peer_disconnected(self.PEER, self._phase())
        self._send(CALL_DISCONNECT_ACK)
        self._begin_end(CallEnded(EndReason.PEER_DISCONNECTED, attribute_id, status, text))
        self._enter_ending(State.CALL_DISCONNECT_TIMEOUT_PENDING, now + self._timers.disconnect_2)

    def _acknowledge(self, packet: bytes, now: float) -> None:
        self._send(CALL_DISCONNECT_ACK)

    def _finish(self, packet: bytes, now: float) -> None:
        self._close()

    # Ending

    def _begin_disconnect(self, text: str, now: float) -> None:
        """Call_Disconnect_In_Progress_1."""
        if self.state in ENDING or self.closed:
            return
        end = CallEnded(EndReason.DISCONNECTED, AttributeId.NO_ERROR, Status.NO_ERROR, text)
        if self.state in NOT_STARTED:
            self._end = end
            self._close()
            return
        self._send(call_disconnect())
        self._begin_end(end)
        self._enter_ending(State.CALL_DISCONNECT_ACK_PENDING, now + self._timers.disconnect_1)

    def _begin_end(self, end: CallEnded) -> None:
        """Keep what began the end. Crossing messages, as when both sides disconnect at once, do not replace it."""
        if self._end is None:
            self._end = end
            self._events.append(CallEnding(end.reason, end.attribute_id, end.status, end.text))

    def _enter_ending(self, state: State, deadline: float) -> None:
        self.state = state
        self.passes_data = False
        self._deadline = deadline

    def _close(self) -> None:
        """Clear the connection state and say why the call is over."""
        self.state = State.CLOSED
        self.closed = True
        self.passes_data = False
        self._deadline = None
        if self._end is not None:
            self._events.append(self._end)

    # Timers

    def _hello_deadline(self) -> float:
        if self._echo_sent_at is not None and self.last_received < self._echo_sent_at:
            return self._echo_sent_at + self._timers.hello
        return self.last_received + self._timers.hello

    def _on_hello_timer(self, now: float) -> None:
        if self._echo_sent_at is None or self.last_received >= self._echo_sent_at:
            # MS-SSTP 3.1.6.3. Only ever sent in Call_Connected: some servers abort on one that comes before.
            self._echo_sent_at = now
            self._send(ECHO_REQUEST)
            self._events.append(EchoRequested())
            return
        # "If the SSTP far end does not respond with an Echo Response (or any SSTP packet) within the next timer
        # interval, then it MUST abort the connection without sending a Call Abort packet." -- MS-SSTP 3.1.2.3
        text = explain.peer_silent(self.PEER, now - self.last_received)
        self._end = CallEnded(EndReason.PEER_SILENT, None, None, text)
        self._close()

    def _on_negotiation_timer(self, now: float) -> None:
        text = explain.negotiation_timed_out(self.PEER, self._phase(), self._timers.negotiation)
        self._begin_abort(EndReason.NEGOTIATION_TIMEOUT, AttributeId.STATUS_INFO, Status.NEGOTIATION_TIMEOUT, text, now)
