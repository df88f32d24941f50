"""The window we offer, and how the buffer behind it grows."""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, lt
from .tcb import Tcb, TcpState
from .timestamps import echoed_round_trip

_TEXT_MAY_COME: Final = frozenset({TcpState.ESTABLISHED, TcpState.FIN_WAIT_1, TcpState.FIN_WAIT_2})
_MINIMUM_ROUND: Final = 0.02
"""Shortest time over which the owner's speed is measured; batches make shorter ones meaningless."""
_SHORTEST_PATH: Final = 0.001
"""The window covers at least twice this time at the owner's speed: a turn here, one at the server, and some."""
_ROUNDING_SLACK: Final = 32
"""How many units of the scaled window rounding up may add to the buffer in all: a peer that sends single octets would
gain a unit with each, without end. Beyond, the edge does move left by less than a unit on the wire; what was promised
is still accepted."""


_FAR_AHEAD: Final = 1.1
"""A download with more than this multiple of its share gives some of its buffer back."""
_GIVEN_BACK: Final = 8
"""Which part, in a round, of what it has beyond the first buffer."""
_SHORT_QUEUE: Final = 4
"""A queue that adds no more than this part to a path is none."""
_LARGE: Final = 64
"""Segments in a round trip of which eight may wait for an acknowledgement."""
_NEAR: Final = 0.005
"""Seconds. Among others, a path shorter than this cannot be told from the queues that its handshake met, and does not
need more than the first buffer: it always counts as ahead."""
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
    busy = 4 * tcb.consumed_in_round >= tcb.rcv_capacity
    if busy:
        _tell_queue(tcb, now)
    if elapsed >= max(2 * (tcb.rtt.srtt or 0.1), _MINIMUM_ROUND):
        # The sender can fill at most one window in a round trip. Whoever consumes half of one might consume more.
        wanted = 2 * int(tcb.consumed_in_round * path / elapsed)
        config = tcb.host.config
        ahead = _ahead(tcb, tcb.consumed_in_round / elapsed, now) if busy else 0.0
        if elapsed >= _IDLE:
            # What was offered stays offered; the window just does not open so far again.
            tcb.rcv_capacity = min(tcb.rcv_capacity, config.receive_buffer_initial)
        elif ahead > _FAR_AHEAD and tcb.rcv_capacity > config.receive_buffer_initial:
            tcb.rcv_capacity -= (tcb.rcv_capacity - config.receive_buffer_initial) // _GIVEN_BACK
        elif wanted > tcb.rcv_capacity and ahead < 1.0 and not tcb.host.memory.pressure:
            tcb.rcv_capacity = min(wanted, max(config.receive_buffer_maximum, tcb.rcv_capacity))
        # What is acknowledged late cannot be sent anew meanwhile: it must be a small part of what is under way.
        smallest = tcb.rtt.smallest or 0.0
        tcb.large_flight = smallest < _NEAR or tcb.consumed_in_round * smallest >= _LARGE * tcb.snd_mss * elapsed
        tcb.consumed_in_round = 0
        tcb.round_began = now
    offered = (tcb.rcv_adv - tcb.rcv_nxt) & MASK
    held = capacity(tcb)
    gain = min(held - tcb.readable, 0xFFFF << tcb.rcv_wind_shift) - offered
    half = held // 2
    # A peer that still has half the buffer to fill is not waiting for us: tell it only of larger steps.
    if gain >= (min(2 * tcb.snd_mss, half) if offered < half else half // 2) and tcb.state in _TEXT_MAY_COME:
        tcb.ack_now = True


def _ahead(tcb: Tcb, rate: float, now: float) -> float:
    """Return how many times its share of the tunnel a busy download takes, 0 where that does not matter.

    It matters where several share a queue: there whoever has the largest window is the fastest (../downloads.py).
    """
    outer, path = tcb.host.outer, tcb.rtt.smallest
    if outer is None or path is None:
        return 0.0
    downloads = outer.downloads
    downloads.busy(tcb.local[1], rate, now)
    if not downloads.crowded(now):
        return 0.0
    if path < _NEAR:
        return 2 * _FAR_AHEAD
    return downloads.ahead(rate) if downloads.queue(now) > path / _SHORT_QUEUE else 0.0


def _tell_queue(tcb: Tcb, now: float) -> None:
    """Let the other flows know how long the latest segment waited, if it can be told."""
    outer, smallest = tcb.host.outer, tcb.rtt.smallest
    round_trip = echoed_round_trip(tcb, now)
    if outer is not None and smallest is not None and round_trip is not None:
        outer.downloads.waited(max(round_trip - smallest, 0.0), now)


def acceptable_seq(tcb: Tcb) -> int:
    """Return the number for a segment without data that the peer takes: snd_max, unless its window has shrunk.

    A peer short of memory drops what it had offered to take and closes its window before it. What carries snd_max
    then lies outside, and "if the RCV.WND is zero, no segments will be acceptable": the peer would drop our ACKs, and
    both sides would wait for each other. Linux does the same.
    """
    edge = (tcb.snd_una + tcb.snd_wnd) & MASK
    return edge if tcb.established and lt(edge, tcb.snd_max) else tcb.snd_max
