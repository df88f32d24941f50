"""Deadlines of many things, the next one always at hand.

A heap with lazy deletion: moving a deadline later, which is what retransmission and idle timers do all the time,
costs one dictionary write; the heap learns of it when the old entry comes to the top.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

_SLACK: Final = 64
"""Dead heap entries that are tolerated on top of one per live deadline before the heap is rebuilt."""


class TimerQueue(Generic[Key]):
    """One deadline per key, in seconds of the caller's monotonic clock."""

    __slots__ = ("_deadlines", "_heap", "_pushed", "_scheduled")

    def __init__(self) -> None:
        self._deadlines: dict[Key, float] = {}
        """The deadlines that count."""
        self._scheduled: dict[Key, float] = {}
        """Per key the time of its entry in the heap that is looked at; never later than the deadline itself."""
        self._heap: list[tuple[float, int, Key]] = []
        self._pushed = 0
        """Counts entries, so that keys are never compared and equal deadlines expire in the order they were set."""

    def __len__(self) -> int:
        return len(self._deadlines)

    def __repr__(self) -> str:
        return f"<TimerQueue {len(self._deadlines)} deadlines, next {self.next_deadline()}>"

    def set(self, key: Key, deadline: float | None) -> None:
        """Give ``key`` this deadline in place of the one it had; None takes it away."""
        if deadline is None:
            self._deadlines.pop(key, None)
            if len(self._heap) > 2 * len(self._deadlines) + _SLACK:
                self._rebuild()
            return
        self._deadlines[key] = deadline
        scheduled = self._scheduled.get(key)
        if scheduled is None or deadline < scheduled:
            self._push(key, deadline)
            if len(self._heap) > 2 * len(self._deadlines) + _SLACK:
                self._rebuild()

    def get(self, key: Key) -> float | None:
        """Return the deadline of ``key``."""
        return self._deadlines.get(key)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline, None when there is none. Constant time but for dead entries it clears."""
        heap = self._heap
        while heap:
            time, _, key = heap[0]
            if self._scheduled.get(key) != time:
                heapq.heappop(heap)
                continue
            deadline = self._deadlines.get(key)
            if deadline == time:
                return time
            heapq.heappop(heap)
            del self._scheduled[key]
            if deadline is not None:
                self._push(key, deadline)
        return None

    def pop_due(self, now: float) -> list[Key]:
        """Remove every deadline that is not after ``now`` and return the keys, earliest first."""
        due: list[Key] = []
        deadline = self.next_deadline()
        while deadline is not None and deadline <= now:
            key = heapq.heappop(self._heap)[2]
            del self._scheduled[key], self._deadlines[key]
            due.append(key)
            deadline = self.next_deadline()
        return due

    def clear(self) -> None:
        """Forget every deadline."""
        self._deadlines.clear()
        self._scheduled.clear()
        self._heap.clear()

    def _push(self, key: Key, deadline: float) -> None:
        self._pushed += 1
        self._scheduled[key] = deadline
        heapq.heappush(self._heap, (deadline, self._pushed, key))

    def _rebuild(self) -> None:
        deadlines = sorted(self._deadlines.items(), key=lambda item: item[1])
        self._heap.clear()
        self._scheduled.clear()
        for key, deadline in deadlines:
            self._push(key, deadline)
