"""A small event loop for the impairment stage: descriptors, and due times that are met to some ten microseconds.

epoll itself counts in milliseconds, rounded up; a stage that delays by 25 ms would be off by several percent. An epoll
descriptor can be waited for like any other, so select() waits for that one, with its timeout in microseconds.
"""

from __future__ import annotations

import heapq
import itertools
import select
import sys
import time
from collections.abc import Callable
from typing import Protocol

# The same numbers as EPOLLIN and so on, which only Linux has.
READABLE = 1
WRITABLE = 4

Handler = Callable[[int, float], None]
"""Called with what the descriptor is ready for and the time."""


class _Poller(Protocol):
    def register(self, fd: int, eventmask: int) -> None: ...
    def modify(self, fd: int, eventmask: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float) -> list[tuple[int, int]]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


def _new_poller() -> _Poller:
    if sys.platform == "linux":
        return select.epoll()
    raise OSError("needs Linux")


class EventLoop:
    """Calls handlers when descriptors are ready and actions when they are due."""

    def __init__(self) -> None:
        self._poller = _new_poller()
        self._handlers: dict[int, Handler] = {}
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self.running = True

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call ``handler`` whenever the descriptor is ready for one of the events."""
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        """Wait for other events from now on; errors are always told."""
        self._poller.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Call the descriptor's handler no more. Nothing happens if it is not watched."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def call_at(self, when: float, action: Callable[[float], None]) -> None:
        """Call ``action`` with the time, once that is ``when`` (of time.monotonic())."""
        heapq.heappush(self._due, (when, next(self._numbers), action))

    def stop(self) -> None:
        """Return from run() after this turn."""
        self.running = False

    def run(self) -> None:
        """Serve until stop()."""
        while self.running:
            self.turn(1.0)

    def turn(self, longest: float) -> None:
        """Wait for something to happen, at most so many seconds, and handle it."""
        due = self._due
        wait = min(longest, max(due[0][0] - time.monotonic(), 0.0)) if due else longest
        select.select([self._poller.fileno()], [], [], wait)
        for descriptor, events in self._poller.poll(0):
            # One handler may have closed what another would have been called for.
            if (handler := self._handlers.get(descriptor)) is not None:
                handler(events, time.monotonic())
        now = time.monotonic()
        while due and due[0][0] <= now:
            heapq.heappop(due)[2](now)

    def close(self) -> None:
        """Free the descriptor of the loop itself."""
        self._poller.close()
