"""What the floors above see of a tunnel: a network one can open connections in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol, runtime_checkable

import trio

from ..errors import DialError

IPAddress = IPv4Address | IPv6Address
SocketAddress = tuple[IPAddress, int]
"""An address and a port."""


def is_global_ipv6(address: IPAddress) -> bool:
    """Whether it is an IPv6 address that reaches beyond the link: what makes a tunnel one with IPv6."""
    return isinstance(address, IPv6Address) and not address.is_link_local


class TunnelStream(trio.abc.HalfCloseableStream):
    """A TCP connection inside the tunnel.

    Besides trio's interface it has a non-blocking half for relays, which move data inside the driver's own
    turn instead of waking a task for every batch (docs/architecture.md, "The driver loop").
    """

    __slots__ = ()

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the handshake is done; false only after Network.begin_connect()."""

    @property
    @abstractmethod
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""

    @property
    @abstractmethod
    def remote_address(self) -> SocketAddress:
        """The target's address and port."""

    @abstractmethod
    def abort(self) -> None:
        """Send a reset and forget the connection at once."""

    @abstractmethod
    def set_readable_callback(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` from the driver's turn whenever data, the end of the stream or an error arrived.

        Also when a connection that was begun stands. It must neither block nor raise.
        """

    @abstractmethod
    def readable_pieces(self) -> list[memoryview]:
        """Return what has arrived in order and was not consumed yet, without copying."""

    @abstractmethod
    def consume(self, count: int) -> None:
        """Drop ``count`` bytes from the front of the readable data and open the window accordingly."""

    @property
    @abstractmethod
    def at_eof(self) -> bool:
        """Whether the peer has ended its direction and everything before that was consumed."""

    @property
    @abstractmethod
    def failure(self) -> Exception | None:
        """Why the connection ended abnormally, None while it did not."""

    @abstractmethod
    def send_nowait(self, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as there is room for and return how many bytes that was, 0 when full."""

    @abstractmethod
    def send_eof_nowait(self) -> None:
        """Do what send_eof() does, which never has to wait, without a checkpoint."""

    @abstractmethod
    def close_nowait(self) -> None:
        """Do what aclose() does, which never has to wait, without a checkpoint."""


class TunnelListener(Protocol):
    """A TCP socket inside the tunnel that takes connections from there."""

    async def accept(self) -> TunnelStream:
        """Return the next connection.

        Raises trio.ClosedResourceError after close(), TunnelDown when the tunnel went away.
        """
        ...

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""
        ...

    def close(self) -> None:
        """Take no more; those that were accepted go on."""
        ...


class TunnelDatagrams(Protocol):
    """A UDP socket inside the tunnel, connected to one peer."""

    async def send(self, payload: bytes) -> None:
        """Send one datagram. Raises trio.ClosedResourceError after close(), TunnelDown without a tunnel."""
        ...

    async def receive(self) -> bytes:
        """Return the payload of the next datagram.

        Raises HostUnreachable, NetworkUnreachable or ConnectionRefused when ICMP says so, TunnelDown when the tunnel
        went away.
        """
        ...

    def close(self) -> None:
        """Close it; pending receives raise trio.ClosedResourceError."""
        ...

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel."""
        ...

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address and port."""
        ...


@runtime_checkable
class PatientNetwork(Protocol):
    """A network that may come, or come back, while one waits."""

    @property
    def may_come(self) -> bool:
        """Whether wait_up() may be worth while, when the tunnel is down."""
        ...

    async def wait_up(self) -> None:
        """Wait until traffic passes, for as long as the settings say. Raises TunnelDown."""
        ...


def may_come(network: object) -> bool:
    """Whether a tunnel that is down is worth waiting for."""
    return isinstance(network, PatientNetwork) and network.may_come


async def wait_up(network: Network) -> None:
    """Wait for a tunnel that is down, where that is worth while. Raises TunnelDown when it does not come."""
    if not network.up and isinstance(network, PatientNetwork) and network.may_come:
        await network.wait_up()


ErrorObserver = Callable[[DialError, IPAddress, int], None]
"""Told what ICMP said, and about a datagram to whom."""


class TunnelUdpPort(Protocol):
    """A UDP port inside the tunnel, connected to nobody.

    When the tunnel is lost it is lost with it: every call raises TunnelDown then, also after a reconnect.
    """

    on_error: ErrorObserver | None
    """Called with each ICMP error about a datagram that was sent here; must neither block nor raise."""
    notify: Callable[[], None] | None
    """Called when receive_nowait() may have something, or the port was lost; must neither block nor raise."""

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel: the first of our addresses when it has several."""
        ...

    @property
    def icmp_errors(self) -> int:
        """ICMP errors that came about its datagrams."""
        ...

    @property
    def dropped(self) -> int:
        """Datagrams that came and found its queue full."""
        ...

    def send_nowait(self, payload: bytes, address: IPAddress, port: int) -> bool:
        """Queue one datagram; False when too many wait already and it was dropped.

        Raises NetworkUnreachable, DeniedByRule for an address of no host, TunnelDown, trio.ClosedResourceError after
        close(), LocalProtocolError for a payload of more than 65507 octets.
        """
        ...

    async def send_to(self, payload: bytes, address: IPAddress, port: int) -> None:
        """Do what send_nowait() does, and let others run."""
        ...

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next payload and who sent it, None when there is none. Raises as receive_from() does."""
        ...

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next payload and who sent it: anybody in the tunnel.

        Raises TunnelDown when the tunnel went away, trio.ClosedResourceError after close().
        """
        ...

    def close(self) -> None:
        """Close it; pending receives raise trio.ClosedResourceError."""
        ...


class Network(Protocol):
    """A tunnel that may be up or down."""

    @property
    def up(self) -> bool:
        """Whether it carries traffic now."""
        ...

    @property
    def local_addresses(self) -> tuple[IPAddress, ...]:
        """Our addresses in the tunnel; empty while it is down."""
        ...

    @property
    def dns_servers(self) -> tuple[IPAddress, ...]:
        """The name servers that the tunnel gave, in order; empty while it is down or when it gave none."""
        ...

    @property
    def search_domains(self) -> tuple[str, ...]:
        """The domains in which single-label names are looked for, in order: lower case, without the final dot."""
        ...

    async def connect_tcp(self, address: IPAddress, port: int) -> TunnelStream:
        """Open a TCP connection to an address.

        Raises a DialError: TunnelDown, NetworkUnreachable, HostUnreachable, ConnectionRefused, ConnectTimedOut or
        TooManyConnections.
        """
        ...

    def begin_connect(self, address: IPAddress, port: int) -> TunnelStream:
        """Begin to open a TCP connection to an address, and return at once.

        The stream's callback tells of the outcome: ``connected`` or ``failure``, which is an error of connect_tcp() or
        ConnectionLost. Until then it takes data already. Raises TunnelDown, NetworkUnreachable or TooManyConnections.
        """
        ...

    def open_udp(self, address: IPAddress, port: int) -> TunnelDatagrams:
        """Open a UDP socket with a random local port, connected to one peer.

        Raises TunnelDown or NetworkUnreachable.
        """
        ...


class OpenNetwork(Network, Protocol):
    """A tunnel in which one can also be reached."""

    def listen_tcp(self, port: int = 0, *, peer: IPAddress | None = None) -> TunnelListener:
        """Take TCP connections from inside the tunnel at a port of all our addresses, 0 for a random free one.

        ``peer``: who is expected, which decides which of our addresses the listener names; anybody may connect all the
        same. Raises TunnelDown, NetworkUnreachable, LocalProtocolError when the port is in use.
        """
        ...

    def open_udp_port(self, port: int = 0) -> TunnelUdpPort:
        """Open a UDP port that is connected to nobody, 0 for a random one.

        Raises TunnelDown, TooManyConnections, LocalProtocolError when the port is in use.
        """
        ...
