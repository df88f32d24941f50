"""UDP sockets of the stack for trio programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..errors import LocalProtocolError, TunnelDown
from .network import ErrorObserver, IPAddress, SocketAddress
from .streams import Pump

if TYPE_CHECKING:
    from ..net.udp import UdpEndpoint


class UdpSocket:
    """A UDP endpoint of the tunnel that is connected to one peer; implements TunnelDatagrams.

    When the tunnel is lost it is lost with it: every call raises TunnelDown then, also after a reconnect.
    """

    def __init__(self, endpoint: UdpEndpoint, remote: SocketAddress, pump: Pump) -> None:
        self._endpoint = endpoint
        self._remote = remote
        self._pump = pump
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        endpoint.notify = self._wake

    async def send(self, payload: bytes) -> None:
        """Send one datagram, or drop it when too many wait already.

        Raises LocalProtocolError for a payload of more than 65507 octets.
        """
        await trio.lowlevel.checkpoint()
        self._check()
        self._endpoint.send(payload)
        self._pump.flush()

    async def receive(self) -> bytes:
        """Return the payload of the next datagram; raises what ICMP reported, once."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            payload = self._endpoint.receive()
            if payload is not None:
                return payload
            error, self._endpoint.error = self._endpoint.error, None
            if error is not None:
                raise error
            await self._lot.park()

    def close(self) -> None:
        """Close it; waiting receivers get trio.ClosedResourceError."""
        if not self._closed:
            self._closed = True
            self._endpoint.notify = None
            self._endpoint.close()
            self._lot.unpark_all()

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""
        return self._endpoint.local

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address and port."""
        return self._remote

    def _wake(self) -> None:
        self._lot.unpark_all()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._endpoint.closed:
            raise TunnelDown("the tunnel of this UDP socket is gone") from self._endpoint.error


class UdpPort:
    """A UDP port of the tunnel that is connected to nobody; implements TunnelUdpPort.

    ``judge`` raises the DialError of an address that the tunnel does not lead to.
    """

    def __init__(self, endpoint: UdpEndpoint, pump: Pump, judge: Callable[[IPAddress], object]) -> None:
        self._endpoint = endpoint
        self._pump = pump
        self._judge = judge
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        self.icmp_errors = 0
        """ICMP errors that came about its datagrams."""
        self.on_error: ErrorObserver | None = None
        self.notify: Callable[[], None] | None = None
        endpoint.notify = self._wake

    def __repr__(self) -> str:
        return f"<UdpPort {self._endpoint!r}>"

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel: the first of our addresses when it has several."""
        return self._endpoint.local

    @property
    def dropped(self) -> int:
        """Datagrams that came and found its queue full."""
        return self._endpoint.dropped

    def send_nowait(self, payload: bytes, address: IPAddress, port: int) -> bool:
        """Queue one datagram; False when too many wait already and it was dropped. See TunnelUdpPort."""
        self._check()
        self._judge(address)
        if not 0 < port < 65536:
            raise LocalProtocolError(f"{port} is no UDP port", layer="udp")
        taken = self._endpoint.send_to(payload, (address, port))
        self._pump.flush()
        return taken

    async def send_to(self, payload: bytes, address: IPAddress, port: int) -> None:
        """Do what send_nowait() does, and let others run."""
        await trio.lowlevel.checkpoint()
        self.send_nowait(payload, address, port)

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next payload and who sent it, None when there is none."""
        self._check()
        received = self._endpoint.receive_from()
        if received is None:
            return None
        payload, (address, port) = received
        return payload, address, port

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next payload and who sent it. Raises TunnelDown, or trio.ClosedResourceError after close()."""
        await trio.lowlevel.checkpoint()
        while (received := self.receive_nowait()) is None:
            await self._lot.park()
        return received

    def close(self) -> None:
        """Close it; waiting receivers get trio.ClosedResourceError."""
        if not self._closed:
            self._closed = True
            self._endpoint.notify = None
            self._endpoint.close()
            self._lot.unpark_all()

    def _wake(self) -> None:
        errors = self._endpoint.errors
        while errors:
            error, (address, port) = errors.popleft()
            self.icmp_errors += 1
            if self.on_error is not None:
                self.on_error(error, address, port)
        self._lot.unpark_all()
        if self.notify is not None:
            self.notify()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._endpoint.closed:
            raise TunnelDown("the tunnel of this UDP port is gone") from self._endpoint.error


class UdpAcceptor:
    """A UDP port of the stack that is open to all peers: for servers inside the tunnel."""

    def __init__(self, endpoint: UdpEndpoint, pump: Pump) -> None:
        self._endpoint = endpoint
        self._pump = pump
        self._lot = trio.lowlevel.ParkingLot()
        endpoint.notify = self._wake

    async def receive_from(self) -> tuple[bytes, SocketAddress]:
        """Return the next payload and where it came from. Raises trio.ClosedResourceError when the stack has ended."""
        await trio.lowlevel.checkpoint()
        while True:
            received = self._endpoint.receive_from()
            if received is not None:
                return received
            if self._endpoint.closed:
                raise trio.ClosedResourceError
            await self._lot.park()

    async def send_to(self, payload: bytes, remote: SocketAddress) -> None:
        """Send one datagram."""
        await trio.lowlevel.checkpoint()
        if self._endpoint.closed:
            raise trio.ClosedResourceError
        self._endpoint.send_to(payload, remote)
        self._pump.flush()

    def _wake(self) -> None:
        self._lot.unpark_all()
