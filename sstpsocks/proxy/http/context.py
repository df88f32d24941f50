"""What serving HTTP needs to know of a connection and the port that accepted it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from ...tunnel.network import IPAddress, TunnelStream


class Outlet(Protocol):
    """Where connections are opened: a Dialer, or what chooses one."""

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect without waiting for anything; None when that takes open_tcp_stream()."""
        ...

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect. Raises a DialError."""
        ...


class Users(Protocol):
    """Who may use the port."""

    @property
    def required(self) -> bool:
        """Whether clients must log in."""
        ...

    def check(self, username: bytes, password: bytes) -> bool:
        """Tell whether both are right."""
        ...


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


class HttpContext(Protocol):
    """What is to be known of a connection to serve it."""

    @property
    def number(self) -> int:
        """Of the connection, for the log."""
        ...

    @property
    def outlet(self) -> Outlet:
        """Where its requests go."""
        ...

    @property
    def users(self) -> Users:
        """Who may send them."""
        ...

    @property
    def nursery(self) -> trio.Nursery:
        """For tasks that live no longer than the port."""
        ...

    @property
    def dial_timeout(self) -> float | None:
        """Seconds to open a connection, None for as long as the tunnel's own limits."""
        ...

    @property
    def served(self) -> bool:
        """False: there are too many connections, and the client is to be told so."""
        ...

    @property
    def pages(self) -> Callable[[str], Page | None]:
        """The pages by path."""
        ...

    def forget_overdue(self) -> None:
        """The client has said what it wants."""
        ...
