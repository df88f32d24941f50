"""The window we offer, and how the buffer behind it grows."""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, lt
from .tcb import Tcb, TcpState

_TEXT_MAY_COME: Final = frozenset({TcpState.ESTABLISHED, TcpState.FIN_WAIT_1, TcpState.FIN_WAIT_2})
_MINIMUM_ROUND: Final = 0.02
"""Shortest time over which the owner's speed is measured; batches make shorter ones meaningless."""
_SHORTEST_PATH: Final = 0.001
"""The window covers at least twice this time at the owner's speed: a turn here, one at the server, and some."""
_ROUNDING_SLACK: Final = 32
"""How many units of the scaled window rounding up may add to the buffer in all: a peer that sends single octets would
gain a unit with each, without end. Beyond, the edge does move left by less than a unit on the wire; what was promised
is still accepted."""


_IDLE: Final = 10.0
"""A buffer whose owner consumed nothing for so long shrinks back to its first size."""


def capacity(tcb: Tcb) -> int:
    """Return how many octets may be held for the owner now: the buffer, or its share of memory that is short."""
    memory = tcb.host.memory
    return min(tcb.rcv_capacity, memory.share) if memory.short else tcb.rcv_capacity


def refuses(tcb: Tcb, size: int) -> bool:
    """Whether ``size`` octets in order do not fit the memory of the stack. One segment always does."""
    memory = tcb.host.memory
    return memory.short and tcb.readable > 0 and tcb.readable + size > memory.share


def advertise_window(tcb: Tcb) -> int:
    """Return the window field for a segment that leaves now, and remember the right edge it promises.

    The right edge never moves left (RFC 9293 section 3.8.6), and it moves right only by steps worth sending (RFC 9293
    section 3.8.6.2.2: "min( Fr * RCV.BUFF, Eff.snd.MSS )", Fr = 1/2).
    """
    offered = window = (tcb.rcv_adv - tcb.rcv_nxt) & MASK
    held = capacity(tcb)
    free = held - tcb.readable
    if free - offered >= min(held // 2, tcb.snd_mss):
        window = free
    shift = tcb.rcv_wind_shift
    units = window >> shift
    if units > 0xFFFF:
        units = 0xFFFF
    elif units << shift < offered and units << shift < free + (_ROUNDING_SLACK << shift):
        # Scaling would round the edge to the left (RFC 7323 section 2.4); a little more than the buffer does less harm.
        units += 1
    if units << shift > offered:
        tcb.rcv_adv = (tcb.rcv_nxt + (units << shift)) & MASK
    return units


def consumed(tcb: Tcb, count: int, now: float) -> None:
    """The owner took ``count`` octets: grow the buffer if it is fast, send a window update if one is due."""
    tcb.readable -= count
    tcb.consumed_in_round += count
    elapsed = now - tcb.round_began
    # The smallest round-trip time, not the smoothed one. Where we are the bottleneck, a window larger than the path
    # needs stands in queues in front of us, for every other flow of the tunnel to wait behind, and the round-trip time
    # grows with it. Twice that, because it is mostly measured in the handshake and a path under load has queues.
    path = max(2 * (tcb.rtt.smallest or 0.1), _SHORTEST_PATH)
    if elapsed >= max(2 * (tcb.rtt.srtt or 0.1), _MINIMUM_ROUND):
        # The sender can fill at most one window in a round trip. Whoever consumes half of one might consume more.
        wanted = 2 * int(tcb.consumed_in_round * path / elapsed)
        config = tcb.host.config
        if elapsed >= _IDLE:
            # What was offered stays offered; the window just does not open so far again.
            tcb.rcv_capacity = min(tcb.rcv_capacity, config.receive_buffer_initial)
        elif wanted > tcb.rcv_capacity and not tcb.host.memory.pressure:
            tcb.rcv_capacity = min(wanted, max(config.receive_buffer_maximum, tcb.rcv_capacity))
        tcb.consumed_in_round = 0
        tcb.round_began = now
    offered = (tcb.rcv_adv - tcb.rcv_nxt) & MASK
    held = capacity(tcb)
    gain = min(held - tcb.readable, 0xFFFF << tcb.rcv_wind_shift) - offered
    half = held // 2
    # A peer that still has half the buffer to fill is not waiting for us: tell it only of larger steps.
    if gain >= (min(2 * tcb.snd_mss, half) if offered < half else half // 2) and tcb.state in _TEXT_MAY_COME:
        tcb.ack_now = True


def acceptable_seq(tcb: Tcb) -> int:
    """Return the number for a segment without data that the peer takes: snd_max, unless its window has shrunk.

    A peer short of memory drops what it had offered to take and closes its window before it. What carries snd_max
    then lies outside, and "if the RCV.WND is zero, no segments will be acceptable": the peer would drop our ACKs, and
    both sides would wait for each other. Linux does the same.
    """
    edge = (tcb.snd_una + tcb.snd_wnd) & MASK
    return edge if tcb.established and lt(edge, tcb.snd_max) else tcb.snd_max
