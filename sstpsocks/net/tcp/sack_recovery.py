"""Loss recovery with SACK: RFC 6675 carried out by RACK-TLP (RFC 8985) at the pace of PRR (RFC 9937).

Theory of operation. Each acknowledgement goes through acknowledge() in the order of the RFCs: the scoreboard takes what
arrived, RACK learns from it and marks what is lost, then the state changes: from open to fast recovery when something
is lost, and back when everything that was out at its beginning is acknowledged. After a retransmission timeout
(rto_recovery) the same marks say what is sent again, in slow start. Sending itself is send.py's: what is marked lost
goes first, as far as transmit_room() allows.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import distance, lt
from . import ecn, tlp, upload
from .progress import advance
from .scoreboard import Scoreboard, Transmission
from .tcb import Tcb
from .timestamps import clock, timed_out_data_acknowledged
from .undo import F_RTO_NEW_DATA, F_RTO_OFF, F_RTO_WAIT

_GROWTH_LIMIT: Final = 2
"""RFC 3465 section 2.3, L: segments by which one acknowledgement may open the window in slow start after a timeout."""
_NOTHING: list[Transmission] = []


def start(tcb: Tcb) -> None:
    """The connection is established and both ends permitted SACK."""
    tcb.scoreboard = Scoreboard()
    tcb.rack.min_rtt = tcb.rtt.srtt


def acknowledge(
    tcb: Tcb,
    board: Scoreboard,
    ack: int,
    now: float,
    blocks: tuple[tuple[int, int], ...] = (),
    *,
    duplicate: bool = False,
    echo: bool = False,
) -> None:
    """Take an ACK with SND.UNA =< SEG.ACK =< SND.MAX. ``duplicate``: it is one by RFC 5681 section 2; ``echo``: it says
    ECN-Echo (see ecn.py).
    """
    count = distance(tcb.snd_una, ack)
    flight = board.high_data - board.high_ack
    sacked = board.sacked
    lost = board.lost
    timeouts = tcb.timeouts
    delivered = board.acknowledge(count) if count else _NOTHING
    if count:
        advance(tcb, ack, count, now)
    dsack = None
    if blocks:
        dsack, news = _take_blocks(tcb, board, blocks)
        delivered = delivered + news
    rtt = tcb.rack.update(delivered, now) if delivered else None
    if rtt is not None and delivered[-1].end > tcb.rtt_round_end:
        # RFC 6298 section 3: one measurement per round trip.
        tcb.rtt.measured(rtt)
        tcb.rtt_round_end = board.high_data
    elif timeouts and count:
        timed_out_data_acknowledged(tcb, now)
    if tcb.tlp_end_seq is not None and tlp.process_ack(
        tcb, board.high_ack, dsack, duplicate=duplicate, blocks=bool(blocks)
    ):
        # "Invoke congestion control to react to the loss event the probe has repaired"
        ecn.loss_detected(tcb, min(flight, tcb.congestion.cwnd), now)
    recovering = tcb.in_recovery or tcb.rto_recovery
    octets = 0
    for segment in delivered:
        octets += segment.end - segment.start
    if dsack is not None and tcb.undo.reordered(dsack[0]):
        # RACK itself cannot see this: the original arrived after it was sent again.
        tcb.rack.reordering_seen = True
    if (dsack is not None and tcb.undo.duplicate(*dsack)) or (
        count and tcb.undo.retransmit_ts is not None and _eifel(tcb, tcb.undo.retransmit_ts)
    ):
        undo(tcb, board, now)
    elif tcb.rto_recovery and tcb.undo.frto_step != F_RTO_OFF:
        _f_rto(tcb, board, ack, count, delivered, now)
    if recovering and not lt(ack, tcb.recover):
        tcb.in_recovery = tcb.rto_recovery = False
        tcb.undo.frto_step = F_RTO_OFF
    recovered = recovering and not (tcb.in_recovery or tcb.rto_recovery)
    if recovered or dsack is not None:
        tcb.rack.adapt(tcb.snd_una, tcb.snd_nxt, dsack=dsack is not None and tcb.undo.ours, recovered=recovered)
    if recovering or board.sacked:
        detect_loss(tcb, board, now)
    elif tcb.rack_deadline is not None:
        tcb.rack_deadline = None
    if tcb.in_recovery:
        # RFC 9937 section 6: "SafeACK = (SND.UNA advances and no further loss indicated)"
        safe_ack = count > 0 and board.lost <= lost
        tcb.prr.acknowledged(octets, board.pipe, tcb.congestion.ssthresh, tcb.snd_mss, safe_ack=safe_ack)
    elif board.lost and not tcb.rto_recovery:
        _enter_recovery(tcb, board, flight - sacked, octets, now)
    elif recovering:
        if tcb.rto_recovery and count:
            tcb.congestion.acknowledged(min(octets, _GROWTH_LIMIT * tcb.snd_mss), flight, now, rtt)
    elif count and not echo and not upload.reduced(tcb, count, rtt, now):
        tcb.congestion.acknowledged(count, flight, now, rtt)
    _timers(tcb, board, count > 0, now)


def _take_blocks(
    tcb: Tcb, board: Scoreboard, blocks: tuple[tuple[int, int], ...]
) -> tuple[tuple[int, int] | None, list[Transmission]]:
    """Enter the SACK blocks. Return the D-SACK in positions, and what was delivered, in order."""
    una = tcb.snd_una
    base = board.high_ack
    ranges = [(base + distance(una, left), base + distance(una, right)) for left, right in blocks if lt(left, right)]
    dsack = None
    if ranges:
        # RFC 2883 section 4: the first block is a D-SACK when it lies below the acknowledgement number, or in the
        # second block.
        first = ranges[0]
        if first[1] <= base or (len(ranges) > 1 and ranges[1][0] <= first[0] and first[1] <= ranges[1][1]):
            dsack = first
            del ranges[0]
    delivered: list[Transmission] = []
    for left, right in sorted(ranges):
        if right <= board.high_data:
            delivered += board.sack(left, right, tcb.snd_mss)
    return dsack, delivered


def _timers(tcb: Tcb, board: Scoreboard, advanced: bool, now: float) -> None:
    """RFC 6298 (5.2), (5.3), and the probe timer of RFC 8985 section 7.2."""
    if board.high_data == board.high_ack:
        tcb.rto_deadline = tcb.tlp_deadline = tcb.rack_deadline = None
    elif advanced:
        tcb.rto_deadline = now + tcb.rtt.rto
        tlp.schedule_probe(tcb, now)
    elif board.sacked:
        tcb.tlp_deadline = None


def detect_loss(tcb: Tcb, board: Scoreboard, now: float) -> None:
    """RACK_detect_loss_and_arm_timer() of RFC 8985 section 6.2."""
    recovering = tcb.in_recovery or tcb.rto_recovery
    reo_wnd = tcb.rack.reo_wnd(board, tcb.rtt.srtt, recovering=recovering)
    tcb.rack_deadline = tcb.rack.detect_loss(board, now, reo_wnd)


def reordering_timeout(tcb: Tcb, now: float) -> None:
    """The RACK reordering timer fired: what had time to arrive behind others has not."""
    tcb.rack_deadline = None
    board = tcb.scoreboard
    if board is None or board.high_data == board.high_ack:
        return
    lost = board.lost
    detect_loss(tcb, board, now)
    if board.lost > lost:
        if tcb.in_recovery:
            # No ACK says how much left the network; at least one retransmission must go.
            tcb.prr.snd_cnt = max(tcb.prr.snd_cnt, tcb.snd_mss)
        elif not tcb.rto_recovery:
            _enter_recovery(tcb, board, board.high_data - board.high_ack - board.sacked, 0, now)


def _flight_size(tcb: Tcb) -> int:
    """FlightSize for the reduction of the window. RFC 5681 section 3.2 step 2: what limited transmit sent "MUST NOT be
    included"; while RACK waits that can be as much again as the window. Acknowledgements come in batches, within which
    the flight shrinks although the window was full.
    """
    return min(max(tcb.flight_size, tcb.congestion.used), tcb.congestion.cwnd)


def _enter_recovery(tcb: Tcb, board: Scoreboard, recover_fs: int, delivered: int, now: float) -> None:
    """RFC 6675 section 5 step 4, with PRR in place of (4.2) and what follows."""
    tcb.undo.begin(tcb.congestion, board.high_ack, after_timeout=False)
    ecn.loss_detected(tcb, _flight_size(tcb), now)
    tcb.in_recovery = True
    # "RecoveryPoint = HighData"
    tcb.recover = tcb.snd_max
    tcb.rescue_rxt = None
    tcb.tlp_due = False
    tcb.tlp_end_seq = tcb.tlp_deadline = None
    tcb.prr.begin(recover_fs)
    tcb.prr.acknowledged(delivered, board.pipe, tcb.congestion.ssthresh, tcb.snd_mss, safe_ack=False)


def retransmission_timeout(tcb: Tcb, board: Scoreboard, now: float) -> None:
    """The part of RFC 6298 (5.4) and RFC 8985 section 6.3 that marks what is lost; the caller backs off the timer."""
    first = tcb.timeouts == 0 and not tcb.in_recovery and not tcb.rto_recovery
    if first:
        tcb.undo.begin(tcb.congestion, board.high_ack, after_timeout=True)
        # RFC 5682 section 3.1 step 1
        tcb.undo.frto_step = F_RTO_WAIT
    else:
        tcb.undo.frto_step = F_RTO_OFF
    if tcb.snd_wnd:
        tcb.congestion.retransmission_timeout(_flight_size(tcb), now, first=tcb.timeouts == 0 and not tcb.in_recovery)
        ecn.reduced(tcb)
    if board.reneged():
        board.forget_sacks()
    reo_wnd = tcb.rack.reo_wnd(board, tcb.rtt.srtt, recovering=True)
    tcb.rack.mark_losses_on_rto(board, now, reo_wnd)
    tcb.in_recovery = False
    tcb.rto_recovery = True
    # RFC 6675 section 5.1: "RecoveryPoint MUST be set to HighData" and no fast recovery begins before it is reached.
    tcb.recover = tcb.snd_max
    tcb.tlp_due = False
    tcb.tlp_end_seq = tcb.tlp_deadline = tcb.rack_deadline = None


def send_everything_again(tcb: Tcb, board: Scoreboard) -> None:
    """What is out did not fit the path: it is lost, but not because of congestion (RFC 1191 section 6.4)."""
    board.mark_all_lost()
    tcb.in_recovery = False
    tcb.rto_recovery = True
    tcb.recover = tcb.snd_max
    tcb.undo.forget()
    tcb.tlp_due = False
    tcb.tlp_end_seq = tcb.tlp_deadline = tcb.rack_deadline = None


# --- Spurious recoveries ---------------------------------------------------------------------------------------------


def undo(tcb: Tcb, board: Scoreboard, now: float) -> None:
    """Nothing was lost: take back the reduction of the window, and forget what seemed lost."""
    prior = tcb.undo.prior
    tcb.undo.forget()
    if prior is None:
        return
    if tcb.congestion.cwnd > prior.cwnd:
        prior.cwnd = tcb.congestion.cwnd
    tcb.congestion = prior
    prior.set_mss(tcb.snd_mss)
    tcb.host.counters.tcp_recoveries_undone += 1
    ecn.reduction_undone(tcb)
    board.forget_losses()
    tcb.in_recovery = tcb.rto_recovery = False


def _eifel(tcb: Tcb, retransmit_ts: int) -> bool:
    """RFC 3522 section 3.2, steps 4 and 5: "If the value of the Timestamp Echo Reply field of the acceptable ACK's
    Timestamps option is smaller than the value of RetransmitTS", what it acknowledges is the original.
    """
    tcb.undo.retransmit_ts = None
    if tcb.undo.prior is None or not tcb.ts_ecr or not lt(tcb.ts_ecr, retransmit_ts):
        return False
    if not tcb.undo.after_timeout:
        tcb.rack.reordering_seen = True
    return True


def _f_rto(tcb: Tcb, board: Scoreboard, ack: int, count: int, delivered: list[Transmission], now: float) -> None:
    """RFC 5682 section 3.1, steps 2 and 3 of the SACK-enhanced version."""
    if tcb.undo.frto_step == F_RTO_WAIT:
        if not count:
            return
        # "If the Cumulative Acknowledgment field covers more than RecoveryPoint" or nothing new can be sent, continue
        # with the conventional recovery; otherwise "transmit up to two new (previously unsent) segments".
        sent = board.high_data - board.high_ack
        new_data = len(tcb.send_queue) > sent and tcb.snd_wnd > sent
        tcb.undo.frto_step = F_RTO_NEW_DATA if new_data and lt(ack, tcb.recover) else F_RTO_OFF
        return
    tcb.undo.frto_step = F_RTO_OFF
    recovery_point = board.high_ack + distance(tcb.snd_una, tcb.recover)
    if any(not segment.retransmitted and segment.end <= recovery_point for segment in delivered):
        # (3.b) Something arrived that was not sent again: the timeout was spurious.
        undo(tcb, board, now)
    else:
        # (3.a) At most 3 MSS, and on with the conventional recovery.
        tcb.congestion.cwnd = min(tcb.congestion.cwnd, 3 * tcb.snd_mss)


# --- What may be sent ------------------------------------------------------------------------------------------------


def transmit_room(tcb: Tcb, board: Scoreboard) -> int:
    """How many octets the network may take now: SndCnt of PRR in fast recovery, otherwise cwnd - pipe."""
    pipe = board.pipe
    if not tcb.in_recovery:
        return tcb.congestion.cwnd - pipe
    # With nothing in flight no ACK will come to say more.
    return tcb.prr.snd_cnt if pipe else max(tcb.prr.snd_cnt, tcb.snd_mss)


def retransmission(tcb: Tcb, board: Scoreboard) -> tuple[int, int] | None:
    """Return what is to be sent again now as positions: NextSeg() rules (1) and (4) of RFC 6675 section 4."""
    if tcb.undo.frto_step == F_RTO_NEW_DATA:
        return None
    if board.lost:
        found = board.next_lost(tcb.snd_mss) if transmit_room(tcb, board) > 0 else None
        # What lies beyond a window that shrank waits for the window or the timer.
        return found if found is not None and found[0] - board.high_ack < tcb.snd_wnd else None
    # With new data out since recovery began, the answers to it tell what else is lost.
    if tcb.in_recovery and tcb.snd_max == tcb.recover and tcb.rescue_rxt is not None:
        return _rescue(tcb, board) if board.high_ack > tcb.rescue_rxt else None
    return None


def _rescue(tcb: Tcb, board: Scoreboard) -> tuple[int, int] | None:
    """Rule (4): "a single "rescue" retransmission per entry into loss recovery", when there is nothing else to send."""
    if transmit_room(tcb, board) < tcb.snd_mss or len(tcb.send_queue) > board.high_data - board.high_ack:
        return None
    last = board.records[-1]
    return None if last.sacked or last.retransmitted else board.last_segment(tcb.snd_mss)


def transmitted(tcb: Tcb, board: Scoreboard, seq: int, end: int, now: float) -> None:
    """The segment from ``seq`` up to ``end``, FIN included, leaves now."""
    start = board.high_ack + distance(tcb.snd_una, seq)
    stop = board.high_ack + distance(tcb.snd_una, end)
    again = min(stop, board.high_data)
    if tcb.in_recovery:
        tcb.prr.sent(stop - start)
    if start < again:
        tcb.undo.retransmitted += again - start
        if start == board.high_ack:
            # RFC 6675 section 5: the RTO timer may be restarted with the first retransmission; else a recovery that
            # began late in its period would end in a timeout.
            tcb.rto_deadline = None
        if tcb.in_recovery or tcb.rto_recovery:
            if tcb.timestamps and not tcb.undo.undo_retrans and start == board.high_ack:
                tcb.undo.retransmit_ts = clock(tcb, now)
            tcb.undo.undo_retrans += again - start
            if tcb.rescue_rxt is None:
                # (4.3): "set both HighRxt and RescueRxt to the highest sequence number in the retransmitted segment"
                tcb.rescue_rxt = again
            elif tcb.in_recovery and not board.lost:
                # "and RescueRxt set to RecoveryPoint"
                tcb.rescue_rxt = board.high_data
        board.retransmitted(start, again, now)
    if stop > board.high_data:
        board.sent(stop - board.high_data, now, tcb.snd_mss)
