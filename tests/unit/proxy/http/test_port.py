"""HTTP beside SOCKS on one port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.dns.resolver import Resolver
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.proxy.users import Users
from tests.helpers.fake_network import FakeNetwork, echo
from tests.helpers.socks_client import SocksClient

WEB = "10.0.0.1"
CONNECT = b"CONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@asynccontextmanager
async def listening(network: FakeNetwork, port: ProxyPort) -> AsyncIterator[int]:
    network.add(WEB, 80, echo)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(port.serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()
    assert (port.active, port.refusing) == (0, 0)


async def test_the_first_byte_tells_http_from_socks(network: FakeNetwork) -> None:
    port = ProxyPort(Dialer(network, Resolver(network)))
    async with listening(network, port) as number:
        async with await SocksClient.open(number) as client:
            assert await client.connect(WEB) == 0
        async with await SocksClient.open(number) as client:
            await client.send(CONNECT + b"hello")
            await client.stream.send_eof()
            assert await client.read_all() == ESTABLISHED + b"hello"


async def test_users_are_those_of_socks(network: FakeNetwork) -> None:
    port = ProxyPort(Dialer(network, Resolver(network)), users=Users([("bob", "b"), ("alice", "secret")]))
    async with listening(network, port) as number:
        async with await SocksClient.open(number) as client:
            await client.send(CONNECT)
            assert b" 407 " in await client.read_all()
        async with await SocksClient.open(number) as client:
            await client.send(CONNECT[:-2] + b"Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n")
            assert await client.read(len(ESTABLISHED)) == ESTABLISHED


@pytest.mark.parametrize("said", [b"G", b"GET http://web.test/ HTTP/1.1\r\n", b"CONNECT web.test:1 HTTP/1.1\r\nX: "])
async def test_a_client_that_does_not_go_on_is_cut(network: FakeNetwork, clock: MockClock, said: bytes) -> None:
    port = ProxyPort(Dialer(network, Resolver(network)))
    async with listening(network, port) as number, await SocksClient.open(number) as client:
        await client.send(said)
        started = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await client.read_all()
        assert trio.current_time() - started == pytest.approx(10, abs=0.5)


async def test_a_long_exchange_is_not_cut(network: FakeNetwork, clock: MockClock) -> None:
    port = ProxyPort(Dialer(network, Resolver(network)))
    async with listening(network, port) as number, await SocksClient.open(number) as client:
        await client.send(CONNECT)
        await client.read(len(ESTABLISHED))
        await trio.sleep(100)
        await client.send(b"hello")
        assert await client.read(5) == b"hello"


async def test_beyond_the_cap_http_clients_are_told_so(network: FakeNetwork) -> None:
    port = ProxyPort(Dialer(network, Resolver(network)), max_connections=1)
    async with listening(network, port) as number, await SocksClient.open(number) as first:
        await first.send(CONNECT)
        await first.read(len(ESTABLISHED))
        async with await SocksClient.open(number) as second:
            await second.send(CONNECT)
            assert b" 503 " in await second.read_all()
