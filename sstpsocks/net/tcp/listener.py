"""A port that waits for connections (RFC 9293 section 3.10.7.2).

A flood of SYNs from addresses that do not exist cannot keep others out: at the bound the oldest half-open connection
makes room (RFC 4987 section 3.3), which is the one that is least likely to be completed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import ip_address

from ...errors import ConnectionLost
from .builder import build_reset
from .connection import TcpConnection
from .host import TcpHost
from .segment import ACK, RST, SYN, parse_segment
from .tcb import Tcb


class TcpListener:
    """Makes a connection of each SYN, at most ``backlog`` at once that nobody accepted yet."""

    __slots__ = ("_connections", "_ready", "backlog", "closed", "half_open", "host", "notify", "port")

    def __init__(self, host: TcpHost, port: int, backlog: int = 128) -> None:
        self.host = host
        """The stack."""
        self.port = port
        """The local port."""
        self.backlog = backlog
        """Bound on connections that are not accepted yet, half-open ones included."""
        self.notify: Callable[[], None] | None = None
        """For the owner's use."""
        self.closed = False
        """close() was called."""
        self._connections: set[Tcb] = set()
        """Half-open, and established but not accepted."""
        self.half_open: dict[TcpConnection, None] = {}
        """Half-open, the oldest first."""
        self._ready: deque[TcpConnection] = deque()
        """Established and not accepted, in the order they became so."""

    def __repr__(self) -> str:
        return f"<TcpListener port {self.port} pending {len(self._connections)} ready {len(self._ready)}>"

    def receive_segment(
        self, data: bytes, start: int, end: int, source: bytes, destination: bytes, now: float
    ) -> bytes | None:
        """Take the segment ``data[start:end]`` between two packed addresses, for no existing connection.

        Return the packet that is to be sent in reply, if any. A SYN beyond the backlog takes the place of the oldest
        half-open connection. When there is none it is dropped: the peer sends it again, and there may be room by then.
        """
        segment = parse_segment(data, start, end)
        if segment is None:
            self.host.counters.tcp_in_errs += 1
            return None
        # First, check for a RST: "An incoming RST should be ignored."
        if segment.flags & RST:
            return None
        # Second, check for an ACK: "Any acknowledgment is bad if it arrives on a connection still in the LISTEN state."
        if segment.flags & ACK:
            self.host.counters.tcp_out_rsts += 1
            return build_reset(data, start, end, source, destination)
        # Third, check for a SYN; fourth, "other data or control" is dropped.
        if not segment.flags & SYN or self.closed:
            return None
        if len(self._connections) >= self.backlog:
            if not self.half_open:
                self.host.counters.tcp_listen_drops += 1
                return None
            oldest = next(iter(self.half_open))
            self._discard(oldest)
            oldest.forget(now)
            self.host.counters.tcp_attempt_fails += 1
            self.host.counters.tcp_half_open_drops += 1
        remote = (ip_address(source), int.from_bytes(data[start : start + 2], "big"))
        connection = TcpConnection(self.host, (ip_address(destination), self.port), remote)
        connection.listener = self
        self._connections.add(connection)
        self.half_open[connection] = None
        connection.open_passive(segment, now)
        return None

    def connection_changed(self, connection: Tcb) -> None:
        """One of ours was established or ended."""
        if connection.error is not None:
            self._discard(connection)
            self._ready = deque(ready for ready in self._ready if ready is not connection)
            connection.listener = None
        elif connection.established and isinstance(connection, TcpConnection) and connection not in self._ready:
            self.half_open.pop(connection, None)
            self._ready.append(connection)
            self.host.mark_dirty(self)

    def accept(self) -> TcpConnection | None:
        """Return the next established connection, None when there is none."""
        if not self._ready:
            return None
        connection = self._ready.popleft()
        connection.listener = None
        self._connections.discard(connection)
        return connection

    def close(self, now: float = 0.0) -> None:
        """Take no more connections and reset those that nobody accepted."""
        self.closed = True
        for connection in list(self._connections):
            if isinstance(connection, TcpConnection):
                connection.listener = None
                connection.abort(now, ConnectionLost("listener closed"))
        self._connections.clear()
        self.half_open.clear()
        self._ready.clear()

    def _discard(self, connection: Tcb) -> None:
        self._connections.discard(connection)
        if isinstance(connection, TcpConnection):
            self.half_open.pop(connection, None)
