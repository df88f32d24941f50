"""What acknowledgements and the retransmission timer do: RFC 5681, RFC 6582 (NewReno), RFC 3042, RFC 6298.

With a peer that permits SACK, sack_recovery.py does the better part of this. Without SACK the sender learns of one lost
segment per round trip: duplicate ACKs say that something is missing, partial ACKs what is missing next, and after a
timeout everything is sent again from snd_una in slow start.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, le, lt
from ...errors import ConnectionLost
from . import black_hole, ecn, sack_recovery, upload
from .progress import advance
from .sack_recovery import acknowledge
from .tcb import Tcb
from .timestamps import timed_out_data_acknowledged

DUP_THRESH: Final = 3
"""RFC 5681 section 3.2: "the arrival of 3 duplicate ACKs … as an indication that a segment has been lost"."""
ORPHAN_PROBES: Final = 8
"""Window probes for a connection that nobody owns any more (RFC 6429 allows an end to those); what Linux does."""


def new_ack(tcb: Tcb, ack: int, now: float, *, echo: bool = False) -> None:
    """Take an acknowledgement with SND.UNA < SEG.ACK =< SND.MAX. ``echo``: it says ECN-Echo (see ecn.py)."""
    if tcb.scoreboard is not None:
        acknowledge(tcb, tcb.scoreboard, ack, now, echo=echo)
        return
    count = (ack - tcb.snd_una) & MASK
    flight = (tcb.snd_max - tcb.snd_una) & MASK
    rtt = None
    if tcb.timed_end is not None and le(tcb.timed_end, ack):
        rtt = max(now - tcb.timed_at, 0.0)
        tcb.rtt.measured(rtt)
        tcb.timed_end = None
    elif tcb.timeouts:
        timed_out_data_acknowledged(tcb, now)
    advance(tcb, ack, count, now)
    restart_timer = True
    if not tcb.in_recovery:
        tcb.inflation = 0
        if lt(tcb.recover, ack):
            # Keep it one behind: it has served, and must not grow so old that it compares as new.
            tcb.recover = (ack - 1) & MASK
            if not echo and not upload.reduced(tcb, count, rtt, now):
                tcb.congestion.acknowledged(count, flight, now, rtt)
        else:
            # RFC 3465 section 2.3: L is one SMSS in the slow start after a timeout: an ACK may jump over data that
            # had arrived long before, which is no reason for a burst.
            tcb.congestion.acknowledged(min(count, tcb.snd_mss), flight, now, rtt)
    elif le(tcb.recover, ack):
        # RFC 6582 section 3.2 step 3, full acknowledgment
        tcb.in_recovery = False
        tcb.inflation = 0
        tcb.recover = (ack - 1) & MASK
        tcb.congestion.recovered(tcb.flight_size)
    else:
        restart_timer = _partial_ack(tcb, count)
    # RFC 6298 (5.2) and (5.3). After a timeout nothing counts as in flight until it is sent again.
    if tcb.snd_nxt == ack:
        tcb.rto_deadline = None
    elif restart_timer or tcb.rto_deadline is None:
        tcb.rto_deadline = now + tcb.rtt.rto


def _partial_ack(tcb: Tcb, count: int) -> bool:
    """RFC 6582 section 3.2 step 3, partial acknowledgments. True when the timer is to be restarted.

    "In this case, retransmit the first unacknowledged segment. Deflate the congestion window by the amount of new data
    acknowledged by the Cumulative Acknowledgment field. If the partial ACK acknowledges at least one SMSS of new data,
    then add back SMSS bytes to the congestion window. … For the first partial ACK that arrives during fast recovery,
    also reset the retransmit timer."
    """
    tcb.inflation = max(tcb.inflation - count, 0)
    if count >= tcb.snd_mss:
        tcb.inflation += tcb.snd_mss
    tcb.send_head = True
    tcb.partial_acks += 1
    return tcb.partial_acks == 1


def duplicate_ack(tcb: Tcb, now: float) -> None:
    """Take an ACK that fulfils the definition of RFC 5681 section 2, "DUPLICATE ACKNOWLEDGMENT"."""
    mss = tcb.snd_mss
    if tcb.in_recovery:
        # RFC 5681 section 3.2 step 4: "cwnd MUST be incremented by SMSS" for each further one.
        tcb.inflation += mss
        return
    tcb.dupacks += 1
    if tcb.dupacks < DUP_THRESH:
        # RFC 3042: the first two each let one new segment out; sent from where we are, not after a fallback.
        if tcb.snd_nxt == tcb.snd_max:
            tcb.inflation = tcb.dupacks * mss
    elif tcb.dupacks == DUP_THRESH:
        tcb.inflation = 0
        # RFC 6582 section 3.2 step 2: the Cumulative Acknowledgment field must cover more than recover, else these
        # may be echoes of what was sent again after a timeout.
        if not lt(tcb.recover, tcb.snd_una):
            return
        ecn.loss_detected(tcb, tcb.flight_size, now)
        tcb.in_recovery = True
        tcb.recover = tcb.snd_max
        tcb.partial_acks = 0
        tcb.inflation = DUP_THRESH * mss
        tcb.send_head = True


def retransmission_timeout(tcb: Tcb, now: float) -> None:
    """RFC 6298 (5.4) to (5.6): the timer fired with something in flight.

    The timer is armed again when the segment is really sent: while the tunnel does not ask for packets there is
    nothing to wait for.
    """
    tcb.rto_deadline = None
    if _given_up(tcb, now):
        return
    # (5.5)
    tcb.rtt.back_off()
    if tcb.scoreboard is not None:
        sack_recovery.retransmission_timeout(tcb, tcb.scoreboard, now)
        tcb.timeouts += 1
        tcb.send_head = True
        black_hole.timed_out(tcb, now)
        return
    if tcb.snd_wnd:
        tcb.congestion.retransmission_timeout(tcb.flight_size, now, first=tcb.timeouts == 0 and not tcb.in_recovery)
        ecn.reduced(tcb)
    tcb.timeouts += 1
    tcb.dupacks = tcb.inflation = 0
    tcb.in_recovery = False
    # RFC 6582 section 3.2 step 4: "record the highest sequence number transmitted in the variable recover".
    tcb.recover = tcb.snd_max
    tcb.timed_end = None
    tcb.snd_nxt = tcb.snd_una
    tcb.send_head = True
    black_hole.timed_out(tcb, now)


def probe_timeout(tcb: Tcb, now: float) -> None:
    """The persist timer fired: the window has been too small to send for a while.

    RFC 9293 section 3.8.6.1 (MUST-37): "As long as the receiving TCP peer continues to send acknowledgments in
    response to the probe segments, the sending TCP peer MUST allow the connection to stay open".
    """
    tcb.persist_deadline = None
    if _given_up(tcb, now):
        return
    if tcb.detached and tcb.probes >= ORPHAN_PROBES:
        tcb.fail(ConnectionLost(f"{tcb.remote[0]} port {tcb.remote[1]} kept its window closed"))
        return
    tcb.probes += 1
    tcb.send_head = True


def probe_interval(tcb: Tcb) -> float:
    """RFC 9293 section 3.8.6.1 (SHLD-29, SHLD-30): begin at the RTO, then "increase exponentially"."""
    return min(tcb.rtt.rto * 2.0 ** min(tcb.probes, 10), tcb.host.config.max_rto)


def _given_up(tcb: Tcb, now: float) -> bool:
    """RFC 9293 section 3.8.3, R2: close the connection when nothing was acknowledged for the user timeout."""
    if now - tcb.stalled_since < tcb.user_timeout:
        return False
    tcb.fail(ConnectionLost(f"{tcb.remote[0]} port {tcb.remote[1]} acknowledged nothing for too long"))
    return True
