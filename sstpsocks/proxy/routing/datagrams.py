"""Datagrams by the rules: one UDP socket in front of those of several tunnels, each opened when it is first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from ...errors import TunnelDown

if TYPE_CHECKING:
    from ...errors import DialError
    from ...tunnel.network import ErrorObserver, IPAddress
    from ..outlet import Datagrams, Outlet

KnownWay = Callable[["str | IPAddress", int], "tuple[Outlet, str | IPAddress] | None"]
"""The way to a host and what to ask it for, None when a name must be looked up to tell. Raises a DialError."""
FoundWay = Callable[["str | IPAddress", int], "Awaitable[tuple[Outlet, str | IPAddress]]"]
"""The same, with the look-up."""


class RoutedDatagrams:
    """Sends each datagram the way that the rules say; implements Datagrams.

    A tunnel that is lost takes its own socket with it and no other: the next datagram that goes its way opens one in
    the tunnel that came back.
    """

    def __init__(self, known: KnownWay, found: FoundWay) -> None:
        self._known = known
        self._found = found
        self._ways: dict[Outlet, Datagrams] = {}
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        self.notify: Callable[[], None] | None = None
        self.on_error: ErrorObserver | None = None

    def __repr__(self) -> str:
        return f"<RoutedDatagrams {len(self._ways)} ways>"

    def send_nowait(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress | None:
        """Send one datagram and return where to; None when its name has to be looked up. Raises a DialError."""
        known = self._known(host, port)
        if known is None:
            return None
        outlet, target = known
        try:
            return self._way(outlet).send_nowait(payload, target, port)
        except TunnelDown:
            self._forget(outlet)
            raise

    async def send_to(self, payload: bytes, host: str | IPAddress, port: int) -> IPAddress:
        """Send one datagram and return where to. Raises a DialError."""
        known = self._known(host, port)
        outlet, target = known if known is not None else await self._found(host, port)
        try:
            return await self._way(outlet).send_to(payload, target, port)
        except TunnelDown:
            self._forget(outlet)
            raise

    def receive_nowait(self) -> tuple[bytes, IPAddress, int] | None:
        """Return the next datagram and who sent it, None when there is none."""
        if self._closed:
            raise trio.ClosedResourceError
        for outlet, datagrams in list(self._ways.items()):
            received = self._receive(outlet, datagrams)
            if received is not None:
                # The others first next time: one busy tunnel must not keep the rest waiting.
                self._ways[outlet] = self._ways.pop(outlet)
                return received
        return None

    async def receive_from(self) -> tuple[bytes, IPAddress, int]:
        """Return the next datagram and who sent it. Raises ClosedResourceError after close()."""
        await trio.lowlevel.checkpoint()
        while (received := self.receive_nowait()) is None:
            await self._lot.park()
        return received

    def close(self) -> None:
        """Close it on all ways."""
        self._closed = True
        for outlet in list(self._ways):
            self._forget(outlet)
        self._lot.unpark_all()

    def _way(self, outlet: Outlet) -> Datagrams:
        if self._closed:
            raise trio.ClosedResourceError
        datagrams = self._ways.get(outlet)
        if datagrams is None:
            datagrams = self._ways[outlet] = outlet.open_datagrams()
            datagrams.notify = self._wake
            datagrams.on_error = self._tell
        return datagrams

    def _receive(self, outlet: Outlet, datagrams: Datagrams) -> tuple[bytes, IPAddress, int] | None:
        try:
            return datagrams.receive_nowait()
        except TunnelDown:
            self._forget(outlet)
            return None

    def _forget(self, outlet: Outlet) -> None:
        datagrams = self._ways.pop(outlet, None)
        if datagrams is not None:
            datagrams.notify = datagrams.on_error = None
            datagrams.close()

    def _wake(self) -> None:
        self._lot.unpark_all()
        if self.notify is not None:
            self.notify()

    def _tell(self, error: DialError, address: IPAddress, port: int) -> None:
        if self.on_error is not None:
            self.on_error(error, address, port)
