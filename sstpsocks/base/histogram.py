"""How often something took how long, in buckets that only count up: what Prometheus calls a histogram."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts observations by upper bounds, which are ascending; the last bucket, without a bound, has the rest."""

    __slots__ = ("_counts", "bounds", "count", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self.count = 0
        """Observations."""
        self.total = 0.0
        """Their sum."""

    def __repr__(self) -> str:
        return f"<Histogram {self.count} observations>"

    def __eq__(self, other: object) -> bool:
        """Whether both have the same bounds and counted the same."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return (self.bounds, self._counts, self.total) == (other.bounds, other._counts, other.total)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def observe(self, value: float) -> None:
        """Count one."""
        # A bound belongs to its bucket: "le" is less than or equal.
        self._counts[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Count what another one with the same bounds has counted."""
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.total += other.total

    def cumulative(self) -> tuple[int, ...]:
        """Return how many observations are not above each bound, and last how many there are."""
        return tuple(accumulate(self._counts))
