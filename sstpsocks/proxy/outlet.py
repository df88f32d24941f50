"""What every front end of the proxy opens connections through: one tunnel, or rules that choose between several.

Front ends hold an :class:`Outlet` and never a Network, so that what a rule forbids cannot be reached by any of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..tunnel.network import IPAddress, TunnelStream


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


class Datagrams(Protocol):
    """A UDP socket that is connected to nobody: each datagram names its peer."""

    async def send_to(self, payload: bytes, host: str | IPAddress, port: int) -> None:
        """Send one datagram; a name is looked up by the rules that hold for connections. Raises a DialError."""
        ...

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next datagram's payload and who sent it. Raises TunnelDown when the tunnel went away."""
        ...

    def close(self) -> None:
        """Close it; pending receives raise trio.ClosedResourceError."""
        ...
