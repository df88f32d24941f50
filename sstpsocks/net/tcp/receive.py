"""The receiver: RFC 9293 section 3.10.7.4 as its ordered steps, and when to acknowledge."""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, distance, lt
from ...errors import ConnectionLost
from . import ecn, timestamps
from .acks import check_ack
from .resets import challenge_ack, reset, second_check_rst
from .sack import note_duplicate
from .segment import ACK, CWR, ECE, FIN, RST, SYN, Segment
from .tcb import Tcb, TcpState
from .window import refuses

_TEXT_MAY_COME: Final = frozenset({TcpState.ESTABLISHED, TcpState.FIN_WAIT_1, TcpState.FIN_WAIT_2})

_ACK_EVERY: Final = 2
"""RFC 5681 section 4.2: "an ACK SHOULD be generated for at least every second full-sized segment"."""
_ACK_EVERY_IN_BULK: Final = 8
"""In steady bulk; a deliberate deviation that kernels make by GRO as well. Every ACK costs both ends as much as a data
segment does."""
_STEADY_BULK: Final = 64
"""Segments in order, without a hole or a pause, after which a transfer counts as steady: its sender has left slow
start's first rounds and does not wait for single ACKs."""
LEFTOVER_PIECES: Final = 16
"""Unconsumed pieces that may keep their decrypted chunks (one read each) in memory before they are joined."""
_SMALL_PIECE: Final = 4096
"""A joined piece below this grows with the next ones."""


# --- The steps of section 3.10.7.4 -----------------------------------------------------------------------------------


def segment_arrives(tcb: Tcb, segment: Segment, now: float) -> None:
    """Process a segment in SYN-RECEIVED or any later state."""
    if tcb.state is TcpState.SYN_RECEIVED and segment.flags & SYN and segment.seq == tcb.irs:
        if not segment.flags & ACK:
            # The peer's SYN again: our SYN,ACK was lost. The next one echoes this one, so that it measures something.
            if tcb.timestamps:
                timestamps.take(tcb, segment, segment.seq, now)
            ecn.take_syn(tcb, segment.flags)
            tcb.syn_pending = True
            return
        # Simultaneous open, RFC 9293 figure 8: the SYN was taken before, what counts is its ACK.
        ecn.take_syn(tcb, segment.flags)
        segment.flags &= ~(SYN | ECE | CWR)
        segment.seq = tcb.rcv_nxt
        tcb.ack_now = True
    seq = segment.seq
    if tcb.timestamps and not timestamps.acceptable(tcb, segment, now):
        # RFC 7323 section 5.3 R1: it is not acceptable, so it is acknowledged and dropped.
        if segment.timestamps is not None:
            _answer_unacceptable(tcb, segment, now)
        return
    if not _first_check_sequence_number(tcb, segment, now):
        return
    if segment.flags & RST:
        # What its TSopt says changes nothing (RFC 7323 section 5.2).
        second_check_rst(tcb, segment, now)
        return
    if tcb.timestamps:
        timestamps.take(tcb, segment, seq, now)
    # Third, security: not used.
    if segment.flags & SYN and tcb.state is TcpState.SYN_RECEIVED and tcb.listener is not None:
        # Fourth: "If the connection was initiated with a passive OPEN, then return this connection to the LISTEN
        # state and return."
        tcb.fail(ConnectionLost("the peer began anew"))
        return
    if segment.flags & SYN:
        # RFC 5961 section 4.2: "If the SYN bit is set, irrespective of the sequence number, TCP MUST send an
        # ACK (also referred to as challenge ACK) to the remote peer".
        challenge_ack(tcb, now)
        return
    if not segment.flags & ACK:
        # Fifth: "if the ACK bit is off, drop the segment and return".
        return
    if not check_ack(tcb, segment, now):
        return
    # Sixth, URG: urgent data is read in line with the rest (RFC 6093).
    process_text_and_fin(tcb, segment, now)


def _first_check_sequence_number(tcb: Tcb, segment: Segment, now: float) -> bool:
    """First step: is any of it in the window? If so trim it to the window."""
    window = (tcb.rcv_adv - tcb.rcv_nxt) & MASK
    length = segment.length
    offset = distance(tcb.rcv_nxt, segment.seq)
    if length == 0:
        # The right edge itself is allowed: a peer that filled the window acknowledges from there.
        if 0 <= offset <= window:
            return True
    elif window == 0 and offset == 0:
        # "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid
        # ACKs, URGs, and RSTs." This is a window probe; it is answered.
        if tcb.ecn and segment.payload:
            # RFC 3168 section 6.1.6: "if a window probe arrives with the CE codepoint set, then the receiver SHOULD
            # respond to the ECN indications."
            ecn.data_arrives(tcb, segment)
        segment.payload = segment.payload[:0]
        segment.flags &= ~FIN
        tcb.ack_now = True
        return True
    elif offset < window and offset + length > 0:
        if offset < 0 and segment.payload:
            note_duplicate(tcb, segment.seq + (segment.flags & SYN > 0), tcb.rcv_nxt)
        if _trim(segment, offset, window):
            tcb.ack_now = True
        return True
    # "If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless the RST bit is set
    # …)". Empty ones are limited, or two confused ends would acknowledge each other for ever.
    if segment.flags & RST:
        return False
    if tcb.state is TcpState.TIME_WAIT and segment.flags & FIN and tcb.wait_deadline is not None:
        # "The only thing that can arrive in this state is a retransmission of the remote FIN. Acknowledge it, and
        # restart the 2 MSL timeout."
        tcb.wait_deadline = now + 2 * tcb.host.config.msl
    if length and offset + length <= 0 and segment.payload:
        note_duplicate(tcb, segment.seq, segment.seq + len(segment.payload))
    _answer_unacceptable(tcb, segment, now)
    if offset + length == 0 and _acknowledges_news(tcb, segment):
        segment.payload = segment.payload[:0]
        segment.seq = tcb.rcv_nxt
        return True
    return False


def _acknowledges_news(tcb: Tcb, segment: Segment) -> bool:
    """Whether a segment that repeats the last octets received, and nothing else, also acknowledges new data.

    What is left of it after trimming is empty and at RCV.NXT, which is acceptable. Kernels take it, and SoftEther's
    SecureNAT relies on that: it acknowledges what came meanwhile with the data that it repeats, and then no more.
    """
    if segment.flags & (SYN | FIN | ACK) != ACK or tcb.state is TcpState.SYN_RECEIVED:
        return False
    return 0 < (segment.ack - tcb.snd_una) & MASK <= (tcb.snd_max - tcb.snd_una) & MASK


def _answer_unacceptable(tcb: Tcb, segment: Segment, now: float) -> None:
    if segment.length:
        tcb.ack_now = True
    else:
        challenge_ack(tcb, now)


def _trim(segment: Segment, offset: int, window: int) -> bool:
    """Cut off what lies outside: "One could tailor actual segments to fit this assumption by trimming off any portions
    that lie outside the window (including SYN and FIN)". True when the peer sent more than it may.
    """
    if offset < 0:
        if segment.flags & SYN:
            segment.flags &= ~SYN
            segment.seq = (segment.seq + 1) & MASK
            offset += 1
        segment.payload = segment.payload[-offset:]
        segment.seq = (segment.seq - offset) & MASK
        offset = 0
    room = window - offset
    if segment.length <= room:
        return False
    segment.flags &= ~FIN
    segment.payload = segment.payload[:room]
    return True


# --- Text and FIN: steps seven and eight -----------------------------------------------------------------------------


def process_text_and_fin(tcb: Tcb, segment: Segment, now: float) -> None:
    """Seventh and eighth step: take the data, then the FIN when everything before it is here."""
    if tcb.state not in _TEXT_MAY_COME:
        # "This should not occur since a FIN has been received from the remote side. Ignore the segment text."
        if segment.length:
            tcb.ack_now = True
        return
    size = len(segment.payload)
    if size and tcb.detached:
        # RFC 1122 section 4.2.2.13: "If such a host issues a CLOSE call while received data is still pending in TCP,
        # or if new data is received after CLOSE is called, its TCP SHOULD send a RST to show that data was lost."
        reset(tcb, ConnectionLost("data arrived after close"), now)
        return
    if size and tcb.ecn:
        ecn.data_arrives(tcb, segment)
    if segment.flags & FIN and tcb.fin_seq is None:
        tcb.fin_seq = (segment.seq + size) & MASK
    if size:
        if segment.seq == tcb.rcv_nxt and refuses(tcb, size):
            # As if it had been lost; the peer sends it again.
            tcb.host.counters.tcp_memory_discards += 1
            tcb.ack_now = True
        elif segment.seq == tcb.rcv_nxt:
            _take_in_order(tcb, segment.payload, now)
        else:
            # RFC 5681 section 3.2: "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order
            # segment arrives."
            if tcb.sack_permitted and (again := tcb.reassembly.duplicate(segment.seq, size)):
                note_duplicate(tcb, *again)
            if tcb.host.memory.short:
                tcb.host.counters.tcp_memory_discards += 1
            else:
                tcb.reassembly.insert(segment.seq, segment.payload, tcb.rcv_nxt)
            tcb.in_order_run = 0
            tcb.ack_now = True
    if tcb.fin_seq is not None:
        if tcb.fin_seq == tcb.rcv_nxt:
            _take_fin(tcb, now)
        elif segment.flags & FIN:
            tcb.ack_now = True


def _take_in_order(tcb: Tcb, payload: memoryview, now: float) -> None:
    if len(tcb.rcv_pieces) - tcb.rcv_joined > LEFTOVER_PIECES:
        join_leftovers(tcb)
    tcb.rcv_pieces.append(payload)
    size = len(payload)
    tcb.rcv_nxt = (tcb.rcv_nxt + size) & MASK
    if tcb.reassembly:
        # RFC 5681 section 3.2: "In addition, a TCP receiver SHOULD send an immediate ACK when the incoming segment
        # fills in all or part of a gap in the sequence space."
        for piece in tcb.reassembly.extract(tcb.rcv_nxt):
            tcb.rcv_pieces.append(memoryview(piece))
            size += len(piece)
            tcb.rcv_nxt = (tcb.rcv_nxt + len(piece)) & MASK
        tcb.ack_now = True
        tcb.in_order_run = 0
    tcb.readable += size
    tcb.dirty = True
    acknowledge_later(tcb, 1, now)


def acknowledge_later(tcb: Tcb, segments: int, now: float) -> None:
    """``segments`` data segments came in order: acknowledge now or after the delay (RFC 9293 section 3.8.6.3).

    At the start and after a pause at once, unless our side answers what comes: an answer carries the ACK for nothing.
    """
    if now != tcb.last_received:
        _data_came(tcb, now)
    tcb.unacked_segments += segments
    if tcb.quick_acks and not tcb.interactive:
        # Segments that come together cost one: they get one ACK.
        tcb.quick_acks -= not tcb.ack_now
        tcb.ack_now = True
        tcb.delack_deadline = None
        return
    every = _ACK_EVERY_IN_BULK if tcb.large_flight and tcb.in_order_run >= _STEADY_BULK else _ACK_EVERY
    if tcb.unacked_segments >= every:
        tcb.ack_now = True
        tcb.delack_deadline = None
    elif tcb.delack_deadline is None and not tcb.ack_now:
        tcb.delack_deadline = now + tcb.host.config.delayed_ack


def _data_came(tcb: Tcb, now: float) -> None:
    """The first data at this time: is the peer in slow start, and does our side answer?"""
    pause = now - tcb.last_received
    config = tcb.host.config
    # Judged by the data before this; what was just received cannot be answered yet.
    tcb.interactive = 0 < tcb.last_sent - tcb.last_received <= config.delayed_ack
    if pause > tcb.rtt.rto:
        # RFC 5681 section 4.1 has its sender begin with slow start again. Half the window in full segments is enough
        # for the window never to be what it waits for.
        tcb.quick_acks = min(config.quick_acks, max(tcb.rcv_capacity // (2 * tcb.link_mss), 2))
        tcb.in_order_run = 0
    tcb.last_received = now


def delayed_ack_due(tcb: Tcb) -> None:
    """The delay is over: the peer paused or waits for us, so it is no steady bulk."""
    tcb.delack_deadline = None
    tcb.ack_now = True
    tcb.in_order_run = 0
    tcb.unacked_segments = 0


def join_leftovers(tcb: Tcb) -> None:
    """Copy what the owner left unread of earlier batches into one piece.

    Pieces are slices of decrypted chunks and keep them alive; a reader that stalls must not make one small segment
    hold a whole read. A small piece that was joined before is taken along, so that many small batches do not become as
    many pieces; beyond that each octet is copied at most once.
    """
    pieces = tcb.rcv_pieces
    first = tcb.rcv_joined
    if first == len(pieces):
        return
    if first and len(pieces[first - 1]) < _SMALL_PIECE:
        first -= 1
    pieces[first:] = [memoryview(b"".join(pieces[first:]))]
    tcb.rcv_joined = first + 1


def _take_fin(tcb: Tcb, now: float) -> None:
    """Eighth step: "advance RCV.NXT over the FIN, and send an acknowledgment for the FIN"."""
    tcb.rcv_nxt = (tcb.rcv_nxt + 1) & MASK
    if lt(tcb.rcv_adv, tcb.rcv_nxt):
        tcb.rcv_adv = tcb.rcv_nxt
    tcb.fin_received = True
    tcb.ack_now = True
    tcb.dirty = True
    tcb.reassembly.clear()
    if tcb.state is TcpState.ESTABLISHED:
        tcb.enter(TcpState.CLOSE_WAIT)
    elif tcb.state is TcpState.FIN_WAIT_2:
        tcb.enter_time_wait(now)
    else:
        # FIN-WAIT-1, and our FIN is not acknowledged: the fifth step would have left that state.
        tcb.enter(TcpState.CLOSING)
