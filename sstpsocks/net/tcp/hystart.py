"""HyStart++ (RFC 9406): leave slow start when the round-trip time grows, before the queue at the bottleneck overflows.

Theory of operation. The lowest round-trip time of each round trip is compared with that of the round before. When it
has grown by a noticeable part, conservative slow start (CSS) begins: the window grows at a quarter of the speed. If the
round-trip time falls back the growth was jitter and slow start goes on; after five rounds congestion avoidance begins.
"""

from __future__ import annotations

from typing import Final

MIN_RTT_THRESH: Final = 0.004
MAX_RTT_THRESH: Final = 0.016
"""Bounds of what counts as growth, seconds (RFC 9406 section 4.3)."""
MIN_RTT_DIVISOR: Final = 8
"""Growth is noticeable from this part of the round-trip time on."""
N_RTT_SAMPLE: Final = 8
"""Samples that a round needs before it says anything."""
CSS_GROWTH_DIVISOR: Final = 4
"""How many times slower the window grows in conservative slow start."""
CSS_ROUNDS: Final = 5
"""Rounds of conservative slow start before it ends in congestion avoidance."""

_INFINITE: Final = float("inf")


class HyStart:
    """The variables of RFC 9406 section 4.2 of one connection in its first slow start."""

    __slots__ = (
        "_css_baseline_min_rtt",
        "_css_rounds",
        "_current_round_min_rtt",
        "_last_round_min_rtt",
        "_round_left",
        "_rtt_sample_count",
        "finished",
        "in_css",
    )

    def __init__(self) -> None:
        self.in_css = False
        """Conservative slow start is under way."""
        self.finished = False
        """Slow start is over: the window is what the path takes."""
        self._current_round_min_rtt = _INFINITE
        self._last_round_min_rtt = _INFINITE
        self._css_baseline_min_rtt = _INFINITE
        """The lowest round-trip time that made CSS begin."""
        self._css_rounds = 0
        self._rtt_sample_count = 0
        """Samples in the present round."""
        self._round_left = 0
        """Octets to be acknowledged until windowEnd, where the present round ends."""

    def __repr__(self) -> str:
        phase = "finished" if self.finished else "CSS" if self.in_css else "slow start"
        return f"<HyStart {phase} min rtt {self._last_round_min_rtt:.4f} {self._current_round_min_rtt:.4f}>"

    def __copy__(self) -> HyStart:
        other = HyStart()
        other.in_css = self.in_css
        other.finished = self.finished
        other._current_round_min_rtt = self._current_round_min_rtt
        other._last_round_min_rtt = self._last_round_min_rtt
        other._css_baseline_min_rtt = self._css_baseline_min_rtt
        other._css_rounds = self._css_rounds
        other._rtt_sample_count = self._rtt_sample_count
        other._round_left = self._round_left
        return other

    def growth(self, count: int, flight: int, rtt: float | None) -> int:
        """``count`` octets of the ``flight`` that was out are acknowledged: return by how much the window grows."""
        # What this ACK says about the round trip counts from the next one on: "cwnd" grows first, then it is judged.
        growth = count // CSS_GROWTH_DIVISOR if self.in_css else count
        self._round_left -= count
        if self._round_left <= 0:
            self._begin_round(flight - count)
        if rtt is not None:
            self._current_round_min_rtt = min(self._current_round_min_rtt, rtt)
            self._rtt_sample_count += 1
            if self._rtt_sample_count >= N_RTT_SAMPLE:
                self._judge()
        return growth

    def _begin_round(self, in_flight: int) -> None:
        self._round_left = in_flight
        self._last_round_min_rtt = self._current_round_min_rtt
        self._current_round_min_rtt = _INFINITE
        self._rtt_sample_count = 0
        if self.in_css:
            self._css_rounds += 1
            self.finished = self._css_rounds >= CSS_ROUNDS

    def _judge(self) -> None:
        """RFC 9406 section 4.2: enough samples of this round to compare."""
        current = self._current_round_min_rtt
        if self.in_css:
            # The growth was spurious: back to slow start.
            if current < self._css_baseline_min_rtt:
                self._css_baseline_min_rtt = _INFINITE
                self.in_css = False
            return
        last = self._last_round_min_rtt
        if last == _INFINITE:
            return
        # RttThresh = max(MIN_RTT_THRESH, min(lastRoundMinRTT / MIN_RTT_DIVISOR, MAX_RTT_THRESH))
        if current >= last + max(MIN_RTT_THRESH, min(last / MIN_RTT_DIVISOR, MAX_RTT_THRESH)):
            self._css_baseline_min_rtt = current
            self.in_css = True
            self._css_rounds = 0
