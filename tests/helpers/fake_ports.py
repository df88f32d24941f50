"""What can be reached from inside a fake tunnel: listening TCP ports and UDP ports."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address

import trio

from sstpsocks.errors import ConnectionRefused, TunnelDown
from sstpsocks.tunnel.network import ErrorObserver, IPAddress, SocketAddress, TunnelStream

HERE = (IPv4Address("10.8.0.2"), 40000)


class FakeUdpPort:
    """Keeps what is sent; a test says what arrives."""

    def __init__(self, local: SocketAddress = HERE) -> None:
        self.local_address = local
        self.sent: list[tuple[bytes, IPAddress, int]] = []
        self.on_error: ErrorObserver | None = None
        self.notify: Callable[[], None] | None = None
        self.icmp_errors = 0
        self.dropped = 0
        self.closed = False
        self.lost = False
        self._queue: deque[tuple[bytes, IPAddress, int]] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def arrive(self, payload: bytes, address: IPAddress, port: int) -> None:
        self._queue.append((payload, address, port))
        self._wake()

    def refuse(self, address: IPAddress, port: int) -> None:
        self.icmp_errors += 1
        if self.on_error is not None:
            self.on_error(ConnectionRefused("nobody is here"), address, port)

    def lose(self) -> None:
        """The tunnel is gone."""
        self.lost = True
        self._wake()

    def send_nowait(self, payload: bytes, address: IPAddress, port: int) -> bool:
        self._check()
        self.sent.append((payload, address, port))
        return True

    async def send_to(self, payload: bytes, address: IPAddress, port: int) -> None:
        await trio.lowlevel.checkpoint()
        self.send_nowait(payload, address, port)

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        self._check()
        return self._queue.popleft() if self._queue else None

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        await trio.lowlevel.checkpoint()
        while (received := self.receive_nowait()) is None:
            await self._lot.park()
        return received

    def close(self) -> None:
        self.closed = True
        self._lot.unpark_all()

    def _wake(self) -> None:
        self._lot.unpark_all()
        if self.notify is not None:
            self.notify()

    def _check(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError
        if self.lost:
            raise TunnelDown("the tunnel is gone")


class FakeListener:
    """A test says who connects."""

    def __init__(self, local: SocketAddress, peer: IPAddress | None) -> None:
        self.local_address = local
        self.peer = peer
        self.closed = False
        self.lost = False
        self._queue: deque[TunnelStream] = deque()
        self._lot = trio.lowlevel.ParkingLot()

    def arrive(self, stream: TunnelStream) -> None:
        self._queue.append(stream)
        self._lot.unpark_all()

    def lose(self) -> None:
        """The tunnel is gone."""
        self.lost = True
        self._lot.unpark_all()

    async def accept(self) -> TunnelStream:
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self.closed:
                raise trio.ClosedResourceError
            if self.lost:
                raise TunnelDown("the tunnel is gone")
            await self._lot.park()
        return self._queue.popleft()

    def close(self) -> None:
        self.closed = True
        self._lot.unpark_all()
