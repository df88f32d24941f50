"""Datagrams by name or address: a UDP port of the tunnel, in front of it what a Dialer says of destinations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tunnel.network import ErrorObserver, IPAddress, SocketAddress, TunnelUdpPort

KnownAddress = Callable[["str | IPAddress", int], "IPAddress | None"]
"""Where a datagram goes, None when a name must be looked up for that. Raises a DialError."""
FoundAddress = Callable[["str | IPAddress", int], "Awaitable[IPAddress]"]
"""The same, with the look-up."""


class DialledDatagrams:
    """A UDP port whose destinations are judged and looked up as those of connections are; implements Datagrams."""

    def __init__(self, port: TunnelUdpPort, known: KnownAddress, found: FoundAddress) -> None:
        self._port = port
        self._known = known
        self._found = found

    def __repr__(self) -> str:
        return f"<DialledDatagrams {self._port!r}>"

    @property
    def local_address(self) -> SocketAddress:
        """Our address and port in the tunnel: the first of our addresses when it has several."""
        return self._port.local_address

    @property
    def icmp_errors(self) -> int:
        """ICMP errors that came about its datagrams."""
        return self._port.icmp_errors

    @property
    def dropped(self) -> int:
        """Datagrams that came and found its queue full."""
        return self._port.dropped

    @property
    def notify(self) -> Callable[[], None] | None:
        """Called when there may be something to receive, or the tunnel was lost."""
        return self._port.notify

    @notify.setter
    def notify(self, callback: Callable[[], None] | None) -> None:
        self._port.notify = callback

    @property
    def on_error(self) -> ErrorObserver | None:
        """Called with each ICMP error."""
        return self._port.on_error

    @on_error.setter
    def on_error(self, observer: ErrorObserver | None) -> None:
        self._port.on_error = observer

    def send_nowait(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress | None:
        """Send one datagram and return where to; None when its name has to be looked up. Raises a DialError."""
        address = self._known(host, port)
        if address is not None:
            self._port.send_nowait(payload, address, port)
        return address

    async def send_to(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress:
        """Send one datagram and return where to. Raises a DialError."""
        address = await self._found(host, port)
        await self._port.send_to(payload, address, port)
        return address

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next datagram and who sent it, None when there is none. Raises TunnelDown."""
        return self._port.receive_nowait()

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next datagram and who sent it. Raises TunnelDown, ClosedResourceError after close()."""
        return await self._port.receive_from()

    def close(self) -> None:
        """Close it."""
        self._port.close()
