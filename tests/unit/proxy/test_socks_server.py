from __future__ import annotations

import errno
import logging
import socket

import dns.rcode
import pytest
import trio
from python_socks import ProxyError, ProxyType
from python_socks.async_.trio.v2 import Proxy
from trio.testing import MockClock, wait_all_tasks_blocked

from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    TooManyConnections,
    TunnelDown,
)
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.port import MAX_REFUSERS, ProxyPort
from sstpsocks.proxy.spare_file import SpareFile
from sstpsocks.tunnel.network import TunnelStream
from tests.helpers.fake_network import FakeNetwork, FakeTunnelStream
from tests.helpers.proxy_port import WEB, serving, until
from tests.helpers.socks_client import SocksClient

CREDENTIALS = ("alice", "secret")


# Connections


async def test_data_goes_both_ways(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.greet()
        await client.request("web.test")
        stream_address = b"\x0a\x09\x00\x02" + (40001).to_bytes(2, "big")
        assert await client.read(10) == b"\x05\x00\x00\x01" + stream_address
        await client.send(b"hello")
        assert await client.read(5) == b"hello"
        assert served.server.active == 1
        assert repr(served.server) == "<ProxyPort 1 of 100 connections>"


async def test_the_clients_half_close_arrives(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client:
        assert await client.connect("web.test") == 0
        await client.send(b"hello")
        await client.stream.send_eof()
        assert await client.read_all() == b"hello"
        await served.until_idle()
        assert web.streams[0].closed
        assert not web.streams[0].aborted


async def test_the_targets_half_close_arrives(web: FakeNetwork) -> None:
    received = b""

    async def speak_first(stream: FakeTunnelStream) -> None:
        nonlocal received
        await stream.send_all(b"bye")
        await stream.send_eof()
        while data := await stream.receive_some():
            received += data

    web.add(WEB, 81, speak_first)
    async with serving(web) as served, await served.open() as client:
        assert await client.connect("web.test", 81) == 0
        assert await client.read_all() == b"bye"
        await client.send(b"still ")
        await client.send(b"here")
        await client.stream.send_eof()
        await served.until_idle()
    assert received == b"still here"


async def test_data_sent_with_the_request_is_kept(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.send(b"\x05\x01\x00" + b"\x05\x01\x00\x03\x08web.test\x00\x50" + b"early")
        assert (await client.read(12))[:4] == b"\x05\x00\x05\x00"
        await client.send(b" late")
        assert await client.read(10) == b"early late"


async def test_an_end_sent_with_the_request_and_data_is_a_half_close(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.send(b"\x05\x01\x00" + b"\x05\x01\x00\x03\x08web.test\x00\x50" + b"early")
        await client.stream.send_eof()
        assert (await client.read_all())[12:] == b"early"


async def test_data_sent_while_dialling_is_kept(web: FakeNetwork, clock: MockClock) -> None:
    web.dns.lose = 1
    data = b"x" * 50000
    async with serving(web) as served, await served.open() as client:
        await client.greet()
        await client.request("web.test")
        await client.send(data)
        assert (await client.read(10))[1] == 0
        await client.stream.send_eof()
        assert await client.read_all() == data
    assert trio.current_time() >= 1


async def test_a_client_that_sends_much_while_dialling_is_not_lost(web: FakeNetwork, clock: MockClock) -> None:
    web.dns.lose = 1
    data = bytes(range(256)) * 4000
    async with serving(web) as served, await served.open() as client, trio.open_nursery() as nursery:
        await client.greet()
        await client.request("web.test")
        nursery.start_soon(client.send, data)
        assert (await client.read(10))[1] == 0
        assert await client.read(len(data)) == data


async def test_many_connections_at_once(web: FakeNetwork) -> None:
    async with serving(web) as served:

        async def fetch(number: int) -> None:
            async with await served.open() as client:
                assert await client.connect("web.test") == 0
                text = f"number {number}".encode() * 1000
                await client.send(text)
                assert await client.read(len(text)) == text

        async with trio.open_nursery() as nursery:
            for number in range(80):
                nursery.start_soon(fetch, number)
    assert len(web.dns.queries) == 1


# Another client implementation


@pytest.mark.parametrize("host", ["web.test", WEB])
@pytest.mark.parametrize("credentials", [None, CREDENTIALS])
async def test_python_socks_gets_through(web: FakeNetwork, host: str, credentials: tuple[str, str] | None) -> None:
    async with serving(web, credentials=credentials) as served:
        name, password = credentials or (None, None)
        proxy = Proxy(ProxyType.SOCKS5, "127.0.0.1", served.port, username=name, password=password, rdns=True)
        stream = await proxy.connect(host, 80)
        await stream.write(b"hello")
        assert await stream.read_exactly(5) == b"hello"
        await stream.close()


async def test_python_socks_is_told_why_not(web: FakeNetwork) -> None:
    async with serving(web, credentials=CREDENTIALS) as served:
        wrong = Proxy(ProxyType.SOCKS5, "127.0.0.1", served.port, username="alice", password="wrong", rdns=True)
        with pytest.raises(ProxyError, match="Username and password authentication failure"):
            await wrong.connect("web.test", 80)
        nobody = Proxy(ProxyType.SOCKS5, "127.0.0.1", served.port, rdns=True)
        with pytest.raises(ProxyError, match="No acceptable"):
            await nobody.connect("web.test", 80)
    assert web.dialled == []


# Replies


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TunnelDown("down"), 1),
        (TooManyConnections("full"), 1),
        (NetworkUnreachable("no route"), 3),
        (HostUnreachable("no host"), 4),
        (ConnectionRefused("reset"), 5),
        (ConnectTimedOut("silent"), 6),
    ],
)
async def test_a_failed_dial_has_its_reply(web: FakeNetwork, error: DialError, code: int) -> None:
    web.add(WEB, 80, error)
    async with serving(web) as served, await served.open() as client:
        assert await client.connect("web.test") == code
        assert await client.read_all() == b""


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost", 2), ("127.0.0.1", 2), ("127.1", 2), ("::1", 2), ("169.254.1.1", 2), ("224.0.0.1", 2),
        ("evil.test", 2), ("fd00::1", 3), ("six.test", 3), ("nothing.test", 4), ("10.0.0.256", 4), ("10.0.0.9", 5),
    ],
)  # fmt: skip
async def test_each_kind_of_target_has_its_reply(web: FakeNetwork, host: str, code: int) -> None:
    web.dns.records["evil.test", "A"] = ["127.0.0.1"]
    web.dns.records["six.test", "AAAA"] = ["fd00::1"]
    async with serving(web) as served, await served.open() as client:
        assert await client.connect(host) == code


async def test_dns_failures_are_a_general_failure(web: FakeNetwork, clock: MockClock) -> None:
    async with serving(web) as served:
        web.dns.rcode = dns.rcode.SERVFAIL
        async with await served.open() as client:
            assert await client.connect("web.test") == 1
        web.dns.silent = True
        async with await served.open() as client:
            assert await client.connect("web.test") == 1
    assert trio.current_time() == pytest.approx(10, abs=0.5)


async def test_a_tunnel_that_is_down_is_told_at_once(web: FakeNetwork) -> None:
    web.up = False
    async with serving(web) as served, await served.open() as client:
        assert await client.connect(WEB) == 1
    assert web.dialled == []


async def test_a_dial_that_takes_too_long_is_a_time_out(web: FakeNetwork, clock: MockClock) -> None:
    web.add(WEB, 81, None)
    async with serving(web, dial_timeout=30) as served, await served.open() as client:
        assert await client.connect("web.test", 81) == 6
    assert trio.current_time() == pytest.approx(30, abs=0.5)
    assert web.dials_cancelled == 1


@pytest.mark.parametrize(
    ("request_", "code"), [(b"\x05\x09\x00\x01\x0a\x00\x00\x01\x00\x50", 7), (b"\x05\x01\x00\x02whatever", 8)]
)
async def test_what_is_not_offered_has_its_reply(web: FakeNetwork, request_: bytes, code: int) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.greet()
        await client.send(request_)
        assert (await client.read_all())[1] == code


# Clients that misbehave


@pytest.mark.parametrize("said", [b"", b"\x05", b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\x00\x03\xff"])
async def test_a_silent_client_is_cut(web: FakeNetwork, clock: MockClock, said: bytes) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.send(said)
        await trio.sleep(9)
        assert served.server.active == 1
        with pytest.raises(trio.BrokenResourceError):
            await client.read_all()
        assert trio.current_time() == pytest.approx(10, abs=0.5)
        await served.until_idle()


async def test_a_slow_client_is_cut(web: FakeNetwork, clock: MockClock) -> None:
    async with serving(web) as served, await served.open() as client:
        await client.send(b"\x05\xff")

        async def trickle() -> None:
            while True:
                await client.send(b"\x01")
                await trio.sleep(0.5)

        with pytest.raises(trio.BrokenResourceError):
            await trickle()
        assert trio.current_time() == pytest.approx(10, abs=1.1)


async def test_a_babbling_client_is_cut(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client:

        async def babble() -> None:
            while True:
                await client.send(b"\xaa" * 65536)

        with pytest.raises(trio.BrokenResourceError):
            await babble()
        await served.until_idle()


async def test_a_client_that_goes_away_while_dialling_ends_the_dial(web: FakeNetwork) -> None:
    web.add(WEB, 81, None)
    async with serving(web) as served:
        for leave in ("close", "reset"):
            client = await served.open()
            await client.greet()
            await client.request("web.test", 81)
            await until(lambda: bool(web.dialled))
            if leave == "close":
                await client.stream.aclose()
            else:
                await client.send(b"early")
                client.reset()
            await served.until_idle()
            web.dialled.clear()
    assert web.dials_cancelled == 2


async def test_a_client_that_resets_resets_the_target(web: FakeNetwork) -> None:
    async with serving(web) as served:
        client = await served.open()
        assert await client.connect("web.test") == 0
        client.reset()
        await served.until_idle()
    assert web.streams[0].aborted


# Targets and tunnels that fail


async def test_a_cut_download_is_not_taken_for_a_whole_one(web: FakeNetwork) -> None:
    async def cut(stream: FakeTunnelStream) -> None:
        await stream.send_all(b"half")
        await stream.receive_some()
        stream.break_connection()

    web.add(WEB, 81, cut)
    async with serving(web) as served, await served.open() as client:
        assert await client.connect("web.test", 81) == 0
        assert await client.read(4) == b"half"
        await client.send(b"go on")
        with pytest.raises(trio.BrokenResourceError):
            await client.read(1)
        await served.until_idle()


async def test_ending_the_server_resets_what_is_open(web: FakeNetwork) -> None:
    async with serving(web) as served, await served.open() as client, await served.open() as silent:
        assert await client.connect("web.test") == 0
        served.scope.cancel()
        with pytest.raises(trio.BrokenResourceError):
            await client.read(1)
        with pytest.raises(trio.BrokenResourceError):
            await silent.read(1)
        assert web.streams[0].aborted


async def test_a_defect_in_one_connection_does_not_end_the_others(
    web: FakeNetwork, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="sstpsocks.proxy")
    async with serving(web) as served, await served.open() as good:
        assert await good.connect("web.test") == 0

        def broken(*_: object) -> TunnelStream:
            raise ZeroDivisionError("a defect")

        monkeypatch.setattr(Dialer, "begin", broken)
        async with await served.open() as bad:
            await bad.greet()
            await bad.request("web.test")
            with pytest.raises(trio.BrokenResourceError):
                await bad.read(10)
        await good.send(b"hello")
        assert await good.read(5) == b"hello"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "connection 2 failed: ZeroDivisionError, this is a bug"
    assert not record.exc_info, "a traceback only where details were asked for"


# The cap


async def test_beyond_the_cap_a_client_gets_an_answer(web: FakeNetwork) -> None:
    async with serving(web, max_connections=2) as served:
        async with await served.open() as first, await served.open() as second:
            assert await first.connect("web.test") == 0
            assert await second.connect("web.test") == 0
            for _ in range(5):
                async with await served.open() as third:
                    assert await third.connect("web.test") == 1
        await served.until_idle()
        async with await served.open() as again:
            assert await again.connect("web.test") == 0


async def test_silent_clients_beyond_the_cap_do_not_block_the_rest(web: FakeNetwork, clock: MockClock) -> None:
    async with serving(web, max_connections=1) as served:
        async with await served.open() as first:
            assert await first.connect("web.test") == 0
            silent = [await served.open() for _ in range(MAX_REFUSERS + 10)]
            await trio.sleep(0.1)
            assert (served.server.active, served.server.refusing) == (1, MAX_REFUSERS)
            async with await served.open() as client:
                assert await client.connect("web.test") == 1
            assert trio.current_time() < 5
            for other in silent:
                await other.stream.aclose()


async def test_a_shortage_of_files_is_sat_out(
    web: FakeNetwork, clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = socket.socket.accept
    failures = iter([OSError(errno.EMFILE, "Too many open files")] * 30)

    def short_of_files(listener: socket.socket) -> tuple[socket.socket, object]:
        for failure in failures:
            raise failure
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", short_of_files)
    monkeypatch.setattr(SpareFile, "spend", lambda _spare: False)
    async with serving(web) as served, await served.open() as client:
        assert await client.connect("web.test") == 0
    assert trio.current_time() == pytest.approx(3.0, abs=0.5)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["cannot accept connections for the moment: Too many open files"]


async def test_a_listener_that_somebody_closes_ends_the_serving(web: FakeNetwork) -> None:
    server = ProxyPort(Dialer(web, Resolver(web)))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        await wait_all_tasks_blocked()
        await listeners[0].aclose()


# What is logged


async def test_names_of_targets_are_logged_only_for_debugging(
    web: FakeNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(web, credentials=CREDENTIALS) as served:
        for host in ("web.test", "nothing.test"):
            async with await served.open() as client:
                await client.send(b"\x05\x01\x02\x01\x05alice\x06secret")
                assert await client.read(4) == b"\x05\x02\x01\x00"
                await client.request(host)
                await client.read(10)
                await client.send(b"payload")
        await served.until_idle()
    shown = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert shown == ["connection 2: refused, NameNotFound (reply 4)"]
    everything = "\n".join(record.getMessage() for record in caplog.records)
    assert "web.test" in everything
    assert "secret" not in everything
    assert "payload" not in everything


# How much happens


class Steps(trio.abc.Instrument):
    """Counts the tasks of connections and their steps between two waits: what each costs in passes of the loop."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.steps = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("sstpsocks.proxy"):
            self.tasks.append(task.name.rpartition(".")[2])

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task.name.endswith("ProxyPort._handle")


async def request(client: SocksClient, host: str) -> None:
    """One small request and its answer, as a program makes it, with time for everybody in between."""
    await client.greet()
    await wait_all_tasks_blocked(0.005)
    await client.request(host)
    assert (await client.read(10))[1] == 0
    await wait_all_tasks_blocked(0.005)
    await client.send(b"hello")
    assert await client.read(5) == b"hello"
    await wait_all_tasks_blocked(0.005)
    await client.stream.send_eof()
    assert await client.read_all() == b""


async def test_a_request_takes_one_task_and_no_needless_passes(web: FakeNetwork) -> None:
    async with serving(web) as served:
        async with await served.open() as client:
            await request(client, "web.test")  # the name is known from now on
            await served.until_idle()
        for host in (WEB, "web.test"):
            counted = Steps()
            trio.lowlevel.add_instrument(counted)
            async with await served.open() as client:
                await request(client, host)
                await served.until_idle()
            trio.lowlevel.remove_instrument(counted)
            assert counted.tasks == ["_handle"]
            # It begins, and is woken by the request, the data, the end of the upload and that of the download. Whether
            # the greeting comes before it begins is the kernel's to decide.
            assert counted.steps in (5, 6)


async def test_waiting_connections_are_taken_together(web: FakeNetwork) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    clients = [await SocksClient.open(port) for _ in range(10)]
    server = ProxyPort(Dialer(web, Resolver(web)))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, listeners)
        while not server.active:
            await trio.lowlevel.checkpoint()
        assert server.active == 10
        nursery.cancel_scope.cancel()
    for client in clients:
        await client.stream.aclose()
