"""An upload takes its part in keeping the queue inside the tunnel short (../uploads.py)."""

from __future__ import annotations

import copy

from ..uploads import SMALL_WINDOW
from . import ecn
from .tcb import Tcb


def reduced(tcb: Tcb, count: int, round_trip: float | None, now: float) -> bool:
    """Tell of ``count`` acknowledged octets outside recovery; return whether the window was reduced instead of grown.

    ``round_trip``: the measurement that the acknowledgement allows, if any.
    """
    outer, congestion, smallest = tcb.host.outer, tcb.congestion, tcb.rtt.smallest
    if outer is None or congestion.cwnd <= SMALL_WINDOW or smallest is None or round_trip is None:
        return False
    uploads = outer.uploads
    uploads.acknowledged(count, round_trip, smallest, now)
    known = tcb.upload_reduction == uploads.reduction
    tcb.upload_reduction = uploads.reduction
    if uploads.taken_back == uploads.reduction:
        before = tcb.before_upload_reduction
        # Another ssthresh means that something was lost since: that is the network's word, and holds.
        since = congestion.ssthresh != tcb.upload_ssthresh
        if known and before is not None and not since and before.cwnd > congestion.cwnd:
            before.used = congestion.used
            tcb.congestion = before
        tcb.before_upload_reduction = None
    if known or uploads.taken_back == uploads.reduction:
        return False
    tcb.before_upload_reduction = copy.copy(congestion)
    congestion.congestion_experienced(min(max(tcb.flight_size, congestion.used), congestion.cwnd), now)
    congestion.cwnd = max(congestion.cwnd, SMALL_WINDOW)
    tcb.upload_ssthresh = congestion.ssthresh
    ecn.reduced(tcb)
    tcb.host.counters.tcp_upload_reductions += 1
    return True
