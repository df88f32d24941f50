"""A set of integers kept as ranges: which octets of a stream are here, which are missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Half-open ranges ``[start, end)``, sorted, never touching or overlapping each other.

    Adding and subtracting cost a binary search and the ranges touched.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __len__(self) -> int:
        """Return the number of ranges, not of integers."""
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self._starts[index], self._ends[index]

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._ends[index]

    def containing(self, number: int) -> tuple[int, int] | None:
        """Return the range that contains ``number``, None when it is not in the set."""
        index = bisect_right(self._starts, number) - 1
        if index >= 0 and number < self._ends[index]:
            return self._starts[index], self._ends[index]
        return None

    def __repr__(self) -> str:
        return f"<RangeSet {' '.join(f'{start}-{end}' for start, end in self)}>"

    def add(self, start: int, end: int) -> None:
        """Add every integer of ``[start, end)``; nothing when it is empty."""
        if start >= end:
            return
        # The ranges [first:last] touch or overlap the new one and become one with it.
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def subtract(self, start: int, end: int) -> None:
        """Remove every integer of ``[start, end)``."""
        if start >= end:
            return
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first >= last:
            return
        starts: list[int] = []
        ends: list[int] = []
        if self._starts[first] < start:
            starts.append(self._starts[first])
            ends.append(start)
        if self._ends[last - 1] > end:
            starts.append(end)
            ends.append(self._ends[last - 1])
        self._starts[first:last] = starts
        self._ends[first:last] = ends

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of ``[start, end)`` that are not in the set, in order."""
        gaps: list[tuple[int, int]] = []
        index = bisect_right(self._ends, start)
        while start < end and index < len(self._starts) and self._starts[index] < end:
            if start < self._starts[index]:
                gaps.append((start, self._starts[index]))
            start = self._ends[index]
            index += 1
        if start < end:
            gaps.append((start, end))
        return gaps

    def clear(self) -> None:
        """Remove everything."""
        self._starts.clear()
        self._ends.clear()
