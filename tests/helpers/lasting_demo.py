"""A demo site whose intranet outlives its connections, as the networks behind real servers do."""

from __future__ import annotations

import socket

import pytest
import trio

from sstpsocks.demo import server as server_module
from sstpsocks.demo.intranet import serve_intranet
from sstpsocks.net.stack import Stack
from sstpsocks.tunnel.driver import Driver
from sstpsocks.tunnel.transport import SocketTransport
from tests.helpers.demo_site import DemoSite


class _Turns:
    """Whichever driver there is."""

    def __init__(self) -> None:
        self.driver: Driver | None = None

    def now(self) -> float:
        return trio.current_time()

    def flush(self) -> None:
        if self.driver is not None:
            self.driver.flush()


class LastingIntranet:
    """Takes the place of the demo server's own, for the one client of the site."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._turns = _Turns()
        self._stack: Stack | None = None
        monkeypatch.setattr(server_module, "Stack", self._make_stack)
        monkeypatch.setattr(server_module, "serve_intranet", self._serve)

    def _make_stack(self, *arguments: object, **more: object) -> Stack:
        if self._stack is None:
            self._stack = Stack(*arguments, **more)  # type: ignore[arg-type]  # as the demo server gives them
        return self._stack

    async def _nothing_more(self) -> None:
        await trio.sleep_forever()

    def _serve(self, stack: Stack, driver: Driver) -> object:
        if self._turns.driver is None:
            services = serve_intranet(stack, self._turns)
            self._nursery.start_soon(lambda: services)
        self._turns.driver = driver
        return self._nothing_more()


def cut(site: DemoSite) -> None:
    """Break the connections of all clients, without a farewell."""
    for driver in site.server._drivers:
        transport = driver._transport
        assert isinstance(transport, SocketTransport)
        transport._sock.shutdown(socket.SHUT_RDWR)
