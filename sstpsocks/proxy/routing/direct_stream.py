"""An ordinary connection of this machine with the interface of one inside the tunnel, so that relays need not care.

One task reads the socket, as long as what it read before is taken, and calls the stream's callback, which for a stream
of the tunnel the driver does.
"""

from __future__ import annotations

import socket
from collections import deque
from ipaddress import ip_address
from operator import index

import trio

from ...errors import ConnectionLost
from ...tunnel.network import SocketAddress
from ...tunnel.stream_base import StreamBase
from ..relay import close_socket, read, reset_socket

READ_SIZE = 65536
BUFFERED = 4 * READ_SIZE  # bytes read ahead of who takes them


class DirectStream(StreamBase):
    """A connected socket, which it owns and which must not block."""

    __slots__ = ("_buffered", "_ended", "_failure", "_local", "_pieces", "_raw", "_remote", "_room")

    def __init__(self, raw: socket.socket, nursery: trio.Nursery) -> None:
        """Raises OSError when the connection is gone already."""
        super().__init__()
        self._raw = raw
        self._local = _address_of(raw.getsockname())
        self._remote = _address_of(raw.getpeername())
        self._pieces: deque[memoryview] = deque()
        self._buffered = 0
        self._ended = False
        self._failure: ConnectionLost | None = None
        self._room = trio.lowlevel.ParkingLot()
        nursery.start_soon(self._read)

    def __repr__(self) -> str:
        return f"<DirectStream {'closed' if self._closed else 'open'}>"

    async def _read(self) -> None:
        try:
            while not self._closed:
                if self._buffered >= BUFFERED:
                    await self._room.park()
                    continue
                data = await read(self._raw, READ_SIZE)
                if not data:
                    self._ended = True
                    self._notify()
                    return
                self._pieces.append(memoryview(data))
                self._buffered += len(data)
                self._notify()
        except trio.ClosedResourceError:
            pass
        except OSError as error:
            self._fail(error)
        except trio.Cancelled:
            self.abort()
            raise

    def _notify(self) -> None:
        self._receivers.unpark_all()
        if self._callback is not None:
            self._callback()

    def _fail(self, error: OSError) -> None:
        if self._failure is None and not self._closed:
            self._failure = ConnectionLost(f"the direct connection was lost: {error.strerror or error}")
            self._notify()

    # trio.abc.HalfCloseableStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, waiting while the system takes none."""
        with self._send_conflict:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            rest = memoryview(data)
            while rest:
                rest = rest[self.send_nowait(rest) :]
                if rest:
                    await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._raw)
        except OSError as error:
            self._fail(error)
        self._check_sendable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one and at most ``max_bytes`` bytes, or ``b""`` at the end of the stream."""
        if max_bytes is not None and index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receive_conflict:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError
                if self._pieces:
                    data = bytes(self._pieces[0][:max_bytes])
                    self.consume(len(data))
                    return data
                self._check_broken()
                if self._ended:
                    return b""
                await self._receivers.park()

    # TunnelStream

    @property
    def connected(self) -> bool:
        """True: it is made of a socket that is connected."""
        return True

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port."""
        return self._local

    @property
    def remote_address(self) -> SocketAddress:
        """The target's address and port."""
        return self._remote

    def abort(self) -> None:
        """Reset the connection at once."""
        if not self._closed:
            self._release()
            reset_socket(self._raw)

    def readable_pieces(self) -> list[memoryview]:
        """Return what has arrived and was not consumed yet."""
        return [] if self._closed else list(self._pieces)

    def consume(self, count: int) -> None:
        """Drop ``count`` bytes from the front."""
        self._buffered -= count
        while count:
            first = self._pieces.popleft()
            if len(first) > count:
                self._pieces.appendleft(first[count:])
                break
            count -= len(first)
        self._room.unpark_all()

    @property
    def at_eof(self) -> bool:
        """Whether the peer has ended its direction and everything before that was consumed."""
        return self._ended and not self._pieces

    @property
    def failure(self) -> Exception | None:
        """Why the connection ended abnormally, None while it did not."""
        return self._failure

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Give the system as much as it takes; returns 0 when that is nothing."""
        self._check_sendable()
        try:
            return self._raw.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._fail(error)
            raise trio.BrokenResourceError(error.strerror or str(error)) from error

    def send_eof_nowait(self) -> None:
        """End our direction; the other stays open."""
        if self._closed:
            raise trio.ClosedResourceError
        if self._eof_sent:
            return
        self._check_sendable()
        self._eof_sent = True
        try:
            self._raw.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._fail(error)
            raise trio.BrokenResourceError(error.strerror or str(error)) from error

    def close_nowait(self) -> None:
        """Close: what was sent is still delivered."""
        if not self._closed:
            self._release()
            close_socket(self._raw)

    def _release(self) -> None:
        self._closed = True
        self._callback = None
        self._receivers.unpark_all()
        self._room.unpark_all()


def _address_of(name: tuple[str, int]) -> SocketAddress:
    return ip_address(str(name[0]).partition("%")[0]), int(name[1])
