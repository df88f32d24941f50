"""Uploads keep the queue inside the tunnel short.

Theory of operation. The connection that carries the tunnel loses nothing. When the server takes less than we send, be
it for want of CPU time, what it has not taken yet waits in its receive buffer, and no loss ever tells an upload to stop
growing: its window fills megabytes of buffers, and each new request waits behind them. A router with active queue
management would mark packets in this situation (RFC 7567); here we mark our own. What tells a queue in the tunnel from
one beyond the server, in which an upload has to hold its own against others, is an echo request: the server answers it
in order, behind what it has not taken yet. When both the round-trip time of the connection and that of the latest echo
have grown by more than a queue should last, the window is reduced as for an ECN-Echo (RFC 3168 section 6.1.2), at most
once in a window of data.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import lt
from . import ecn
from .tcb import Tcb

SHORT_QUEUE: Final = 0.005
"""Seconds. The target of CoDel (RFC 8289 section 4.4); on long paths half a round trip, with which the path stays full
after a reduction."""
SMALL_WINDOW: Final = 64 * 1024
"""Octets. A window that is no larger fills no queue worth mentioning."""


def marked(tcb: Tcb, ack: int, now: float) -> bool:
    """Judge the tunnel's queue by an acknowledgement that passes loss recovery; return whether the window was reduced.

    Asks for an echo where one is needed to judge.
    """
    outer, rtt, congestion = tcb.host.outer, tcb.rtt, tcb.congestion
    if outer is None or congestion.cwnd <= SMALL_WINDOW or rtt.smallest is None or rtt.srtt is None:
        return False
    short = max(SHORT_QUEUE, rtt.smallest / 2)
    if outer.echo_smallest is not None and rtt.srtt - rtt.smallest <= short:
        return False
    queue = outer.echo_queue(now)
    if queue is None:
        outer.witness_wanted = True
        return False
    if queue <= short or (tcb.cwr_end is not None and not lt(tcb.cwr_end, ack)):
        return False
    congestion.congestion_experienced(min(max(tcb.flight_size, congestion.used), congestion.cwnd), now)
    ecn.reduced(tcb)
    tcb.cwr_end = tcb.snd_max
    tcb.host.counters.tcp_tunnel_queue_reductions += 1
    return True
