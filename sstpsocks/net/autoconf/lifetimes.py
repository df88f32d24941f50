"""Values that hold for a while: what a router advertises, a server gives, and time takes away again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")

INFINITE = 0xFFFFFFFF
"""The lifetime in seconds that stands for ever (RFC 4861 section 4.6.2, RFC 8415 section 7.7)."""


def deadline(lifetime: int, now: float) -> float:
    """Return when a lifetime that begins now ends; never, as infinity, for INFINITE."""
    return math.inf if lifetime >= INFINITE else now + lifetime


def earliest(times: Iterable[float | None]) -> float | None:
    """Return the earliest time that comes at all, or None."""
    return min((time for time in times if time is not None and time < math.inf), default=None)


class ExpiringValues(Generic[Value]):
    """At most ``bound`` values in the order they came, each with an end."""

    __slots__ = ("_bound", "_ends")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._ends: dict[Value, float] = {}

    def __repr__(self) -> str:
        return f"<ExpiringValues {list(self._ends)}>"

    @property
    def values(self) -> tuple[Value, ...]:
        """What holds now."""
        return tuple(self._ends)

    def refresh(self, value: Value, lifetime: int, now: float) -> None:
        """Let the value hold for ``lifetime`` seconds from now, 0 ends it.

        RFC 8106 section 6.1: when there is no room "the entry with the shortest expiration time" makes it.
        """
        if lifetime == 0:
            self._ends.pop(value, None)
            return
        if value not in self._ends and len(self._ends) >= self._bound:
            del self._ends[min(self._ends, key=lambda held: self._ends[held])]
        self._ends[value] = deadline(lifetime, now)

    def next_end(self) -> float | None:
        """Return when expire() has something to do next."""
        return earliest(self._ends.values())

    def expire(self, now: float) -> None:
        """Forget what has ended."""
        self._ends = {value: end for value, end in self._ends.items() if end > now}
