"""The sender: which segments may go now, and how they are built (RFC 9293 section 3.8.6, RFC 5681).

Nothing is built before next_packets() asks for it, so nothing waits in a queue of ours where it could be mistaken for
lost: round-trip and retransmission clocks start here.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, le, lt
from . import black_hole, ecn
from .sack import sack_due, take_sack_option
from .sack_recovery import retransmission, transmit_room, transmitted
from .scoreboard import Scoreboard
from .segment import ACK, ECE, FIN, MAXIMUM_OPTIONS, PSH, syn_options
from .tcb import Tcb, TcpState
from .timestamps import clock
from .tlp import schedule_probe
from .window import acceptable_seq, advertise_window

_HANDSHAKE: Final = frozenset({TcpState.SYN_SENT, TcpState.SYN_RECEIVED})
_DATA_MAY_GO: Final = frozenset(
    {TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT_1, TcpState.CLOSING, TcpState.LAST_ACK}
)
"""States in which data or a FIN of ours may be unsent or unacknowledged."""


def update_send_window(tcb: Tcb, seq: int, ack: int, window: int) -> None:
    """Take the offered window (scaled) unless the segment is older than the one that set it last.

    RFC 9293 section 3.10.7.4: "If (SND.WL1 < SEG.SEQ or (SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK)), set SND.WND <-
    SEG.WND, set SND.WL1 <- SEG.SEQ, and set SND.WL2 <- SEG.ACK."
    """
    if lt(tcb.snd_wl1, seq) or (tcb.snd_wl1 == seq and le(tcb.snd_wl2, ack)):
        tcb.snd_wnd = window
        tcb.snd_wl1 = seq
        tcb.snd_wl2 = ack
        if window:
            tcb.probes = 0
            if window > tcb.max_snd_wnd:
                tcb.max_snd_wnd = window


def sendable(tcb: Tcb) -> int:
    """Return the size of the data segment that may be sent at snd_nxt now, 0 for none.

    Unless the Nagle algorithm is switched on, what a program writes goes out. Silly windows are avoided by RFC 9293
    section 3.8.6.2.1: send when a full segment fits, or all queued data, or at least half of the largest window ever
    offered.
    """
    if tcb.state not in _DATA_MAY_GO:
        return 0
    in_flight = (tcb.snd_nxt - tcb.snd_una) & MASK
    unsent = len(tcb.send_queue) - in_flight
    if unsent <= 0:
        return 0
    offered = tcb.snd_wnd - in_flight
    board = tcb.scoreboard
    if board is None or not (board.sacked or board.lost or tcb.in_recovery):
        # Without a hole all that was sent is in flight.
        size = tcb.congestion.cwnd + tcb.inflation - in_flight
    else:
        size = transmit_room(tcb, board)
    if offered < size:
        size = offered
    if size >= tcb.snd_mss <= unsent:
        return tcb.snd_mss
    if size >= unsent:
        # RFC 9293 section 3.7.4 (SHLD-7): "If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending
        # TCP endpoint buffers all user data … until the outstanding data has been acknowledged or until the TCP
        # endpoint can send a full-sized segment". Nothing more comes before a FIN.
        return 0 if tcb.nagle and in_flight and not tcb.fin_queued else unsent
    if size > 0 and size == offered and 2 * size >= tcb.max_snd_wnd:
        return size
    return 0


def fin_due(tcb: Tcb) -> bool:
    """Whether a FIN without data is the next thing to send. It may go into a closed window."""
    return (
        tcb.fin_queued
        and not tcb.fin_acked
        and tcb.state in _DATA_MAY_GO
        and (tcb.snd_nxt - tcb.snd_una) & MASK == len(tcb.send_queue)
    )


def has_output(tcb: Tcb) -> bool:
    """Whether next_packets() would return anything."""
    return (
        tcb.ack_now
        or tcb.send_head
        or tcb.syn_pending
        or bool(tcb.replies)
        or tcb.keep_alive_due
        or sendable(tcb) > 0
        or (tcb.fin_queued and fin_due(tcb))
        or tcb.tlp_due
        or (tcb.scoreboard is not None and retransmission(tcb, tcb.scoreboard) is not None)
    )


def next_packets(tcb: Tcb, now: float, max_bytes: int) -> list[bytes]:
    """Build packets until nothing more may go or ``max_bytes`` is reached or passed by one packet."""
    if max_bytes <= 0:
        return []
    packets = tcb.replies
    tcb.replies = []
    if tcb.state in _HANDSHAKE:
        _handshake_packets(tcb, now, packets)
        tcb.host.counters.tcp_out_segs += len(packets)
        return packets
    snd_max = tcb.snd_max
    if tcb.keep_alive_due:
        tcb.keep_alive_due = False
        packets.append(_build(tcb, (tcb.snd_max - 1) & MASK, ACK, now))
    if tcb.bare_ack_first:
        packets.append(pure_ack(tcb, now))
    if tcb.ack_now and sack_due(tcb):
        # Segments with data carry no SACK option, so that their size does not depend on it: these go before them.
        packets.append(pure_ack(tcb, now))
        while tcb.dsack:
            packets.append(pure_ack(tcb, now))
    if tcb.send_head:
        packets.append(_head_segment(tcb, now))
    if tcb.scoreboard is not None:
        max_bytes -= _recovery_segments(tcb, tcb.scoreboard, now, max_bytes, packets)
    if max_bytes > 0 and sendable(tcb):
        _data_segments(tcb, now, max_bytes, packets)
    if tcb.fin_queued and fin_due(tcb):
        packets.append(_data_segment(tcb, tcb.snd_nxt, 0, now))
    if tcb.scoreboard is not None and tcb.snd_max != snd_max:
        schedule_probe(tcb, now)
    if tcb.ack_now:
        packets.append(pure_ack(tcb, now))
    tcb.host.counters.tcp_out_segs += len(packets)
    return packets


def pure_ack(tcb: Tcb, now: float) -> bytes:
    """Return "<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>".

    The sequence number is not snd_nxt, which may have fallen back, but one that lies in the peer's window.
    """
    options = take_sack_option(tcb, MAXIMUM_OPTIONS - tcb.option_size) if sack_due(tcb) else b""
    packet = _build(tcb, acceptable_seq(tcb), ACK, now, options=options)
    _acknowledged_everything(tcb)
    return packet


def _build(
    tcb: Tcb,
    seq: int,
    flags: int,
    now: float,
    payload: bytes | bytearray = b"",
    options: bytes = b"",
    codepoint: int = 0,
) -> bytes:
    """Build a segment that acknowledges and offers what there is now."""
    window = advertise_window(tcb)
    if tcb.ecn_echo:
        flags |= ECE
    if not tcb.timestamps:
        return tcb.builder.build(seq, tcb.rcv_nxt, flags, window, payload, options, codepoint)
    tcb.last_ack_sent = tcb.rcv_nxt
    return tcb.builder.build_with_timestamps(
        seq, tcb.rcv_nxt, flags, window, clock(tcb, now), tcb.ts_recent, payload, options, codepoint
    )


def _acknowledged_everything(tcb: Tcb) -> None:
    """A segment with our ACK and window leaves."""
    tcb.in_order_run += tcb.unacked_segments
    tcb.unacked_segments = 0
    tcb.ack_now = tcb.bare_ack_first = False
    tcb.delack_deadline = None


def _handshake_packets(tcb: Tcb, now: float, packets: list[bytes]) -> None:
    """SYN in SYN-SENT, SYN and ACK in SYN-RECEIVED; in the latter also pure ACKs."""
    if tcb.syn_pending:
        tcb.syn_pending = False
        tcb.syn_transmissions += 1
        tcb.sent_again_at = now
        if tcb.syn_transmissions == 1:
            tcb.timed_at = now
        if tcb.rto_deadline is None:
            tcb.rto_deadline = now + tcb.rtt.rto
        answering = tcb.state is TcpState.SYN_RECEIVED
        flags = ecn.syn_flags(tcb, answering=answering)
        # RFC 7323 section 2.2: the option goes into a SYN,ACK only if the SYN had it; _take_syn() zeroed the shift
        # then, and a shift of 0 of our own need not be announced.
        shift = tcb.rcv_wind_shift or None
        # RFC 2018 section 2: the option "may be sent in a SYN"; in the answer only to a peer that sent it too.
        sack = tcb.sack_permitted if answering else tcb.host.config.selective_acknowledgments
        # RFC 7323 section 3.2: likewise for timestamps; TSecr is zero without an ACK.
        timed = tcb.timestamps if answering else tcb.host.config.timestamps
        stamps = (clock(tcb, now), tcb.ts_recent if answering else 0) if timed else None
        packets.append(
            tcb.builder.build(
                tcb.iss,
                tcb.rcv_nxt if answering else 0,
                flags,
                min(tcb.rcv_capacity, 0xFFFF),
                options=syn_options(tcb.link_mss, shift, sack_permitted=sack, timestamps=stamps),
            )
        )
    if tcb.ack_now:
        packets.append(pure_ack(tcb, now))


def _data_segments(tcb: Tcb, now: float, max_bytes: int, packets: list[bytes]) -> None:
    """The send run: new data, or without SACK after a timeout old data again, at the MSS."""
    if tcb.snd_nxt == tcb.snd_una and now - tcb.last_sent > tcb.rtt.rto and tcb.snd_una == tcb.snd_max:
        # RFC 5681 section 4.1: "if the TCP has not sent data in an interval exceeding the retransmission timeout".
        tcb.congestion.idle()
    size = sendable(tcb)
    if size and tcb.black_hole is not None:
        size = black_hole.probe_size(tcb, tcb.black_hole, now) or size
    built = 0
    while size:
        packet = _data_segment(tcb, tcb.snd_nxt, size, now)
        packets.append(packet)
        built += len(packet)
        if built >= max_bytes:
            return
        size = sendable(tcb)


def _recovery_segments(tcb: Tcb, board: Scoreboard, now: float, max_bytes: int, packets: list[bytes]) -> int:
    """What recovery with SACK sends before new data: the tail loss probe, then what is lost. Return its octets."""
    built = 0
    if tcb.tlp_due:
        packets.append(_tail_loss_probe(tcb, board, now))
        built += len(packets[-1])
    while built < max_bytes and (found := retransmission(tcb, board)) is not None:
        packets.append(_again(tcb, board, *found, now))
        built += len(packets[-1])
    return built


def _again(tcb: Tcb, board: Scoreboard, start: int, end: int, now: float) -> bytes:
    """Send the positions from ``start`` up to ``end`` again; the last may be the FIN."""
    offset = start - board.high_ack
    size = min(end - board.high_ack, len(tcb.send_queue)) - offset
    return _data_segment(tcb, (tcb.snd_una + offset) & MASK, size, now)


def _tail_loss_probe(tcb: Tcb, board: Scoreboard, now: float) -> bytes:
    """TLP_send_probe() of RFC 8985 section 7.3: new data whatever the congestion window says, else the last segment."""
    tcb.tlp_due = False
    in_flight = (tcb.snd_nxt - tcb.snd_una) & MASK
    size = min(len(tcb.send_queue) - in_flight, tcb.snd_mss, tcb.snd_wnd - in_flight)
    tcb.tlp_is_retrans = size <= 0
    if size > 0:
        packet = _data_segment(tcb, tcb.snd_nxt, size, now)
    else:
        packet = _again(tcb, board, *board.last_segment(tcb.snd_mss), now)
    tcb.tlp_end_seq = board.high_data
    return packet


def _head_segment(tcb: Tcb, now: float) -> bytes:
    """One segment from snd_una: a retransmission, or a probe of a closed window.

    RFC 9293 section 3.8.6.1 (MUST-36): "The sending TCP peer must regularly transmit at least one octet of new data
    (if available), or retransmit to the receiving TCP peer even if the send window is zero, in order to "probe" the
    window". A probe does not move snd_nxt, so that sending begins at the right place when the window opens.
    """
    tcb.send_head = False
    size = min(tcb.snd_mss, len(tcb.send_queue), max(tcb.snd_wnd, 1))
    if tcb.scoreboard is not None and tcb.snd_una != tcb.snd_max:
        size = min(size, tcb.scoreboard.head(size))
    snd_nxt = tcb.snd_nxt
    packet = _data_segment(tcb, tcb.snd_una, size, now, probe=True)
    tcb.sent_again_at = now
    if lt(tcb.snd_nxt, snd_nxt):
        tcb.snd_nxt = snd_nxt
    if size and not tcb.snd_wnd and snd_nxt == tcb.snd_una:
        tcb.snd_nxt = snd_nxt
        tcb.rto_deadline = None
    return packet


def _data_segment(tcb: Tcb, seq: int, size: int, now: float, *, probe: bool = False) -> bytes:
    """Build the segment of ``size`` octets at ``seq``, with FIN when it ends all data, and move snd_nxt behind it.

    ``probe``: new data may go only to probe the window.
    """
    offset = (seq - tcb.snd_una) & MASK
    queued = len(tcb.send_queue)
    end = (seq + size) & MASK
    flags = ACK
    if offset + size == queued:
        if size:
            flags |= PSH
        if tcb.fin_queued:
            flags |= FIN
            end = (end + 1) & MASK
    codepoint = 0
    if tcb.ect and seq == tcb.snd_max and size and not probe:
        # RFC 3168 sections 6.1.4 to 6.1.6: no ECT without data, on what is sent again, or on window probes.
        codepoint = ecn.ECT_0
        flags |= ecn.new_data_flags(tcb)
    packet = _build(tcb, seq, flags, now, tcb.send_queue.peek(offset, size) if size else b"", codepoint=codepoint)
    if tcb.snd_max == tcb.snd_una:
        tcb.stalled_since = now
    board = tcb.scoreboard
    if board is not None:
        if seq == tcb.snd_max and not tcb.in_recovery:
            board.sent((end - seq) & MASK, now, tcb.snd_mss)
        else:
            transmitted(tcb, board, seq, end, now)
    if seq != tcb.snd_max:
        # Karn: an acknowledgement could mean either transmission from here on.
        tcb.timed_end = None
        tcb.host.counters.tcp_retrans_segs += 1
        tcb.retransmissions += 1
        if tcb.black_hole is not None:
            black_hole.sent_again(tcb.black_hole, seq, end, now)
    elif tcb.timed_end is None and board is None:
        tcb.timed_end = end
        tcb.timed_at = now
    if board is None or lt(tcb.snd_nxt, end):
        tcb.snd_nxt = end
    if lt(tcb.snd_max, end):
        tcb.snd_max = end
    tcb.congestion.used = (tcb.snd_max - tcb.snd_una) & MASK
    tcb.last_sent = now
    if tcb.rto_deadline is None:
        # RFC 6298 (5.1)
        tcb.rto_deadline = now + tcb.rtt.rto
    if tcb.ack_now or tcb.unacked_segments:
        _acknowledged_everything(tcb)
    return packet
