"""Keep-alive: whether a peer that says nothing is still there (RFC 1122 section 4.2.3.6, RFC 9293 section 3.8.4).

Off unless it is configured (MUST-25). The timer is not moved when something arrives; when it fires, it looks when that
was.
"""

from __future__ import annotations

from ...errors import ConnectionLost
from .tcb import Tcb


def start(tcb: Tcb, now: float) -> None:
    """The connection is established."""
    if tcb.host.config.keep_alive:
        tcb.last_heard = now
        tcb.keep_alive_deadline = now + tcb.host.config.keep_alive_idle


def expired(tcb: Tcb, now: float) -> None:
    """The timer fired: send a probe when nothing arrived for long enough."""
    config = tcb.host.config
    quiet_until = tcb.last_heard + config.keep_alive_idle
    if now < quiet_until or tcb.flight_size or len(tcb.send_queue):
        # MUST-26: "only be sent when no sent data is outstanding, and no data or acknowledgment packets have been
        # received for the connection within an interval". What is in flight has timers of its own.
        tcb.keep_alive_probes = 0
        tcb.keep_alive_deadline = quiet_until if now < quiet_until else now + config.keep_alive_interval
        return
    # MUST-29: a failure "to respond to any specific probe" says nothing; all of them do.
    if tcb.keep_alive_probes >= config.keep_alive_probes:
        tcb.fail(ConnectionLost(f"{tcb.remote[0]} port {tcb.remote[1]} answered no keep-alive"))
        return
    tcb.keep_alive_probes += 1
    tcb.keep_alive_deadline = now + config.keep_alive_interval
    tcb.host.counters.tcp_keep_alives += 1
    # SHLD-12: no data; "SEG.SEQ = SND.NXT-1", which the peer has and must acknowledge again.
    tcb.keep_alive_due = True
