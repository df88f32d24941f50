"""What a line of the log is about: the tunnel, and the connection of a local program.

Whoever works for one of them says so here, and all lines that come of it carry it; tasks pass it on to their children.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TUNNEL: ContextVar[str] = ContextVar("sstpsocks_tunnel", default="")
"""The name of the tunnel; empty: none, or there is only one."""
CONNECTION: ContextVar[int] = ContextVar("sstpsocks_connection", default=0)
"""The number of the connection; 0: none."""


@contextmanager
def about_tunnel(name: str) -> Iterator[None]:
    """Have what is said inside be about the tunnel and no connection, whoever's turn it is."""
    tunnel, connection = TUNNEL.set(name), CONNECTION.set(0)
    try:
        yield
    finally:
        TUNNEL.reset(tunnel)
        CONNECTION.reset(connection)
