"""What the port that accepted a connection tells whoever serves it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio

    from .outlet import Outlet
    from .overdue import Overdue
    from .users import Login


class Page(Protocol):
    """What the port itself answers to a web client."""

    @property
    def content_type(self) -> str:
        """Its media type."""
        ...

    @property
    def body(self) -> bytes:
        """The whole of it."""
        ...


Pages = Callable[[str, str], Page | None]
"""Finds a page by its path and by how this port was named, empty where that says nothing; None: there is none."""


def no_pages(_path: str, _asked: str) -> Page | None:
    """Offer no page."""
    return None


@dataclass(slots=True, eq=False)
class ConnectionContext:
    """One accepted connection and the port behind it."""

    number: int
    """For log lines."""
    outlet: Outlet
    """Where its requests go."""
    users: Login
    nursery: trio.Nursery
    """For tasks that live no longer than the port."""
    dial_timeout: float | None
    """Seconds that opening a connection may take, names included; None: as long as the tunnel's own limits."""
    served: bool
    """False: the connection is beyond the cap, and the client is to be told so in its own protocol."""
    listen_address: tuple[str, int] | str
    """Where it was accepted: address and port, or the path of a Unix socket."""
    pages: Pages
    _client: socket.socket
    _overdue: Overdue
    awaited: bool = True
    """Whether the client has yet to say what it wants; it is cut when that takes too long."""

    def refuse(self) -> None:
        """Have the client told that it has too many connections, although it was to be served."""
        self.served = False

    def forget_overdue(self) -> None:
        """The client has said what it wants."""
        self.awaited = False
        self._overdue.forget(self._client)
