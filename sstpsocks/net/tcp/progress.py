"""What every acknowledgement of new data does, whichever way losses are recovered."""

from __future__ import annotations

from ...base.seqnum import MASK, lt
from . import black_hole
from .tcb import Tcb


def advance(tcb: Tcb, ack: int, count: int, now: float) -> None:
    """SND.UNA becomes ``ack``, ``count`` further on."""
    queue = tcb.send_queue
    if count > len(queue):
        # One more than the data: our FIN.
        tcb.fin_acked = True
    queue.discard(count)
    # Before snd_una moves: whether the acknowledgement passes where sending fell back to after a timeout.
    if count > (tcb.snd_nxt - tcb.snd_una) & MASK:
        tcb.snd_nxt = ack
    tcb.snd_una = ack
    if tcb.black_hole is not None:
        black_hole.acknowledged(tcb, tcb.black_hole, ack, now)
    if tcb.cwr_end is not None and lt(tcb.cwr_end, ack):
        tcb.cwr_end = None
    tcb.dupacks = 0
    tcb.timeouts = 0
    tcb.send_head = tcb.tlp_due = False
    tcb.stalled_since = now
    tcb.persist_deadline = None
