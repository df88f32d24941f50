"""The forwards of the command: their sockets opened before dialling, served as long as the tunnel is wanted."""

from __future__ import annotations

import socket

import trio

from ..base.forward import Forward
from ..base.listen_address import TcpAddress
from ..proxy.forward.datagrams import DatagramForward
from ..proxy.forward.listen import open_datagram_ports
from ..proxy.forward.serve import Forwards, LocalPort
from ..proxy.listen import Listeners, open_all
from ..proxy.outlet import Outlet
from .config import ListenSettings
from .forward_config import ForwardSettings


class ForwardPorts:
    """The forwards and their sockets."""

    def __init__(self, settings: ForwardSettings) -> None:
        self._settings = settings
        self._listeners = Listeners()
        self._ports: list[LocalPort] = []
        self._datagram_ports: list[tuple[Forward, socket.socket]] = []

    async def open(self) -> None:
        """Listen for the local ones. Raises ConfigError; what is open by then is for aclose()."""
        for forward, address in self._settings.local:
            if forward.udp and isinstance(address, TcpAddress):
                opened_ports = await open_datagram_ports(address.host, address.port)
                self._datagram_ports += [(forward, port) for port in opened_ports]
                continue
            opened = await open_all([address], open_to_all=True)
            self._listeners += opened
            self._listeners.files += opened.files
            self._ports.append(LocalPort(forward, tuple(opened)))

    async def serve(self, outlet: Outlet, listen: ListenSettings) -> None:
        """Serve until cancelled. Raises SstpsocksError when a port inside the tunnel cannot be opened."""
        if not self._settings:
            return
        most, only_own_user = listen.max_connections, listen.same_user
        async with trio.open_nursery() as nursery:
            for forward, port in self._datagram_ports:
                served = DatagramForward(forward, outlet, port, most=most, only_own_user=only_own_user)
                nursery.start_soon(served.serve)
            forwards = Forwards(outlet, max_connections=most, only_own_user=only_own_user)
            await forwards.serve(self._ports, self._settings.remote)

    def remove_files(self) -> None:
        """Remove the files of Unix sockets; enough for a program that ends here and now."""
        self._listeners.remove_files()

    async def aclose(self) -> None:
        """Close everything."""
        for _forward, port in self._datagram_ports:
            if port.fileno() >= 0:
                trio.lowlevel.notify_closing(port)
                port.close()
        await self._listeners.aclose()
