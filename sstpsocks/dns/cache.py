"""A bounded cache whose entries expire."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class ExpiringCache(Generic[KeyT, ValueT]):
    """Keeps at most ``capacity`` values, each until its time; the least recently used goes first."""

    __slots__ = ("_capacity", "_entries", "crowded_out")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.crowded_out = 0
        """Values that made room for others before their time."""
        self._entries: OrderedDict[KeyT, tuple[float, ValueT]] = OrderedDict()

    def get(self, key: KeyT, now: float) -> ValueT | None:
        """Return the value, or None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if now >= expires:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: KeyT, value: ValueT, expires: float) -> None:
        """Keep ``value`` until the time ``expires``."""
        self._entries[key] = (expires, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
            self.crowded_out += 1

    def latest(self, count: int) -> list[tuple[KeyT, ValueT, float]]:
        """Return at most ``count`` entries with their times, those used last first; also some whose time is over."""
        return [(key, value, expires) for key, (expires, value) in islice(reversed(self._entries.items()), count)]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<ExpiringCache {len(self._entries)} of {self._capacity}>"
