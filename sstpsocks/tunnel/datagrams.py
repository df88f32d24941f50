"""UDP sockets of the stack for trio programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import TunnelDown
from .network import SocketAddress
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
