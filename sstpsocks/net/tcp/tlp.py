"""The tail loss probe (RFC 8985 section 7): ask early when the last segments of a flight stay unanswered."""

from __future__ import annotations

from typing import Final

from ..outer import LOOK_AGAIN
from .tcb import Tcb

MAX_ACK_DELAY: Final = 0.2
"""TLP.max_ack_delay: how long the peer may delay an acknowledgement of a single segment; Linux assumes the same."""
SHORTEST_PTO: Final = 0.01
"""No probe sooner than this: on a path of microseconds two round trips are less than the jitter of any event loop."""


def schedule_probe(tcb: Tcb, now: float) -> None:
    """Start, restart or stop the PTO timer after new data was sent or acknowledged.

    RFC 8985 section 7.2: a probe is not scheduled in fast recovery, in RTO recovery or when segments have been SACKed,
    nor while another is unanswered; after a timeout the retransmission timer is at work already.
    """
    board = tcb.scoreboard
    if (
        board is None
        or board.high_data == board.high_ack
        or board.sacked
        or board.lost
        or tcb.in_recovery
        or tcb.rto_recovery
        or tcb.timeouts
        or tcb.tlp_end_seq is not None
        or not tcb.snd_wnd
    ):
        tcb.tlp_deadline = None
        return
    # TLP_calc_PTO()
    srtt = tcb.rtt.srtt
    if srtt is None:
        pto = 1.0
    else:
        pto = max(2 * srtt, SHORTEST_PTO)
        if board.high_data - board.high_ack <= tcb.snd_mss:
            pto += MAX_ACK_DELAY
    # "If Now() + PTO > TCP_RTO_expiration(): PTO = TCP_RTO_expiration() - Now()"
    deadline = now + pto
    if tcb.rto_deadline is not None and tcb.rto_deadline < deadline:
        deadline = tcb.rto_deadline
    tcb.tlp_deadline = deadline


def probe_timer_expired(tcb: Tcb, now: float) -> None:
    """RFC 8985 section 7.3: the PTO timer fired. The probe is built when output is asked for, and the RTO timer starts
    anew with it, not with the deadline from before.
    """
    tcb.tlp_deadline = None
    outer = tcb.host.outer
    if outer is not None and not outer.may_retransmit(tcb.last_sent, now):
        # Nothing can have been answered yet; see net/outer.py.
        tcb.tlp_deadline = deadline = now + LOOK_AGAIN
        if tcb.rto_deadline is not None and tcb.rto_deadline < deadline:
            # The retransmission timer waits as well, and the probe goes first.
            tcb.put_off_since = tcb.last_sent
            tcb.rto_deadline = tcb.put_off_until = deadline
        tcb.host.counters.tcp_timers_put_off += 1
    elif tcb.flight_size and tcb.tlp_end_seq is None:
        tcb.tlp_due = True
        tcb.rto_deadline = None


def process_ack(tcb: Tcb, high_ack: int, dsack: tuple[int, int] | None, *, duplicate: bool, blocks: bool) -> bool:
    """TLP_process_ack() of RFC 8985 section 7.4.2. True when the probe repaired a loss that nobody else noticed.

    ``dsack`` is the position of what the peer reported to have received twice.
    """
    end_seq = tcb.tlp_end_seq
    if end_seq is None or high_ack < end_seq:
        return False
    if not tcb.tlp_is_retrans or (dsack is not None and dsack[1] == end_seq):
        # Case 1: the probe was new data, or a duplicate.
        tcb.tlp_end_seq = None
    elif high_ack > end_seq:
        # Case 3: "Repaired the single loss"
        tcb.tlp_end_seq = None
        return True
    elif duplicate and not blocks:
        # Case 2: "ACK is a DupAck without any SACK option"
        tcb.tlp_end_seq = None
    return False
