"""Connections that we began and that are not established yet, and a bound on them.

Somebody who dials a thousand addresses where nobody answers holds as many connections for as long as an attempt lasts;
this bound keeps room for others. Those that peers begin have a bound of their own, in each listener (tcp/listener.py).

Theory of operation. A connection is noted when it is begun and dropped when it ends. That it was established is found
out when the bound is reached, so that nothing is added to the path of the packets.
"""

from __future__ import annotations

from .tcp.connection import TcpConnection
from .tcp.tcb import TcpState

_LOOK_AGAIN = 0.05
"""Seconds until the next look when none of as many as may be was established."""
_OPENING = (TcpState.SYN_SENT, TcpState.SYN_RECEIVED)


class HalfOpen:
    """The connections that we began."""

    __slots__ = ("_connections", "_look_at", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        """The bound."""
        self._connections: dict[TcpConnection, None] = {}
        self._look_at = 0.0

    def __repr__(self) -> str:
        return f"<HalfOpen {self.count} of {self.maximum}>"

    @property
    def count(self) -> int:
        """How many are not established now."""
        return sum(connection.state in _OPENING for connection in self._connections)

    def full(self, now: float) -> bool:
        """Whether one more would be beyond the bound."""
        if len(self._connections) < self.maximum:
            return False
        if now >= self._look_at:
            self._connections = {one: None for one in self._connections if one.state in _OPENING}
            if len(self._connections) >= self.maximum:
                self._look_at = now + _LOOK_AGAIN
        return len(self._connections) >= self.maximum

    def add(self, connection: TcpConnection) -> None:
        """A connection was begun."""
        self._connections[connection] = None

    def discard(self, connection: TcpConnection) -> None:
        """A connection has ended."""
        self._connections.pop(connection, None)

    def clear(self) -> None:
        """All have ended."""
        self._connections.clear()
