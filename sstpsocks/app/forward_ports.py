"""The forwards of the command: their sockets opened before dialling, served as long as the tunnel is wanted."""

from __future__ import annotations

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

    async def open(self) -> None:
        """Listen for the local ones. Raises ConfigError; what is open by then is for aclose()."""
        for forward, address in self._settings.local:
            opened = await open_all([address], open_to_all=True)
            self._listeners += opened
            self._listeners.files += opened.files
            self._ports.append(LocalPort(forward, tuple(opened)))

    async def serve(self, outlet: Outlet, listen: ListenSettings) -> None:
        """Serve until cancelled. Raises SstpsocksError when a port inside the tunnel cannot be opened."""
        if self._settings:
            forwards = Forwards(outlet, max_connections=listen.max_connections, only_own_user=listen.same_user)
            await forwards.serve(self._ports, self._settings.remote)

    def remove_files(self) -> None:
        """Remove the files of Unix sockets; enough for a program that ends here and now."""
        self._listeners.remove_files()

    async def aclose(self) -> None:
        """Close everything."""
        await self._listeners.aclose()
