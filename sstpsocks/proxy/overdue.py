"""Clients that take too long to say what they want: one timer for all of them.

Each has as long as the others, so they become due in the order in which they came, and a dictionary is the queue. A
timer of its own for each connection would cost more than the rest of its handshake.
"""

from __future__ import annotations

import socket

import trio

from .relay import reset_socket


class Overdue:
    """Resets clients, some seconds after watch(), unless forget() was called; run() must be running."""

    __slots__ = ("_idle", "_waiting", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        """Seconds."""
        self._waiting: dict[socket.socket, float] = {}
        """The clients and when they are due, in this order."""
        self._idle = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._waiting)

    def watch(self, client: socket.socket) -> None:
        """Begin to wait for it."""
        self._waiting[client] = trio.current_time() + self.limit
        self._idle.unpark()

    def forget(self, client: socket.socket) -> None:
        """It said what it wants, or is gone."""
        self._waiting.pop(client, None)

    async def run(self) -> None:
        """Reset those who are due. Their tasks see a closed socket."""
        while True:
            if not self._waiting:
                await self._idle.park()
                continue
            client, deadline = next(iter(self._waiting.items()))
            if deadline <= trio.current_time():
                del self._waiting[client]
                reset_socket(client)
            else:
                # Not woken when this one is forgotten: it just looks at the next one then.
                await trio.sleep_until(deadline)
