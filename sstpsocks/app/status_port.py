"""The status port of a run: its sockets, opened before dialling, and what is shown there. Without one: nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from ..proxy.listen import Listeners, name_of, open_all
from .messages import UNIX, Display
from .status_config import StatusSettings

if TYPE_CHECKING:
    from .members import Member
    from .status.sight import Sight


class StatusPort:
    """What a run has to do with it."""

    def __init__(self, settings: StatusSettings, *, only_own_user: bool = False) -> None:
        """``only_own_user``: cut off other users of this machine (Linux)."""
        self._settings = settings
        self._only_own_user = only_own_user
        self._listeners = Listeners()
        self._scope = trio.CancelScope()
        self._sight: Sight | None = None
        self.places: tuple[str, ...] = ()
        """Where it is."""
        if settings.addresses:
            from .status.sight import Sight  # with its libraries, for those who want it

            self._sight = Sight()

    def __repr__(self) -> str:
        return f"<StatusPort {', '.join(self.places) or 'nowhere'}>"

    def display(self, display: Display) -> Display:
        """Return a display whose events are shown, too."""
        return self._sight.display(display) if self._sight is not None else display

    async def open(self, display: Display) -> None:
        """Listen, and say where. Raises ConfigError."""
        if self._sight is not None:
            settings = self._settings
            self._listeners = await open_all(settings.addresses, open_to_all=settings.open_to_all)
            self.places = tuple(map(name_of, self._listeners))
            for place in self.places:
                url = f"{place}, at /" if place.startswith(UNIX) else f"http://{place}/"
                display.note(f"status page: {url}")

    def show(self, members: Iterable[Member]) -> None:
        """Show these tunnels, and the ports that they have of their own."""
        if self._sight is not None:
            for member in members:
                self._sight.add_tunnel(member)
                self.show_port("proxy", member.places, member.listeners, tunnel=member.name)

    def show_port(
        self, kind: str, places: Sequence[str], listeners: Listeners | None = None, *, tunnel: str = ""
    ) -> None:
        """Show a port, if it is anywhere."""
        if self._sight is not None:
            self._sight.add_port(kind, places, listeners, tunnel=tunnel)

    async def serve(self) -> None:
        """Answer until end()."""
        if self._sight is not None:
            with self._scope:
                await self._sight.serve(self._settings, self._listeners, only_own_user=self._only_own_user)

    def end(self) -> None:
        """Have serve() return."""
        self._scope.cancel()

    def remove_files(self) -> None:
        """Remove the files of Unix sockets; enough for a program that ends here and now."""
        self._listeners.remove_files()

    async def aclose(self) -> None:
        """Close everything."""
        await self._listeners.aclose()
