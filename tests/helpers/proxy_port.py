"""The local port on loopback, in front of a network that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from sstpsocks.dns.resolver import Resolver
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.proxy.users import NOBODY_ASKED, Users
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.socks_client import SocksClient

WEB = "10.0.0.1"
"""Where ``web.test`` is and echoes."""


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until the condition holds; pytest's time-out is the limit."""
    while not condition():  # noqa: ASYNC110  # what is waited for has no event
        await trio.sleep(0.01)


class Served:
    """A port that is served."""

    def __init__(self, server: ProxyPort, port: int, scope: trio.CancelScope) -> None:
        self.server = server
        self.port = port
        self.scope = scope

    async def open(self) -> SocksClient:
        return await SocksClient.open(self.port)

    async def until_idle(self) -> None:
        await until(lambda: not self.server.active and not self.server.refusing)


@asynccontextmanager
async def serving(
    network: FakeNetwork,
    users: Users = NOBODY_ASKED,
    *,
    credentials: tuple[str, str] | None = None,
    max_connections: int = 100,
    dial_timeout: float | None = None,
) -> AsyncIterator[Served]:
    """Serve a port; at the end nobody may be served any more."""
    server = ProxyPort(
        Dialer(network, Resolver(network)),
        users=Users([credentials]) if credentials else users,
        max_connections=max_connections,
        dial_timeout=dial_timeout,
    )
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(server.serve, listeners)
        yield Served(server, listeners[0].socket.getsockname()[1], nursery.cancel_scope)
        nursery.cancel_scope.cancel()
    assert (server.active, server.refusing) == (0, 0)
