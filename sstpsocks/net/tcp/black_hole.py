"""Packetization-layer path MTU discovery: find the segment size of a path whose routers do not report (RFC 4821).

Theory of operation. Where large packets disappear without an ICMP message, small ones go on: the handshake works and
the first full segments time out again and again. After two timeouts in a row smaller segments are tried. When they are
acknowledged the path is known to be a black hole for larger ones, also to later connections. From time to time one
larger segment probes whether that is still so, since the timeouts may have had another cause: the first with the
original size, later ones in the middle of what is known to pass and what is known to be lost.
"""

from __future__ import annotations

from typing import Final

from ...base.seqnum import MASK, le, lt
from .tcb import Tcb

BASE_PLPMTU: Final = 1200
"""RFC 8899 section 5.1.2: a size that "is expected to work for most paths", tried first."""
TIMEOUTS_PER_STEP: Final = 2
FIRST_PROBE: Final = 30.0
"""From the discovery to the first probe: an outage that looked like a black hole must not cost for long."""
NEXT_PROBE: Final = 1.0
"""From a probe that was acknowledged to the next."""
FAILED_PROBE: Final = 600.0
"""RFC 4821 section 7.4 wants five minutes or more after a failed probe, and recommends ten."""
MAX_PROBES: Final = 3
"""RFC 8899 section 5.1.2: probes of one size that may be lost, for whatever reason, before the size counts as lost."""
RESOLUTION: Final = 32
"""A search whose bounds are so close is over."""
DATA_BEHIND_PROBE: Final = 4
"""Segments that must follow a probe, so that duplicate ACKs can tell of its loss (RFC 4821 section 7.4)."""


class BlackHole:
    """What a connection knows of its path when large segments were lost. Sizes are payloads, as Eff.snd.MSS is."""

    __slots__ = (
        "confirmed",
        "failures",
        "original",
        "probe_at",
        "probe_end",
        "probe_size",
        "probe_start",
        "search_high",
    )

    def __init__(self, original: int) -> None:
        self.original = original
        """The size before."""
        self.search_high = original
        """No larger size is tried. The lower bound of the search is snd_mss."""
        self.confirmed = False
        """A smaller segment was acknowledged."""
        self.failures = 0
        """Probes of the present size that were lost."""
        self.probe_at = 0.0
        """When the next probe may leave."""
        self.probe_start = 0
        """Sequence number of the probe in flight."""
        self.probe_end: int | None = None
        """The sequence number behind it; None: there is none."""
        self.probe_size = 0
        """Its size."""

    def __repr__(self) -> str:
        return f"<BlackHole original {self.original} search_high {self.search_high} probe {self.probe_size}>"


def timed_out(tcb: Tcb, now: float) -> None:
    """The retransmission timer fired, for the ``tcb.timeouts``-th time in a row: are the segments too large?"""
    if not tcb.timeouts or tcb.timeouts % TIMEOUTS_PER_STEP or not tcb.snd_wnd:
        return
    head = min(len(tcb.send_queue), tcb.snd_mss)
    for mtu in (BASE_PLPMTU, tcb.default_mss + tcb.builder.HEADERS):
        size = mtu - tcb.builder.HEADERS - tcb.option_size
        # RFC 8201 section 4: every path of IPv6 carries 1280 octets.
        if tcb.default_mss - tcb.option_size <= size < head:
            if tcb.black_hole is None:
                tcb.black_hole = BlackHole(tcb.snd_mss)
            tcb.black_hole.confirmed = False
            tcb.black_hole.probe_end = None
            _use(tcb, size)
            # The loss window is one segment.
            tcb.congestion.cwnd = min(tcb.congestion.cwnd, size)
            return


def acknowledged(tcb: Tcb, hole: BlackHole, ack: int, now: float) -> None:
    """Data was acknowledged up to ``ack``."""
    if not hole.confirmed:
        hole.confirmed = True
        hole.probe_at = now + FIRST_PROBE
        tcb.host.counters.tcp_black_holes += 1
        tcb.host.path_mtu_found(tcb.remote[0], tcb.snd_mss + tcb.option_size + tcb.builder.HEADERS, now)
    if hole.probe_end is not None and le(hole.probe_end, ack):
        hole.probe_end = None
        hole.failures = 0
        _use(tcb, hole.probe_size)
        hole.probe_at = now + NEXT_PROBE
        if hole.probe_size >= hole.original:
            tcb.black_hole = None


def sent_again(hole: BlackHole, seq: int, end: int, now: float) -> None:
    """What is sent again may be the probe: its size does not pass."""
    if hole.probe_end is not None and lt(seq, hole.probe_end) and lt(hole.probe_start, end):
        hole.probe_end = None
        hole.failures += 1
        hole.probe_at = now + FIRST_PROBE
        if hole.failures == MAX_PROBES:
            hole.failures = 0
            hole.search_high = hole.probe_size - 1
            hole.probe_at = now + FAILED_PROBE


def probe_size(tcb: Tcb, hole: BlackHole, now: float) -> int:
    """Return the size of the probe that is to be sent at snd_nxt now, 0 for none; sendable() allows a segment."""
    if not hole.confirmed or hole.probe_end is not None or now < hole.probe_at or tcb.snd_nxt != tcb.snd_max:
        return 0
    if hole.search_high - tcb.snd_mss < RESOLUTION:
        return 0
    first = hole.search_high == hole.original
    size = hole.original if first else (tcb.snd_mss + hole.search_high + 1) // 2
    in_flight = (tcb.snd_nxt - tcb.snd_una) & MASK
    enough = len(tcb.send_queue) - in_flight >= size + DATA_BEHIND_PROBE * tcb.snd_mss
    room = min(tcb.snd_wnd, tcb.congestion.cwnd) - in_flight >= size + DATA_BEHIND_PROBE * tcb.snd_mss
    if not enough or not room or tcb.in_recovery or tcb.rto_recovery:
        return 0
    hole.probe_start = tcb.snd_nxt
    hole.probe_end = (tcb.snd_nxt + size) & MASK
    hole.probe_size = size
    return size


def _use(tcb: Tcb, size: int) -> None:
    tcb.snd_mss = size
    tcb.congestion.set_mss(size)
