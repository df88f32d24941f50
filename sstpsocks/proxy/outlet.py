"""What every front end of the proxy opens connections through: one tunnel, or rules that choose between several.

Front ends hold an :class:`Outlet` and never a Network, so that what a rule forbids cannot be reached by any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tunnel.network import ErrorObserver, IPAddress, TunnelListener, TunnelStream


class Outlet(Protocol):
    """Opens connections by name or address, inside the tunnel or wherever the user's rules say."""

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect without waiting for anything; None when that takes open_tcp_stream().

        Raises a DialError.
        """
        ...

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect to ``host``, a name or an address, at ``port``. Raises a DialError; TunnelDown without a tunnel."""
        ...

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name. Raises NameNotFound, NameLookupFailed or another DialError."""
        ...

    def open_datagrams(self) -> Datagrams:
        """Open a UDP socket that is connected to nobody. Raises a DialError; TunnelDown without a tunnel."""
        ...

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Take TCP connections from inside the tunnel at ``port``, 0 for a free one.

        ``host`` is who is expected, None or 0.0.0.0 for anybody; it decides which tunnel listens, and with which of our
        addresses, but who connects is for the caller to look at. Raises a DialError, or LocalProtocolError when the
        port is in use.
        """
        ...


@runtime_checkable
class PacketOutlet(Protocol):
    """What an outlet besides is that leads into networks of packets, not to connections alone."""

    def together(self, action: Callable[[], None]) -> None:
        """Run ``action``, which may send on many connections, and send all of it at once behind it."""
        ...

    def has_ipv6(self) -> bool:
        """Whether IPv6 leads anywhere now."""
        ...

    async def ping(self, address: IPAddress, size: int) -> float:
        """Send an echo request of ``size`` octets, IP header included; return the seconds until its reply.

        Raises a DialError.
        """
        ...


class Datagrams(Protocol):
    """A UDP socket that is connected to nobody: each datagram names its peer."""

    notify: Callable[[], None] | None
    """Called when receive_nowait() may have something, or the tunnel was lost; must neither block nor raise."""
    on_error: ErrorObserver | None
    """Called with each ICMP error about a datagram that was sent here; must neither block nor raise."""

    def send_nowait(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress | None:
        """Send one datagram, or drop it when too many wait, and return where to; None when that takes send_to().

        It does for a name that has to be looked up first. Raises a DialError.
        """
        ...

    async def send_to(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress:
        """Send one datagram and return where to; a name is looked up as for connections. Raises a DialError."""
        ...

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next datagram's payload and who sent it, None when there is none. Raises as receive_from()."""
        ...

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next datagram's payload and who sent it. Raises TunnelDown when the tunnel went away."""
        ...

    def close(self) -> None:
        """Close it; pending receives raise trio.ClosedResourceError."""
        ...
