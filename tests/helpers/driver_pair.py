"""Two drivers with real TLS engines, links and stacks over a transport in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConnectionLost
from sstpsocks.link import Link, LinkDown, LinkEvent, LinkFailing, LinkUp
from sstpsocks.net.stack import Stack
from sstpsocks.tunnel.driver import Driver
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.streams import TcpAcceptor, TcpStream
from sstpsocks.tunnel.taps import PcapTap
from sstpsocks.tunnel.tls import TlsEngine
from tests.helpers.certificates import Issued
from tests.helpers.link_pair import SERVER_ADDRESS, make_client, make_server
from tests.helpers.memory_transport import MemoryTransport, transport_pair
from tests.helpers.tls import client_engine, server_engine, shake_hands


class Side:
    """One end: a driver and what an owner does for it."""

    def __init__(self, link: Link, engine: TlsEngine, transport: MemoryTransport, tap: PcapTap | None = None) -> None:
        self.link = link
        self.engine = engine
        self.transport = transport
        self.events: list[LinkEvent] = []
        self.up = trio.Event()
        self.ended = trio.Event()
        self.driver = Driver(transport, engine, link, on_event=self._on_event, tap=tap)

    @property
    def stack(self) -> Stack:
        assert self.driver.stack is not None
        return self.driver.stack

    @property
    def down(self) -> LinkDown:
        """The LinkDown event, which must be the last one."""
        event = self.events[-1]
        assert isinstance(event, LinkDown)
        return event

    async def run(self) -> None:
        try:
            await self.driver.run()
        finally:
            self.ended.set()

    def _on_event(self, event: LinkEvent) -> None:
        self.events.append(event)
        if isinstance(event, LinkUp):
            self.driver.stack = Stack(event.local, mtu=1400, entropy=SeededEntropy(str(event.local)))
            self.up.set()
        elif isinstance(event, LinkFailing | LinkDown) and self.driver.stack is not None:
            self.driver.stack.abort_all(ConnectionLost("the tunnel ended"), self.driver.now())


class DriverPair:
    """A client and a server; the TLS handshake is done."""

    def __init__(self, issued: Issued, ca_file: str, *, tap: PcapTap | None = None) -> None:
        transports = transport_pair()
        trust = TrustSettings(server_name="vpn.example.com", ca_file=ca_file)
        engines = client_engine(trust), server_engine(issued)
        shake_hands(*engines)
        self.client = Side(make_client(), engines[0], transports[0], tap)
        self.server = Side(make_server(), engines[1], transports[1])

    async def connect(self, port: int = 80) -> tuple[TcpStream, TcpStream]:
        """Return the client's and the server's end of a new TCP connection."""
        acceptor = TcpAcceptor(self.server.stack.listen_tcp(port), self.server.driver)
        driver = self.client.driver
        stream = TcpStream(self.client.stack.connect_tcp(SERVER_ADDRESS, port, driver.now()), driver)
        driver.flush()
        await stream.wait_connected()
        accepted = await acceptor.accept()
        acceptor.close()
        return stream, accepted


@asynccontextmanager
async def running_drivers(issued: Issued, ca_file: str, *, tap: PcapTap | None = None) -> AsyncIterator[DriverPair]:
    """A pair that is up and runs until the block is left."""
    pair = DriverPair(issued, ca_file, tap=tap)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.server.run)
        nursery.start_soon(pair.client.run)
        await pair.client.up.wait()
        await pair.server.up.wait()
        yield pair
        nursery.cancel_scope.cancel()
