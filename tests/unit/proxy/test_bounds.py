"""The bounds of the port: in all, for each client, and of files; who comes beyond is told so in its own protocol."""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing

from sstpsocks.dns.resolver import Resolver
from sstpsocks.proxy import port as port_module
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.port import ProxyPort
from sstpsocks.proxy.users import NOBODY_ASKED, Users
from tests.helpers.fake_network import FakeNetwork, echo
from tests.helpers.socks_client import SocksClient

if sys.platform == "linux":
    import resource

WEB = "10.0.0.1"
USERS = Users([("alice", "secret"), ("bob", "other")])
GENERAL_FAILURE = 1


@pytest.fixture
async def web(network: FakeNetwork) -> FakeNetwork:
    network.add(WEB, 80, echo)
    return network


@asynccontextmanager
async def serving(
    network: FakeNetwork, *, users: Users = NOBODY_ASKED, most: int = 100, of_each: int | None = None
) -> AsyncIterator[tuple[ProxyPort, int]]:
    port = ProxyPort(Dialer(network, Resolver(network)), users=users, max_connections=most, max_per_client=of_each)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(port.serve, listeners)
            await trio.testing.wait_all_tasks_blocked()
            yield port, listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()
    assert (port.active, port.refusing) == (0, 0)


async def asked_as(port: int, name: str, password: str, held: AsyncExitStack) -> int:
    """Log in by SOCKS5, ask for WEB, and return the reply."""
    client = await held.enter_async_context(await SocksClient.open(port))
    await client.send(b"\x05\x01\x02")
    assert await client.read(2) == b"\x05\x02"
    await client.send(b"\x01" + b"".join(bytes((len(text),)) + text.encode() for text in (name, password)))
    assert await client.read(2) == b"\x01\x00"
    await client.request(WEB)
    return (await client.read(10))[1]


async def http_status(port: int, login: str = "") -> int:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        field = f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n" if login else ""
        await stream.send_all(f"CONNECT {WEB}:80 HTTP/1.1\r\nHost: {WEB}:80\r\n{field}\r\n".encode())
        return int((await stream.receive_some(4096)).split(b" ")[1])


async def test_one_client_has_no_more_than_its_share(web: FakeNetwork) -> None:
    async with serving(web, of_each=2) as (port, number), AsyncExitStack() as held:
        for _ in range(2):
            client = await held.enter_async_context(await SocksClient.open(number))
            assert await client.connect(WEB) == 0
        assert await http_status(number) == 503
        async with await SocksClient.open(number) as refused:
            assert await refused.connect(WEB) == GENERAL_FAILURE
        assert port.refused_for_client == 2
        await held.aclose()
        await trio.sleep(0.05)
        assert await http_status(number) == 200


async def test_who_logs_in_has_a_share_by_that_name(web: FakeNetwork) -> None:
    async with serving(web, users=USERS, of_each=1) as (port, number), AsyncExitStack() as held:
        assert await asked_as(number, "alice", "secret", held) == 0
        assert await asked_as(number, "alice", "secret", held) == GENERAL_FAILURE
        assert await asked_as(number, "bob", "other", held) == 0
        assert await http_status(number, "alice:secret") == 503
        assert await http_status(number, "alice:wrong") == 407
        assert port.refused_for_client == 2
        await held.aclose()
        await trio.sleep(0.05)
        assert await http_status(number, "alice:secret") == 200


async def test_clients_are_told_apart_by_their_user_where_the_system_tells(
    web: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = iter([1001, 1001, 1002])
    monkeypatch.setattr("sstpsocks.proxy.per_client.peer_user", lambda _connection: next(users))
    async with serving(web, of_each=1) as (_port, number), AsyncExitStack() as held:
        replies = []
        for _ in range(3):
            client = await held.enter_async_context(await SocksClient.open(number))
            replies.append(await client.connect(WEB))
        assert replies == [0, GENERAL_FAILURE, 0]


async def test_a_client_with_very_many_connections_does_not_make_the_others_wait(
    web: FakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "MAX_REFUSERS", 2)
    greedy = True
    monkeypatch.setattr("sstpsocks.proxy.per_client.peer_user", lambda _connection: 1001 if greedy else 1002)
    async with serving(web, of_each=1) as (port, number), AsyncExitStack() as held:
        for _ in range(10):  # one is served, two have still to say something, the rest is cut
            client = held.enter_context(socket.socket())
            client.connect(("127.0.0.1", number))
        await trio.sleep(0.05)
        greedy = False
        async with await SocksClient.open(number) as other:
            assert await other.connect(WEB) == 0
        assert port.refused_for_client == port.refused == 9
        assert port.refusing == 2


async def test_refusals_for_want_of_a_place_are_counted(web: FakeNetwork) -> None:
    async with serving(web, most=1) as (port, number), AsyncExitStack() as held:
        client = await held.enter_async_context(await SocksClient.open(number))
        assert await client.connect(WEB) == 0
        assert await http_status(number) == 503
        assert (port.refused_for_connections, port.refused_for_client) == (1, 0)
        assert port.refused == 1


def fill(descriptors: list[int]) -> None:
    """Open files until no more can be."""
    while True:
        try:
            descriptors.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return


def limit_files(most: int) -> int:
    """Let this process open so many files, and return how many it could before."""
    before = 0
    if sys.platform == "linux":
        before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return before


@contextmanager
def no_more_files() -> Iterator[None]:
    """As if this process could open no more files than it has; those closed within make room."""
    before = limit_files(max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
    filled: list[int] = []
    try:
        fill(filled)
        yield
    finally:
        limit_files(before)
        for descriptor in filled:
            os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_without_free_files_clients_are_told_so_one_after_the_other(web: FakeNetwork) -> None:
    async with serving(web) as (port, number):
        clients = [socket.socket() for _ in range(3)]
        try:
            with no_more_files():
                for client in clients:
                    client.connect(("127.0.0.1", number))
                    client.sendall(b"\x05\x01\x00" + b"\x05\x01\x00\x01" + bytes((10, 0, 0, 1)) + b"\x00\x50")
                for client in clients:
                    client.settimeout(5)
                    answer = b""
                    while more := await trio.to_thread.run_sync(client.recv, 100):
                        answer += more
                    assert answer[:4] == b"\x05\x00\x05\x01"
            assert port.refused_for_files == port.refused == 3
            assert web.streams == []
        finally:
            for client in clients:
                client.close()
        # Once there are files again all is as before.
        async with await SocksClient.open(number) as later:
            assert await later.connect(WEB) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_port_without_files_does_not_spin(web: FakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sstpsocks.proxy.spare_file.SpareFile.spend", lambda _self: False)
    tries = 0
    original = ProxyPort._accept_waiting

    def counted(self: ProxyPort, *arguments: object) -> None:
        nonlocal tries
        tries += 1
        original(self, *arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(ProxyPort, "_accept_waiting", counted)
    async with serving(web) as (_port, number):
        client = socket.socket()
        with client:
            with no_more_files():
                client.connect(("127.0.0.1", number))
                await trio.sleep(0.5)
            assert 2 <= tries <= 10
            async with await SocksClient.open(number) as later:
                assert await later.connect(WEB) == 0
