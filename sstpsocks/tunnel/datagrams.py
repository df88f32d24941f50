"""UDP sockets of the stack for trio programs."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import trio

from ..errors import SstpsocksError
from .network import SocketAddress
from .streams import Pump

if TYPE_CHECKING:
    from ..net.udp import UdpEndpoint


class UdpSocket:
    """A UDP endpoint of the tunnel that is connected to one peer; implements TunnelDatagrams."""

    def __init__(self, endpoint: UdpEndpoint, remote: SocketAddress, pump: Pump) -> None:
        self._endpoint = endpoint
        self._remote = remote
        self._pump = pump
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        self._failure: SstpsocksError | None = None
        endpoint.notify = self._wake

    async def send(self, payload: bytes) -> None:
        """Send one datagram."""
        await trio.lowlevel.checkpoint()
        self._check()
        self._endpoint.send(payload)
        self._pump.flush()

    async def receive(self) -> bytes:
        """Return the payload of the next datagram; raises what ICMP reported."""
        await trio.lowlevel.checkpoint()
        while True:
            self._check()
            payload = self._endpoint.receive()
            if payload is not None:
                return payload
            if self._endpoint.error is not None:
                raise self._endpoint.error
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

    def fail(self, error: SstpsocksError) -> None:
        """Let every call raise ``error`` from now on: the tunnel is gone."""
        self._failure = error
        self._lot.unpark_all()

    def _wake(self) -> None:
        self._lot.unpark_all()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if self._failure is not None:
            raise self._failure


class UdpAcceptor:
    """A UDP port of the stack that is open to all peers: for servers inside the tunnel."""

    def __init__(self, endpoint: UdpEndpoint, pump: Pump) -> None:
        self._endpoint = endpoint
        self._pump = pump
        self._lot = trio.lowlevel.ParkingLot()
        endpoint.notify = self._wake

    async def receive_from(self) -> tuple[bytes, tuple[IPv4Address, int]]:
        """Return the next payload and where it came from. Raises trio.ClosedResourceError when the stack has ended."""
        await trio.lowlevel.checkpoint()
        while True:
            received = self._endpoint.receive_from()
            if received is not None:
                return received
            if self._endpoint.closed:
                raise trio.ClosedResourceError
            await self._lot.park()

    async def send_to(self, payload: bytes, remote: tuple[IPv4Address, int]) -> None:
        """Send one datagram."""
        await trio.lowlevel.checkpoint()
        if self._endpoint.closed:
            raise trio.ClosedResourceError
        self._endpoint.send_to(payload, remote)
        self._pump.flush()

    def _wake(self) -> None:
        self._lot.unpark_all()
