"""One TCP connection as its owner and the stack see it: the user calls of RFC 9293 section 3.10 and the driver's.

Theory of operation. The state is in :class:`~.tcb.Tcb`; the modules beside this one change it. Every entry point here
ends in ``_report()``, which tells the stack what came of it: news for the owner, output to ask for, the next deadline.
Deadlines are told lazily: one that moves to a later time is left as it is, and handle_timer() called too early sets
the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...base.seqnum import MASK
from ...errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimedOut,
    HostUnreachable,
    LocalProtocolError,
    NetworkUnreachable,
    SstpsocksError,
)
from ..address import IPAddress
from ..icmp import IcmpErrorKind
from ..memory import FLOW_COST, PIECE_COST
from ..outer import LOOK_AGAIN
from . import handshake, keep_alive, recovery, sack_recovery, send, tlp
from .host import TcpHost
from .receive import acknowledge_later, delayed_ack_due, process_text_and_fin, segment_arrives
from .resets import reset
from .segment import Segment, parse_segment
from .tcb import Tcb, TcpState
from .window import consumed

_CAN_SEND: Final = frozenset({TcpState.SYN_SENT, TcpState.SYN_RECEIVED, TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})
_PREDICTABLE: Final = frozenset({TcpState.ESTABLISHED, TcpState.FIN_WAIT_2})
"""States in which data and acknowledgements change no state."""
_NO_RESET_NEEDED: Final = frozenset({TcpState.CLOSED, TcpState.LISTEN, TcpState.SYN_SENT, TcpState.TIME_WAIT})
_BOTH_CLOSED: Final = frozenset({TcpState.CLOSING, TcpState.LAST_ACK})
_HARD_ERRORS: Final = {
    IcmpErrorKind.PORT_UNREACHABLE: ConnectionRefused,
    IcmpErrorKind.PROTOCOL_UNREACHABLE: ConnectionRefused,
    IcmpErrorKind.NETWORK_UNREACHABLE: NetworkUnreachable,
    IcmpErrorKind.HOST_UNREACHABLE: HostUnreachable,
    IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED: HostUnreachable,
    IcmpErrorKind.SOURCE_ROUTE_FAILED: HostUnreachable,
}
"""What ends an attempt to connect (RFC 5461 section 4.1 lets soft errors do so too); TTL and reassembly time pass."""
_ROOM_WORTH_TELLING: Final = 4
"""The owner that waits for room is woken when a quarter of the buffer is free: fewer, larger writes."""


class TcpConnection(Tcb):
    """A connection. Plain attributes ``state``, ``local``, ``remote``, ``established``, ``error``, ``readable`` and
    ``fin_received`` may be read at any time; nothing here blocks, and no input of the peer raises.
    """

    __slots__ = ("_deadline_told", "address_sum", "key", "notify")

    def __init__(self, host: TcpHost, local: tuple[IPAddress, int], remote: tuple[IPAddress, int]) -> None:
        super().__init__(host, local, remote)
        self.key = remote[0].packed + local[0].packed + remote[1].to_bytes(2, "big") + local[1].to_bytes(2, "big")
        """Octets 12 to 24 of a received IPv4 packet without options, 8 to 44 of an IPv6 packet without extensions."""
        self.address_sum = int.from_bytes(self.key[:-4], "big") % 0xFFFF
        """What both addresses add to the checksums."""
        self.notify: Callable[[], None] | None = None
        """For the owner's use."""
        self._deadline_told: float | None = None
        """The deadline the stack knows of, not later than the real one."""

    def __repr__(self) -> str:
        return (
            f"<TcpConnection {self.state.value} {self.local[0]}:{self.local[1]} to {self.remote[0]}:{self.remote[1]}"
            f" readable {self.readable} queued {len(self.send_queue)} in flight {self.flight_size}>"
        )

    # --- User calls --------------------------------------------------------------------------------------------------

    def open_active(self, now: float) -> None:
        """RFC 9293 section 3.10.1, OPEN: begin to connect. ``established`` or ``error`` tells what came of it."""
        if self.state is not TcpState.CLOSED:
            raise LocalProtocolError("connection already open", layer="tcp")
        self.host.register(self)
        handshake.open_active(self, now)
        self._report(now)

    def open_passive(self, syn: Segment, now: float) -> None:
        """Answer a SYN that came to a listener."""
        if self.state is not TcpState.CLOSED:
            raise LocalProtocolError("connection already open", layer="tcp")
        self.host.register(self)
        handshake.open_passive(self, syn, now)
        self._report(now)

    @property
    def unsent_and_unacknowledged(self) -> int:
        """Octets accepted by send() that the peer has not acknowledged."""
        return len(self.send_queue)

    def send_room(self) -> int:
        """Return how many octets send() would accept now; after 0 the flow becomes dirty when there is room again.

        Grows and shrinks with the congestion window, between bounds.
        """
        if self.fin_queued or self.state not in _CAN_SEND:
            return 0
        room = self._send_capacity() - len(self.send_queue)
        if room > 0:
            return room
        # Not only a write that filled the buffer waits: a loss may have taken the room that its owner was told of.
        self.room_wanted = True
        return 0

    def send(self, data: bytes | memoryview, now: float) -> int:
        """RFC 9293 section 3.10.2, SEND: queue data and return how many octets were accepted.

        0 or fewer than given means that the buffer is full. Whenever a call has filled it, the flow becomes dirty when
        there is room again. Also allowed while connecting. Raises the connection's ``error`` when it ended,
        LocalProtocolError after shutdown().
        """
        if self.error is not None:
            raise self.error
        if self.fin_queued or self.state not in _CAN_SEND:
            raise LocalProtocolError("cannot send: this direction is closed", layer="tcp")
        room = self.send_room()
        if len(data) >= room:
            self.room_wanted = True
            data = memoryview(data)[:room]
        if data:
            self.send_queue.append(data)
            self._report(now)
        return len(data)

    def pieces(self) -> list[memoryview]:
        """Return the in-order data that consume() has not freed, without copying: ``readable`` octets in all."""
        return self.rcv_pieces.copy()

    def consume(self, count: int, now: float) -> None:
        """RFC 9293 section 3.10.3, RECEIVE: free the first ``count`` octets of pieces()."""
        if not 0 <= count <= self.readable:
            raise LocalProtocolError(f"cannot consume {count} of {self.readable} octets", layer="tcp")
        pieces = self.rcv_pieces
        if count == self.readable:
            pieces.clear()
            self.rcv_joined = 0
        else:
            left = count
            passed = 0
            while left >= len(pieces[passed]):
                left -= len(pieces[passed])
                passed += 1
            del pieces[:passed]
            self.rcv_joined = max(self.rcv_joined - passed, 0)
            if left:
                pieces[0] = pieces[0][left:]
        consumed(self, count, now)
        if self.ack_now:
            self._report(now)
        else:
            self._charge()

    @property
    def eof(self) -> bool:
        """Whether the peer's FIN was reached and everything before it was consumed."""
        return self.fin_received and not self.readable

    def shutdown(self, now: float) -> None:
        """RFC 9293 section 3.10.4, CLOSE: send a FIN behind the queued data. The other direction goes on."""
        if self.fin_queued or self.state not in _CAN_SEND:
            return
        self.fin_queued = True
        # In SYN-SENT and SYN-RECEIVED "queue for processing after entering ESTABLISHED state".
        if self.state is TcpState.ESTABLISHED:
            self.enter(TcpState.FIN_WAIT_1)
        elif self.state is TcpState.CLOSE_WAIT:
            self.enter(TcpState.LAST_ACK)
        self._report(now)

    def abort(self, now: float, error: SstpsocksError | None = None) -> None:
        """RFC 9293 section 3.10.5, ABORT: reset the connection. ``error`` is what the owner is told, if not that."""
        if self.state is TcpState.CLOSED:
            return
        error = error or ConnectionLost("connection aborted")
        # In CLOSING and LAST-ACK "delete the TCB": there is nothing to reset when all was sent and all was read.
        all_said = self.state in _BOTH_CLOSED and self.flight_size > len(self.send_queue) and not self.readable
        if all_said or self.state in _NO_RESET_NEEDED:
            self.fail(error)
        else:
            reset(self, error, now)
        self._report(now)

    def set_user_timeout(self, seconds: float) -> None:
        """How long sent data may go unacknowledged before the connection is given up (RFC 9293 section 3.9.1.2, RFC
        5482); the option that would tell the peer is not sent.
        """
        self.user_timeout = seconds

    def set_nagle(self, on: bool, now: float) -> None:
        """Switch the Nagle algorithm on or off (RFC 9293 section 3.7.4, MUST-17); what waited for it goes out."""
        self.nagle = on
        self._report(now)

    def forget(self, now: float) -> None:
        """Delete the connection without a word to anybody: nobody has seen it yet, or it was over anyway."""
        self.listener = None
        self.detached = True
        self.close()
        self._report(now)

    def detach(self, now: float) -> None:
        """The owner is gone and will not call again: close in order, or reset when data would be lost unseen."""
        if self.detached:
            return
        self.detached = True
        if self.state is TcpState.CLOSED:
            self._charge()
            return
        if self.state is TcpState.SYN_SENT or (self.state is TcpState.SYN_RECEIVED and not self.send_queue):
            self.abort(now)
        elif self.readable:
            # RFC 1122 section 4.2.2.13, RFC 2525 section 2.17
            self.abort(now)
        else:
            self.shutdown(now)
            if self.state is TcpState.FIN_WAIT_2:
                self.wait_deadline = now + self.host.config.fin_wait_2_timeout
            self._report(now)

    # --- The stack's calls -------------------------------------------------------------------------------------------

    def receive_segment(self, data: bytes, start: int, end: int, now: float, *, marked: bool = False) -> None:
        """Take the segment ``data[start:end]``, checksum verified and counted by the caller.

        ``marked``: it came with the ECN codepoint CE.
        """
        segment = parse_segment(data, start, end)
        if segment is None:
            self.host.counters.tcp_in_errs += 1
            return
        segment.marked = marked
        self.last_heard = now
        if self.state is TcpState.SYN_SENT:
            if handshake.segment_in_syn_sent(self, segment, now):
                process_text_and_fin(self, segment, now)
        elif self.state is not TcpState.CLOSED:
            segment_arrives(self, segment, now)
        self._report(now)

    def run_received(self, segments: int, octets: int, now: float) -> None:
        """The receive run took segments by header prediction: the rest of what process_text_and_fin() does for them.

        ``segments`` of them had data, ``octets`` in all; rcv_nxt and rcv_pieces are up to date.
        """
        self.last_heard = now
        if segments:
            self.readable += octets
            self.dirty = True
            acknowledge_later(self, segments, now)
        self._report(now)

    def on_icmp_error(self, kind: IcmpErrorKind, seq: int, now: float, mtu: int = 0) -> bool:
        """An ICMP error quotes a segment of ours that began at ``seq``; ``mtu`` is that of "fragmentation needed".

        False when no such segment is in flight: it is not believed.
        """
        # RFC 5927 section 4.1: the quoted number must be that of data sent and not yet acknowledged.
        una = self.iss if self.state is TcpState.SYN_SENT else self.snd_una
        if self.state is TcpState.CLOSED or (seq - una) & MASK >= (self.snd_max - una) & MASK:
            return False
        if kind is IcmpErrorKind.FRAGMENTATION_NEEDED:
            self._lower_mss(mtu - self.builder.HEADERS)
        elif self.state is TcpState.SYN_SENT and kind in _HARD_ERRORS:
            # RFC 5461: later ones are soft: a connection in other states goes on and may time out by itself.
            self.fail(_HARD_ERRORS[kind](f"{self.remote[0]} port {self.remote[1]}: ICMP says {kind.value}"))
        self._report(now)
        return True

    def _lower_mss(self, mss: int) -> None:
        """RFC 1191 section 6.4: send what did not fit again in smaller segments; it is no sign of congestion."""
        # RFC 5927 section 7.2 warns of tiny ones. Every IPv6 path carries 1280 octets (RFC 8201 section 4), and a path
        # of IPv4 that does not carry 576 is not believed.
        mss = max(mss, self.default_mss)
        self.path_mss = min(self.path_mss, mss)
        mss -= self.option_size
        if mss >= self.snd_mss:
            return
        self.snd_mss = mss
        self.black_hole = None
        self.congestion.set_mss(mss)
        if self.scoreboard is not None:
            sack_recovery.send_everything_again(self, self.scoreboard)
        elif self.established:
            self.timed_end = None
            self.snd_nxt = self.snd_una
            self.rto_deadline = None
            self.recover = self.snd_max
            self.in_recovery = False
            self.dupacks = self.inflation = 0
            self.send_head = True

    @property
    def has_urgent_output(self) -> bool:
        """Whether something small is due that others wait for: SYN, pure ACK, RST."""
        return self.ack_now or self.syn_pending or bool(self.replies)

    def has_output(self) -> bool:
        """Whether next_packets() would return anything now."""
        return send.has_output(self)

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        """Build packets for the link until nothing more may go or ``max_bytes`` is reached or just passed."""
        packets = send.next_packets(self, now, max_bytes)
        if self.snd_nxt == self.snd_una and not send.has_output(self):
            self._wait_for_window(now)
        if self.state is not TcpState.CLOSED:
            self._tell_deadline()
        return packets

    def handle_timer(self, now: float) -> None:
        """Do what is due; harmless when called early."""
        if self.connect_deadline is not None and now >= self.connect_deadline:
            self.fail(ConnectTimedOut(f"{self.remote[0]} port {self.remote[1]} did not answer in time"))
        elif self.wait_deadline is not None and now >= self.wait_deadline:
            self.close()
        else:
            if self.rack_deadline is not None and now >= self.rack_deadline:
                sack_recovery.reordering_timeout(self, now)
            # Before the retransmission timer: a probe that is due at the same time comes in its place.
            if self.tlp_deadline is not None and now >= self.tlp_deadline:
                tlp.probe_timer_expired(self, now)
            if self.rto_deadline is not None and now >= self.rto_deadline and not self._wait_for_outer(now):
                if self.state in (TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
                    self.rto_deadline = None
                    self.rtt.back_off()
                    self.syn_pending = True
                    self.host.counters.tcp_retrans_segs += 1
                    self.retransmissions += 1
                else:
                    recovery.retransmission_timeout(self, now)
            if self.persist_deadline is not None and now >= self.persist_deadline:
                recovery.probe_timeout(self, now)
            if self.delack_deadline is not None and now >= self.delack_deadline:
                delayed_ack_due(self)
            if self.keep_alive_deadline is not None and now >= self.keep_alive_deadline:
                keep_alive.expired(self, now)
        if not self._tells_a_new_deadline(now):
            self.host.set_deadline(self, None)

    def _tells_a_new_deadline(self, now: float) -> bool:
        self._forget_deadline()
        self._report(now)
        return self._deadline_told is not None

    def _forget_deadline(self) -> None:
        self._deadline_told = None

    def _wait_for_outer(self, now: float) -> bool:
        """Put the retransmission timer off while the outer connection makes no progress; see net/outer.py."""
        outer, deadline = self.host.outer, self.rto_deadline
        if outer is None or deadline is None:
            return False
        if deadline != self.put_off_until:
            # A timer that was started by itself, not put off: it began one timeout ago.
            self.put_off_since = deadline - self.rtt.rto
        if outer.may_retransmit(self.put_off_since, now):
            return False
        self.rto_deadline = self.put_off_until = now + LOOK_AGAIN
        self.host.counters.tcp_timers_put_off += 1
        return True

    # --- Reports to the stack ----------------------------------------------------------------------------------------

    def _send_capacity(self) -> int:
        config, memory = self.host.config, self.host.memory
        if memory.pressure:
            return min(config.send_buffer_initial, memory.share) if memory.short else config.send_buffer_initial
        return min(max(config.send_buffer_initial, 2 * self.congestion.cwnd), config.send_buffer_maximum)

    def _charge(self) -> None:
        """Tell the stack's memory what the connection holds: nothing when it has ended and its owner has all."""
        memory = self.host.memory
        held = self.readable + len(self.send_queue)
        if self.reassembly:
            held += self.reassembly.octets + PIECE_COST * len(self.reassembly)
            memory.holders[self] = self._give_up_held
        elif self in memory.holders:
            del memory.holders[self]
        if self.state is TcpState.CLOSED:
            if self.detached:
                held = 0
        else:
            held += FLOW_COST
        if held != self.charged:
            memory.flows += (held > 0) - (self.charged > 0)
            charged, self.charged = self.charged, held
            memory.charge(held - charged)

    def _give_up_held(self) -> None:
        """Forget what waits behind a hole: memory is short."""
        self.host.counters.tcp_memory_discards += len(self.reassembly)
        self.reassembly.clear()
        self._charge()

    def _report(self, now: float) -> None:
        """Tell the stack what came of the call that ends here."""
        host = self.host
        state = self.state
        self._charge()
        self.predictable = (
            state in _PREDICTABLE
            and not self.reassembly
            and self.fin_seq is None
            and not self.in_recovery
            and not self.dupacks
            and not self.detached
            and self.snd_wnd > 0
            and not self.rto_recovery
            and (self.scoreboard is None or not self.scoreboard.sacked)
        )
        if self.room_wanted and self.send_room() * _ROOM_WORTH_TELLING >= self._send_capacity():
            self.room_wanted = False
            self.dirty = True
        if self.dirty:
            self.dirty = False
            if self.listener is not None:
                self.listener.connection_changed(self)
            if not self.detached:
                host.mark_dirty(self)
        if send.has_output(self):
            self.persist_deadline = None
            host.mark_output(self)
        elif self.snd_nxt == self.snd_una:
            self._wait_for_window(now)
        if state is TcpState.CLOSED:
            host.forget(self)
        else:
            self._tell_deadline()

    def _wait_for_window(self, now: float) -> None:
        """Nothing is in flight and nothing may be sent: if there is data, the window is in its way."""
        if self.persist_deadline is None and self.established and len(self.send_queue):
            if not self.probes:
                self.stalled_since = now
            self.persist_deadline = now + recovery.probe_interval(self)

    def _tell_deadline(self) -> None:
        deadline = self.next_deadline()
        if deadline is not None and (self._deadline_told is None or deadline < self._deadline_told):
            self._deadline_told = deadline
            self.host.set_deadline(self, deadline)
