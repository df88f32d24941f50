"""What a run measures and what is made of many runs: medians, spreads, ratios of interleaved runs, fairness.

A ratio of two peers is told twice. The *ratio of medians* is the figure. The *paired ratios* compare the runs that
followed each other (the n-th of one peer with the n-th of the other), so that a change of the machine's load between
the beginning and the end of a case meets both; their spread says how far the figure can be trusted.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["more", "less", "neither"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one run."""

    value: float
    unit: str = ""
    better: Better = "more"
    """Which way is better; ``neither`` is for what only explains, and gets no ratio."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all runs of one peer in one case."""

    values: tuple[float, ...]
    unit: str
    better: Better

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest one."""
        return min(self.values)

    @property
    def greatest(self) -> float:
        """The largest one."""
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much better one peer is than another: 2 is twice as good, whether more or less is better."""

    of_medians: float
    paired: tuple[float, ...]


def ratio(ours: Summary, theirs: Summary) -> Ratio | None:
    """Return how much better ours is; None where neither way is better, or a value is zero."""
    if ours.better == "neither" or not all(ours.values) or not all(theirs.values):
        return None
    ours_over, theirs_under = (ours, theirs) if ours.better == "more" else (theirs, ours)
    pairs = zip(ours_over.values, theirs_under.values, strict=False)
    return Ratio(ours_over.median / theirs_under.median, tuple(over / under for over, under in pairs))


def jain(shares: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 is equal, 1/n is one that has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed."""
    return sorted(values)[min(int(len(values) * percent / 100), len(values) - 1)]
