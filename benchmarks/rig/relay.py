"""The impairment stage for an outer connection: a TCP relay that adds distance and nothing else.

Octets come out in the order in which they went in, exactly ``delay`` later, each way; so do FIN and RST. The kernel
answers a SYN by itself, before we hear of it, so the time of the handshake is added where it would have been felt: the
connection onwards is opened when the client's ACK would have come (three times the delay after the SYN), and what the
client has sent meanwhile does not arrive earlier. The whole set-up takes as long as over a real path; a client that
times its own connect() finds that round trip in its next step instead.

There is no loss and no rate unless asked for: queues form only where the receiver is slow. What is on the way is
bounded like the window of a TCP connection, by default 16 MiB: 600 MB/s with 25 ms each way.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .eventloop import READABLE, WRITABLE, EventLoop

WINDOW = 16 << 20
_READ_SIZE = 128 << 10
_READS_PER_TURN = 4
_BACKLOG = 4096
_CONNECT_TIMEOUT = 10.0
_ERRORS = 8 | 16
"""EPOLLERR and EPOLLHUP."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a relay does."""

    target: tuple[str, int]
    delay: float = 0.0
    """Seconds, each way."""
    rate: float = 0.0
    """Octets per second, each way; 0 for no limit."""
    window: int = WINDOW
    """Octets that may be under way, each way."""


class Line:
    """One direction of a relayed connection."""

    def __init__(self, shape: Shape, schedule: Callable[[float], None]) -> None:
        self._shape = shape
        self._schedule = schedule
        self.sink: socket.socket | None = None
        """Where it leads, once there is a connection."""
        self.not_before = 0.0
        """Nothing is taken as sent before this time."""
        self.held = 0
        """Octets that are under way."""
        self.blocked = False
        """The receiver takes no more just now."""
        self.ended = False
        """The FIN has been delivered."""
        self._queue: deque[tuple[float, memoryview | None]] = deque()
        self._busy_until = 0.0
        self._scheduled_for = 0.0

    @property
    def full(self) -> bool:
        """Whether the window is used up."""
        return self.held >= self._shape.window

    def put(self, piece: bytes | None, now: float) -> None:
        """Take a piece that was sent now: b"" for the FIN, None for an RST."""
        when = max(now, self.not_before)
        if self._shape.rate and piece:
            when = self._busy_until = max(when, self._busy_until) + len(piece) / self._shape.rate
        self._queue.append((when + self._shape.delay, None if piece is None else memoryview(piece)))
        self.held += len(piece or b"")

    def flush(self, now: float) -> None:
        """Deliver what is due as far as the receiver takes it. Raises OSError when it is gone, or at an RST."""
        queue = self._queue
        self.blocked = False
        while queue and self.sink is not None:
            due, piece = queue[0]
            if due > now:
                if due != self._scheduled_for:
                    self._scheduled_for = due
                    self._schedule(due)
                return
            if piece is None:
                raise ConnectionResetError(errno.ECONNRESET, "the other side was reset")
            if piece:
                try:
                    sent = self.sink.send(piece)
                except BlockingIOError:
                    self.blocked = True
                    return
                self.held -= sent
                if sent < len(piece):
                    queue[0] = (due, piece[sent:])
                    continue
            else:
                self.sink.shutdown(socket.SHUT_WR)
                self.ended = True
            queue.popleft()


class Side:
    """One socket of a relayed connection, with the line that it fills and the one that it empties."""

    def __init__(self, stream: socket.socket, filled: Line, emptied: Line) -> None:
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = stream
        self.descriptor = stream.fileno()
        self.filled = filled
        self.emptied = emptied
        self.events = 0
        self.reading = True
        """Neither FIN nor RST has been read."""

    def wanted(self) -> int:
        """Return the events to wait for."""
        readable = READABLE if self.reading and not self.filled.full else 0
        return readable | (WRITABLE if self.emptied.blocked else 0)

    def read(self, now: float) -> None:
        """Take what has come."""
        for _ in range(_READS_PER_TURN):
            if not self.reading or self.filled.full:
                return
            try:
                piece = self.stream.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                self.reading = False
                self.filled.put(None, now)
                return
            self.reading = bool(piece)
            self.filled.put(piece, now)
            if len(piece) < _READ_SIZE:
                return


class Connection:
    """One client's connection and the one onwards."""

    def __init__(self, loop: EventLoop, client: socket.socket, shape: Shape, now: float) -> None:
        self._loop = loop
        self._shape = shape
        self._there = Line(shape, self._schedule)
        self._back = Line(shape, self._schedule)
        self._there.not_before = now + 2 * shape.delay
        self._back.sink = client
        self._sides = [Side(client, self._there, self._back)]
        self._watch(self._sides[0])
        if shape.delay:
            loop.call_at(now + 3 * shape.delay, self._open)
        else:
            self._open(now)

    def _open(self, now: float) -> None:
        if not self._sides:
            return
        onwards = socket.socket(socket.AF_INET)
        onwards.settimeout(_CONNECT_TIMEOUT)
        try:
            # To a listening socket on this machine: done at once or never.
            onwards.connect(self._shape.target)
        except OSError:
            onwards.close()
            self._abort()
            return
        side = Side(onwards, self._back, self._there)
        self._there.sink = onwards
        self._sides.append(side)
        self._watch(side)
        self._deliver(now)

    def _watch(self, side: Side) -> None:
        side.events = side.wanted()
        self._loop.watch(side.descriptor, side.events, lambda events, now: self._on_event(side, events, now))

    def _schedule(self, when: float) -> None:
        self._loop.call_at(when, self._deliver)

    def _on_event(self, side: Side, events: int, now: float) -> None:
        if events & _ERRORS and not side.reading:
            self._abort()
            return
        if events & ~WRITABLE:
            side.read(now)
        self._deliver(now)

    def _deliver(self, now: float) -> None:
        """Deliver what is due; then wait for what is wanted, or close when both directions have ended."""
        try:
            for side in self._sides:
                side.emptied.flush(now)
        except OSError:
            self._abort()
        if self._there.ended and self._back.ended:
            self._close()
        for side in self._sides:
            if not side.reading and side.emptied.ended:
                # Only a hang-up is left to hear of.
                self._loop.forget(side.descriptor)
            elif (wanted := side.wanted()) != side.events:
                side.events = wanted
                self._loop.change(side.descriptor, wanted)

    def _abort(self) -> None:
        for side in self._sides:
            with contextlib.suppress(OSError):
                side.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._close()

    def _close(self) -> None:
        for side in self._sides:
            self._loop.forget(side.descriptor)
            side.stream.close()
        self._sides.clear()


class Relay:
    """Listens, and relays each connection to one target."""

    def __init__(self, loop: EventLoop, listen: tuple[str, int], shape: Shape) -> None:
        self._loop = loop
        self._shape = shape
        self._listener = socket.create_server(listen, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self.address: tuple[str, int] = self._listener.getsockname()
        """Where it listens."""
        self._connections = 0
        loop.watch(self._listener.fileno(), READABLE, self._on_client)

    def _on_client(self, _events: int, now: float) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                client, _ = self._listener.accept()
                self._connections += 1
                Connection(self._loop, client, self._shape, now)

    def counters(self) -> dict[str, int]:
        """Return what has happened so far."""
        return {"connections": self._connections}

    def close(self) -> None:
        """Take no more connections."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
