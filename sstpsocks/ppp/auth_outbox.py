"""What every machine of authentication hands out: packets, events, and the time when it wants to repeat itself."""

from __future__ import annotations

from collections import deque

from .auth import AuthEvent


class AuthOutbox:
    """The packets and events that wait to be taken, and the one timer. A base of the machines (see Authenticator)."""

    def __init__(self) -> None:
        """Nothing waits, and nothing is due."""
        self.discarded = 0
        """Packets that did not fit the state."""
        self._output: list[bytes] = []
        self._events: deque[AuthEvent] = deque()
        self._deadline: float | None = None
        """When to repeat the last packet; stays None on a side that never does."""

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return the packets to send now and forget them."""
        output, self._output = self._output, []
        return output

    def next_event(self) -> AuthEvent | None:
        """Return the next event, or None."""
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        """When the last packet is due to be repeated."""
        return self._deadline
