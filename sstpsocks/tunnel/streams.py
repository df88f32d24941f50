"""TCP connections of the stack as trio streams."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Protocol

import trio

from ..errors import TunnelDown
from ..net.tcp.receive import join_leftovers
from .network import IPAddress, SocketAddress
from .stream_base import StreamBase

if TYPE_CHECKING:
    from ..net.tcp.connection import TcpConnection
    from ..net.tcp.listener import TcpListener

DEFAULT_RECEIVE_SIZE = 64 * 1024


class Pump(Protocol):
    """What a stream needs of the driver: the clock, and a turn that sends what was queued."""

    def now(self) -> float:
        """The time the stack runs on, in seconds."""
        ...

    def flush(self) -> None:
        """Send what the flows have queued."""
        ...


class TcpStream(StreamBase):
    """A connection inside the tunnel; see TunnelStream for the non-blocking half.

    Errors are trio's: BrokenResourceError when the connection failed (its cause says why), ClosedResourceError after
    aclose(), BusyResourceError for two concurrent senders or receivers.
    """

    __slots__ = ("_connecting", "_connection", "_pump", "_senders")

    def __init__(self, connection: TcpConnection, pump: Pump) -> None:
        super().__init__()
        self._connection = connection
        self._pump = pump
        self._connecting = not connection.established
        self._senders = trio.lowlevel.ParkingLot()
        connection.notify = self._notify

    def __repr__(self) -> str:
        return f"<TcpStream {self._connection!r}>"

    async def wait_connected(self) -> None:
        """Return when the handshake is done. Raises the connection's DialError when it fails."""
        while not self._connection.established:
            if self._connection.error is not None:
                raise self._connection.error
            await self._senders.park()
        if self._connection.error is not None:
            raise self._connection.error

    # trio.abc.HalfCloseableStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, waiting while the connection's buffer is full."""
        with self._send_conflict:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            rest = memoryview(data)
            while True:
                rest = rest[self._connection.send(rest, self._pump.now()) :]
                self._pump.flush()
                if not rest:
                    return
                await self._wait_for_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return at least one and at most ``max_bytes`` bytes, or ``b""`` at the end of the stream."""
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_SIZE
        elif index(max_bytes) < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receive_conflict:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError
                if data := self._take(max_bytes):
                    return data
                if self._connection.eof:
                    return b""
                self._check_broken()
                await self._receivers.park()

    # TunnelStream

    @property
    def connected(self) -> bool:
        """Whether the handshake is done."""
        return self._connection.established

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""
        return self._connection.local

    @property
    def remote_address(self) -> SocketAddress:
        """The target's address and port."""
        return self._connection.remote

    @property
    def unacknowledged(self) -> int:
        """Octets that were sent or queued here and that the peer has not acknowledged."""
        return self._connection.unsent_and_unacknowledged

    def abort(self) -> None:
        """Send a reset and forget the connection at once."""
        if not self._closed:
            self._release()
            self._connection.abort(self._pump.now())
            self._pump.flush()

    def readable_pieces(self) -> list[memoryview]:
        """Return what has arrived in order and was not consumed yet."""
        return [] if self._closed else self._connection.pieces()

    def consume(self, count: int) -> None:
        """Drop ``count`` bytes from the front and open the window; the turn that runs sends the update."""
        self._connection.consume(count, self._pump.now())
        self._pump.flush()

    @property
    def at_eof(self) -> bool:
        """Whether the peer has ended its direction and everything before that was consumed."""
        return self._connection.eof

    @property
    def failure(self) -> Exception | None:
        """Why the connection ended abnormally."""
        return self._connection.error

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as there is room for; returns 0 when full."""
        self._check_sendable()
        count = self._connection.send(data, self._pump.now())
        if count:
            self._pump.flush()
        return count

    def send_eof_nowait(self) -> None:
        """End our direction; the other stays open."""
        if self._closed:
            raise trio.ClosedResourceError
        if self._eof_sent:
            return
        self._check_broken()
        self._eof_sent = True
        self._connection.shutdown(self._pump.now())
        self._pump.flush()

    def close_nowait(self) -> None:
        """Close: what was sent is still delivered, what arrives later is refused."""
        if not self._closed:
            self._release()
            self._connection.detach(self._pump.now())
            self._pump.flush()

    # The driver's side

    def _notify(self) -> None:
        connection = self._connection
        if self._connecting and connection.established:
            self._connecting = False
            if self._callback is not None:
                self._callback()
        if connection.readable or connection.eof or connection.error is not None:
            if self._callback is not None:
                self._callback()
            self._receivers.unpark_all()
            if connection.readable:
                # The reader is not as fast as the tunnel: what it leaves must not keep whole decrypted batches in
                # memory, nor become a list of thousands of small pieces.
                join_leftovers(connection)
        if connection.error is not None or connection.send_room() > 0:
            self._senders.unpark_all()

    def _take(self, max_bytes: int) -> bytes:
        pieces = self._connection.pieces()
        if not pieces:
            return b""
        chosen: list[memoryview] = []
        room = max_bytes
        for piece in pieces:
            chosen.append(piece[:room])
            room -= len(chosen[-1])
            if room == 0:
                break
        whole = chosen[0].obj
        if len(chosen) == 1 and isinstance(whole, bytes) and len(whole) == len(chosen[0]):
            data = whole  # joined already: spare the copy
        else:
            data = b"".join(chosen)
        self._connection.consume(len(data), self._pump.now())
        self._pump.flush()
        return data

    async def _wait_for_room(self) -> None:
        while self._connection.send_room() == 0:
            await self._senders.park()
            self._check_sendable()

    def _release(self) -> None:
        self._closed = True
        self._callback = None
        self._connection.notify = None
        self._receivers.unpark_all()
        self._senders.unpark_all()


class TcpAcceptor:
    """Connections that peers open to a listening port of the stack; implements TunnelListener.

    ``address``: the one of ours that peers are told, the first unless it is given.
    """

    def __init__(self, listener: TcpListener, pump: Pump, address: IPAddress | None = None) -> None:
        self._listener = listener
        self._pump = pump
        self._address = address if address is not None else listener.host.address
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        listener.notify = self._wake

    async def accept(self) -> TcpStream:
        """Wait for a connection. Raises trio.ClosedResourceError after close(), TunnelDown without the tunnel."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            if self._listener.closed:
                raise TunnelDown("the tunnel of this listening port is gone")
            connection = self._listener.accept()
            if connection is not None:
                return TcpStream(connection, self._pump)
            await self._lot.park()

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""
        return self._address, self._listener.port

    def close(self) -> None:
        """Stop listening; connections that were accepted live on, those that wait are reset."""
        if not self._closed:
            self._closed = True
            self._listener.notify = None
            self._listener.close(self._pump.now())
            self._pump.flush()
            self._wake()

    def _wake(self) -> None:
        self._lot.unpark_all()
