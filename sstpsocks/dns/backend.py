"""dnspython's input and output over the sockets of a tunnel.

dnspython builds, sends, receives and checks the messages; every byte goes through a :class:`Network`.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import TypeVar

import dns.asyncbackend
import dns.exception
import dns.inet
import trio

from ..errors import LocalProtocolError
from ..tunnel.network import IPAddress, Network, SocketAddress, TunnelDatagrams, TunnelStream

ResultT = TypeVar("ResultT")


async def _within(seconds: float | None, function: Callable[..., Awaitable[ResultT]], *args: object) -> ResultT:
    """Await ``function(*args)`` for at most ``seconds`` (None: for ever); dnspython's Timeout after that."""
    with trio.move_on_after(math.inf if seconds is None else seconds):
        return await function(*args)
    raise dns.exception.Timeout(timeout=seconds)  # type: ignore[no-untyped-call]  # dnspython's own


def _family(address: IPAddress) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _socket_tuple(address: SocketAddress) -> tuple[object, ...]:
    """Return the address as the socket module writes it, which is what dnspython compares with."""
    host, port = address
    return tuple(dns.inet.low_level_address_tuple((str(host), port), _family(host)))


class TunnelDatagramSocket(dns.asyncbackend.DatagramSocket):  # type: ignore[name-defined,misc]  # implicit re-export
    """A UDP socket of the tunnel, connected to one server."""

    def __init__(self, datagrams: TunnelDatagrams) -> None:
        super().__init__(_family(datagrams.remote_address[0]), socket.SOCK_DGRAM)
        self._datagrams = datagrams

    async def sendto(self, what: bytes, destination: object, timeout: float | None) -> int:  # noqa: ASYNC109  # dnspython's signature
        """Send one datagram; ``destination`` is the peer that the socket is connected to."""
        await _within(timeout, self._datagrams.send, what)
        return len(what)

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, tuple[object, ...]]:  # noqa: ASYNC109  # dnspython's signature
        """Return the next datagram and where it came from."""
        payload = await _within(timeout, self._datagrams.receive)
        return payload[:size], _socket_tuple(self._datagrams.remote_address)

    async def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()

    async def getpeername(self) -> tuple[object, ...]:
        """Return the server's address."""
        return _socket_tuple(self._datagrams.remote_address)

    async def getsockname(self) -> tuple[object, ...]:
        """Return our address."""
        return _socket_tuple(self._datagrams.local_address)


class TunnelStreamSocket(dns.asyncbackend.StreamSocket):  # type: ignore[name-defined,misc]  # implicit re-export
    """A TCP connection of the tunnel."""

    def __init__(self, stream: TunnelStream) -> None:
        super().__init__(_family(stream.remote_address[0]), socket.SOCK_STREAM)
        self._stream = stream

    async def sendall(self, what: bytes, timeout: float | None) -> None:  # noqa: ASYNC109  # dnspython's signature
        """Send all of ``what``."""
        await _within(timeout, self._stream.send_all, what)

    async def recv(self, size: int, timeout: float | None) -> bytes:  # noqa: ASYNC109  # dnspython's signature
        """Return up to ``size`` bytes, none at the end."""
        return bytes(await _within(timeout, self._stream.receive_some, size))

    async def close(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def getpeername(self) -> tuple[object, ...]:
        """Return the server's address."""
        return _socket_tuple(self._stream.remote_address)

    async def getsockname(self) -> tuple[object, ...]:
        """Return our address."""
        return _socket_tuple(self._stream.local_address)


class TunnelBackend(dns.asyncbackend.Backend):  # type: ignore[name-defined,misc]  # implicit re-export
    """Makes sockets inside a tunnel. Ports are the network's to choose, at random (RFC 5452 section 9.2)."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def name(self) -> str:
        """Return what dnspython calls this backend."""
        return "sstpsocks"

    def datagram_connection_required(self) -> bool:
        """UDP sockets of a tunnel have one peer, so that only its answers get in."""
        return True

    async def make_socket(
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: object = None,
        destination: tuple[str, int] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # dnspython's signature
        ssl_context: object = None,
        server_hostname: str | None = None,
    ) -> TunnelDatagramSocket | TunnelStreamSocket:
        """Return a socket connected to ``destination``.

        Raises a DialError when the tunnel cannot, dns.exception.Timeout when it takes longer than ``timeout``.
        """
        if destination is None or source is not None or ssl_context is not None:
            raise LocalProtocolError(
                "tunnel sockets are connected, choose their own port and speak no TLS", layer="dns"
            )
        address, port = ip_address(destination[0]), destination[1]
        if socktype == socket.SOCK_DGRAM:
            return self.open_datagrams(address, port)
        return TunnelStreamSocket(await _within(timeout, self._network.connect_tcp, address, port))

    def open_datagrams(self, address: IPAddress, port: int) -> TunnelDatagramSocket:
        """Return a UDP socket connected to one server. Raises TunnelDown or NetworkUnreachable."""
        return TunnelDatagramSocket(self._network.open_udp(address, port))

    async def sleep(self, interval: float) -> None:
        """Wait ``interval`` seconds."""
        await trio.sleep(interval)

    async def wait_for(self, awaitable: Awaitable[ResultT], timeout: float | None) -> ResultT:  # noqa: ASYNC109  # dnspython's signature
        """Await ``awaitable`` for at most ``timeout`` seconds."""

        async def wait() -> ResultT:
            return await awaitable

        return await _within(timeout, wait)
