"""Whole exchanges: a client's socket on one side, servers in a tunnel on the other."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    TooManyConnections,
)
from sstpsocks.proxy.context import ConnectionContext
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.http.exchange import HALF_CLOSED_PATIENCE
from sstpsocks.proxy.http.server import CERTAIN_FOR, HEAD_TIME, KEEP_ALIVE_IDLE, serve_http
from sstpsocks.proxy.overdue import Overdue
from sstpsocks.proxy.users import Users
from tests.helpers.fake_network import FakeNetwork, FakeTunnelStream, echo

WEB = "10.0.0.1"
OTHER = "10.0.0.2"


@dataclass
class TextPage:
    body: bytes
    content_type: str = "application/x-ns-proxy-autoconfig"


class Browser:
    """The client's end, with what the proxy does for it in a task."""

    def __init__(self, stream: trio.SocketStream, context: ConnectionContext) -> None:
        self.stream = stream
        self.context = context
        self.done = trio.Event()
        self.pending = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def get(self, url: str, fields: bytes = b"", method: bytes = b"GET") -> bytes:
        """Ask, and return the head of the answer."""
        host = url.partition("//")[2].partition("/")[0]
        await self.send(method + f" {url} HTTP/1.1\r\nHost: {host}\r\n".encode() + fields + b"\r\n")
        return await self.head()

    async def head(self) -> bytes:
        return await self.until(b"\r\n\r\n")

    async def until(self, end: bytes) -> bytes:
        while end not in self.pending:
            more = await self.stream.receive_some(65536)
            assert more, self.pending
            self.pending += bytes(more)
        found, end, self.pending = self.pending.partition(end)
        return found + end

    async def read(self, count: int) -> bytes:
        while len(self.pending) < count and (more := await self.stream.receive_some(65536)):
            self.pending += bytes(more)
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    async def rest(self) -> bytes:
        return await self.read(1 << 30)


@asynccontextmanager
async def browsing(
    network: FakeNetwork,
    *,
    login: bool = False,
    dial_timeout: float | None = None,
    served: bool = True,
    pages: dict[str, TextPage] | None = None,
) -> AsyncIterator[Browser]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    async with trio.open_nursery() as nursery:
        context = ConnectionContext(
            1,
            Dialer(network, Resolver(network)),
            Users([("alice", "secret")]) if login else Users(),
            nursery,
            dial_timeout,
            served,
            "unix",
            lambda path, _asked: (pages or {}).get(path),
            theirs,
            Overdue(10),
        )
        browser = Browser(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), context)

        async def serve() -> None:
            try:
                await serve_http(theirs, b"", context)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                theirs.close()
            browser.done.set()

        nursery.start_soon(serve)
        async with browser.stream:
            yield browser
        await browser.done.wait()
        nursery.cancel_scope.cancel()
    assert theirs.fileno() == -1
    assert all(stream.closed for stream in network.streams)


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps when nothing happens; the threshold leaves the kernel time to pass on what was sent."""
    return MockClock(autojump_threshold=0.02)


class Server:
    """A web server in the tunnel: answers each request with the next of its answers, and remembers them."""

    def __init__(self, *answers: bytes, length: int = 0) -> None:
        self.answers = list(answers)
        self.length = length
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, stream: FakeTunnelStream) -> None:
        self.connections += 1
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                data = await stream.receive_some()
                if not data:
                    return
                pending += data
            head, _, pending = pending.partition(b"\r\n\r\n")
            while len(pending) < self.length:
                pending += await stream.receive_some()
            self.requests.append(head + b"\r\n\r\n" + pending[: self.length])
            pending = pending[self.length :]
            answer = self.answers.pop(0) if self.answers else b""
            if not answer:
                return
            await stream.send_all(answer)
            if b"Connection: close" in answer:
                await stream.send_eof()
                return


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def web(network: FakeNetwork) -> FakeNetwork:
    network.dns.records["web.test", "A"] = [WEB]
    network.dns.records["other.test", "A"] = [OTHER]
    network.add(WEB, 443, echo)
    return network


# CONNECT


async def connect(browser: Browser, target: str, early: bytes = b"") -> bytes:
    await browser.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + early)
    return await browser.head()


async def test_connect_relays_both_ways(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        assert await connect(browser, "web.test:443") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        await browser.send(b"hello")
        assert await browser.read(5) == b"hello"
        assert not browser.context.awaited


async def test_connect_to_an_address(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        assert (await connect(browser, f"{WEB}:443")).startswith(b"HTTP/1.1 200 ")


async def test_early_data_of_connect_is_kept(web: FakeNetwork) -> None:
    for target in ("web.test:443", f"{WEB}:443"):
        async with browsing(web) as browser:
            assert (await connect(browser, target, b"early")).startswith(b"HTTP/1.1 200 ")
            await browser.send(b" late")
            assert await browser.read(10) == b"early late"


async def test_early_data_of_connect_is_sent_on_though_nothing_follows_it(web: FakeNetwork) -> None:
    for target in ("web.test:443", f"{WEB}:443"):
        async with browsing(web) as browser:
            assert (await connect(browser, target, b"early")).startswith(b"HTTP/1.1 200 ")
            with trio.fail_after(5):
                assert await browser.read(5) == b"early"


async def test_half_close_through_connect(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        await connect(browser, "web.test:443")
        await browser.send(b"hello")
        await browser.stream.send_eof()
        assert await browser.rest() == b"hello"


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (ConnectionRefused("refused"), 502, b"connection_refused"),
        (HostUnreachable("no host"), 502, b"destination_ip_unroutable"),
        (NetworkUnreachable("no network"), 502, b"destination_ip_unroutable"),
        (ConnectTimedOut("silence"), 504, b"connection_timeout"),
        (TooManyConnections("full"), 503, b"connection_limit_reached"),
    ],
)
async def test_why_there_is_no_connection(web: FakeNetwork, error: DialError, status: int, word: bytes) -> None:
    web.add(WEB, 81, error)
    for target in ("web.test:81", f"{WEB}:81"):
        async with browsing(web) as browser:
            head = await connect(browser, target)
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"Proxy-Status: sstpsocks; error=" + word + b"\r\n" in head
            assert str(error).encode() in await browser.rest()
        async with browsing(web) as browser:
            assert (await browser.get(f"http://{target}/")).startswith(b"HTTP/1.1 %d " % status)


async def test_a_name_that_does_not_exist(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        head = await connect(browser, "nowhere.test:443")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"error=dns_error" in head
        assert b"nowhere.test" in await browser.rest()


@pytest.mark.parametrize("target", ["127.0.0.1:80", "localhost:80", "[::1]:80", "169.254.1.1:80", "0.0.0.0:80"])
async def test_this_machine_is_denied(web: FakeNetwork, target: str) -> None:
    async with browsing(web) as browser:
        assert (await connect(browser, target)).startswith(b"HTTP/1.1 403 ")
    assert web.dialled == []


async def test_a_tunnel_that_is_down(web: FakeNetwork) -> None:
    web.up = False
    async with browsing(web) as browser:
        head = await connect(browser, f"{WEB}:443")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"error=destination_unavailable" in head


async def test_the_time_to_connect_is_bounded(web: FakeNetwork, clock: MockClock) -> None:
    web.add(WEB, 81, None)
    async with browsing(web, dial_timeout=5.0) as browser:
        assert (await connect(browser, f"{WEB}:81")).startswith(b"HTTP/1.1 504 ")
    assert web.dials_cancelled == 1


async def test_a_client_that_leaves_ends_the_dial(web: FakeNetwork) -> None:
    web.add(WEB, 81, None)
    for timeout in (None, 1000.0):
        async with browsing(web, dial_timeout=timeout) as browser:
            await browser.send(f"CONNECT {WEB}:81 HTTP/1.0\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert web.dials_cancelled == 2


async def test_a_client_beyond_the_cap_is_told_so(web: FakeNetwork) -> None:
    async with browsing(web, served=False) as browser:
        assert (await connect(browser, "web.test:443")).startswith(b"HTTP/1.1 503 ")
    async with browsing(web, served=False) as browser:
        head = await browser.get("http://web.test/")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" in head
    assert web.dialled == []


# Forwarding


async def test_a_request_and_its_response(web: FakeNetwork) -> None:
    server = Server(OK)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        assert (
            await browser.get("http://web.test/a?b", b"Accept: x\r\n")
            == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        )
        assert await browser.read(2) == b"ok"
    assert server.requests == [b"GET /a?b HTTP/1.1\r\nHost: web.test\r\nAccept: x\r\n\r\n"]


async def test_both_connections_are_kept_for_the_next_request(web: FakeNetwork) -> None:
    server = Server(OK, OK)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        for _ in range(2):
            await browser.get("http://web.test/")
            assert await browser.read(2) == b"ok"
    assert server.connections == 1
    assert len(server.requests) == 2


async def test_the_next_request_may_be_for_another_server(web: FakeNetwork) -> None:
    first, second = Server(OK, OK), Server(OK.replace(b"ok", b"OK"))
    web.add(WEB, 80, first)
    web.add(OTHER, 80, second)
    async with browsing(web) as browser:
        for host, answer in (("web.test", b"ok"), ("other.test", b"OK"), ("web.test", b"ok")):
            await browser.get(f"http://{host}/")
            assert await browser.read(2) == answer
    assert (first.connections, second.connections) == (2, 1)


async def test_requests_sent_at_once_are_answered_in_order(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(OK.replace(b"ok", b"01"), OK.replace(b"ok", b"02")))
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n" * 2)
        for answer in (b"01", b"02"):
            await browser.head()
            assert await browser.read(2) == answer


async def test_another_program_never_gets_the_connection(web: FakeNetwork) -> None:
    server = Server(OK, OK)
    web.add(WEB, 80, server)
    for _ in range(2):
        async with browsing(web) as browser:
            await browser.get("http://web.test/")
    assert server.connections == 2


async def test_a_request_goes_again_when_the_server_had_closed(web: FakeNetwork) -> None:
    """The server ends the connection just when the second request is on its way."""
    server = Server(OK, b"", OK)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        for _ in range(2):
            assert (await browser.get("http://web.test/")).startswith(b"HTTP/1.1 200 ")
            assert await browser.read(2) == b"ok"
    assert server.connections == 2


async def test_a_post_does_not_go_again(web: FakeNetwork) -> None:
    server = Server(OK, b"", OK)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        await browser.read(2)
        head = await browser.get("http://web.test/", b"Content-Length: 0\r\n", b"POST")
        assert head.startswith(b"HTTP/1.1 502 ")
    assert len(server.requests) == 2


async def test_a_post_takes_no_connection_that_was_idle(web: FakeNetwork, clock: MockClock) -> None:
    server = Server(OK, OK)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        await browser.read(2)
        await trio.sleep(CERTAIN_FOR + 1)
        await browser.get("http://web.test/", b"Content-Length: 0\r\n", b"POST")
    assert server.connections == 2


async def test_a_server_that_answers_nothing(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server())
    async with browsing(web) as browser:
        head = await browser.get("http://web.test/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"error=connection_terminated" in head


async def test_a_body_of_known_length_goes_up(web: FakeNetwork) -> None:
    server = Server(OK, length=300_000)
    web.add(WEB, 80, server)
    async with browsing(web) as browser:
        await browser.send(b"PUT http://web.test/ HTTP/1.1\r\nHost: web.test\r\nContent-Length: 300000\r\n\r\n")
        await browser.send(b"x" * 300_000)
        assert (await browser.head()).startswith(b"HTTP/1.1 200 ")
    assert server.requests[0].endswith(b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)


async def test_chunks_go_both_ways_with_trailers(web: FakeNetwork) -> None:
    received = b""

    async def serve(stream: FakeTunnelStream) -> None:
        nonlocal received
        while not received.endswith(b"X-End: 1\r\n\r\n"):
            received += await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await stream.send_all(head + b"2;x\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 2\r\n\r\n")

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        await browser.send(b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        await browser.send(b"005\r\nhello\r\n0\r\nX-End: 1\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in await browser.head()
        assert await browser.until(b"\r\n\r\n") == b"3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n"
    assert received.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n")


async def test_an_old_client_gets_chunks_as_a_body_that_ends_with_the_connection(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert await browser.rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"


async def test_an_old_client_is_kept(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(OK, OK))
    async with browsing(web) as browser:
        for _ in range(2):
            await browser.send(b"GET http://web.test/ HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive\r\n" in await browser.head()
            assert await browser.read(2) == b"ok"


async def test_a_response_that_ends_with_its_connection(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nto the end"))
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n")
        assert await browser.rest() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"


async def test_a_response_that_was_cut_is_not_taken_for_a_whole_one(web: FakeNetwork) -> None:
    async def serve(stream: FakeTunnelStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    web.add(WEB, 80, serve)
    ours = False
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        try:
            ours = await browser.rest() == b"half"
        except trio.BrokenResourceError:
            ours = True
    assert ours


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_response_without_a_body(web: FakeNetwork, status: bytes) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.1 " + status + b"\r\n\r\n", OK))
    async with browsing(web) as browser:
        assert await browser.get("http://web.test/") == b"HTTP/1.1 " + status + b"\r\n\r\n"
        assert (await browser.get("http://web.test/")).startswith(b"HTTP/1.1 200 ")


async def test_head(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", OK))
    async with browsing(web) as browser:
        head = await browser.get("http://web.test/", method=b"HEAD")
        assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        assert (await browser.get("http://web.test/")).startswith(b"HTTP/1.1 200 ")


async def test_fields_between_proxy_and_server_end_here(web: FakeNetwork) -> None:
    fields = (
        b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nSet-Cookie: a=b\r\n"
    )
    web.add(WEB, 80, Server(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n"))
    async with browsing(web) as browser:
        head = await browser.get("http://web.test/")
        assert head == b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"


# Interim responses, upgrades


async def test_a_client_that_waits_for_100_gets_it(web: FakeNetwork) -> None:
    async def serve(stream: FakeTunnelStream) -> None:
        received = await stream.receive_some()
        assert b"Expect: 100-continue\r\n" in received
        assert received.endswith(b"\r\n\r\n")
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await stream.receive_some() == b"hello"
        await stream.send_all(OK)

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        fields = b"Content-Length: 5\r\nExpect: 100-continue\r\n"
        assert await browser.get("http://web.test/", fields, b"POST") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await browser.send(b"hello")
        assert (await browser.head()).startswith(b"HTTP/1.1 200 ")


async def test_a_server_that_does_not_want_the_body(web: FakeNetwork) -> None:
    """Whether the client will still send it is not known, so nothing can follow on this connection."""
    web.add(WEB, 80, Server(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
    async with browsing(web) as browser:
        fields = b"Content-Length: 5\r\nExpect: 100-continue\r\n"
        assert (await browser.get("http://web.test/", fields, b"POST")).startswith(b"HTTP/1.1 413 ")
        assert await browser.rest() == b""


async def test_an_old_client_gets_no_interim_response(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK))
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.0\r\n\r\n")
        assert (await browser.rest()).startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_relays(web: FakeNetwork) -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\nfirst"

    async def serve(stream: FakeTunnelStream) -> None:
        assert b"Connection: Upgrade\r\n" in await stream.receive_some()
        await stream.send_all(switching)
        await echo(stream)

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        head = await browser.get("http://web.test/", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        assert head == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: y\r\nConnection: Upgrade\r\n\r\n"
        )
        await browser.send(b" second")
        assert await browser.read(12) == b"first second"
        await browser.stream.send_eof()
        assert await browser.rest() == b""


async def test_an_upgrade_that_the_server_declines(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(OK, OK))
    async with browsing(web) as browser:
        for _ in range(2):
            head = await browser.get("http://web.test/", b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await browser.read(2)


async def test_a_response_that_breaks_the_rules_is_not_passed_on(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: stolen\r\n\r\n"))
    async with browsing(web) as browser:
        head = await browser.get("http://web.test/")
        assert head.startswith(b"HTTP/1.1 502 ")
        assert b"error=http_protocol_error" in head
        assert b"stolen" not in head


# The client's manners


async def test_half_close_behind_a_request(web: FakeNetwork) -> None:
    async def serve(stream: FakeTunnelStream) -> None:
        await stream.receive_some()
        await trio.sleep(0.05)
        await stream.send_all(OK)

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n")
        await browser.stream.send_eof()
        assert (await browser.rest()).endswith(b"\r\n\r\nok")


async def test_a_client_that_is_gone_does_not_hold_a_silent_server(web: FakeNetwork, clock: MockClock) -> None:
    async def serve(stream: FakeTunnelStream) -> None:
        while await stream.receive_some():
            pass

    web.add(WEB, 80, serve)
    started = trio.current_time()
    async with browsing(web) as browser:
        await browser.send(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n")
        await browser.stream.send_eof()
        await browser.done.wait()
    assert HALF_CLOSED_PATIENCE <= trio.current_time() - started < HALF_CLOSED_PATIENCE + 1


async def test_a_bad_chunk_ends_both_connections(web: FakeNetwork) -> None:
    async def serve(stream: FakeTunnelStream) -> None:
        while await stream.receive_some():
            pass

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        await browser.send(b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        await browser.send(b"5\r\nhello\r\nx\r\n")
        assert (await browser.head()).startswith(b"HTTP/1.1 400 ")
    assert web.streams[-1].aborted


async def test_a_smuggled_request_is_answered_with_400_and_the_end(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        fields = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        head = await browser.get("http://web.test/", fields, b"POST")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close\r\n" in head
    assert web.dialled == []


async def test_an_idle_client_is_let_go(web: FakeNetwork, clock: MockClock) -> None:
    web.add(WEB, 80, Server(OK))
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        await browser.read(2)
        started = trio.current_time()
        assert await browser.rest() == b""
        assert KEEP_ALIVE_IDLE <= trio.current_time() - started < KEEP_ALIVE_IDLE + 1


async def test_a_client_that_drips_its_next_request_is_told_408(web: FakeNetwork, clock: MockClock) -> None:
    web.add(WEB, 80, Server(OK))
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        await browser.read(2)
        started = trio.current_time()
        for _ in range(3):
            await browser.send(b"G")
            await trio.sleep(1)
        assert (await browser.head()).startswith(b"HTTP/1.1 408 ")
        assert HEAD_TIME <= trio.current_time() - started < HEAD_TIME + 1


async def test_a_client_that_does_not_read_stops_the_server(web: FakeNetwork) -> None:
    sent = 0

    async def serve(stream: FakeTunnelStream) -> None:
        nonlocal sent
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            await stream.send_all(bytes(10_000))
            sent += 10_000

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        await browser.get("http://web.test/")
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert sent < 2_000_000


async def test_a_server_that_does_not_read_stops_the_client(web: FakeNetwork) -> None:
    enough = trio.Event()

    async def serve(stream: FakeTunnelStream) -> None:
        await enough.wait()

    web.add(WEB, 80, serve)
    async with browsing(web) as browser:
        await browser.send(b"PUT http://web.test/ HTTP/1.1\r\nHost: web.test\r\nContent-Length: 100000000\r\n\r\n")
        sent = 0
        with trio.move_on_after(0.2):
            while True:
                await browser.send(bytes(10_000))
                sent += 10_000
        enough.set()
    assert sent < 2_000_000


# Logging in, pages


async def test_a_login_is_asked_for_and_taken_on_the_same_connection(web: FakeNetwork) -> None:
    web.add(WEB, 80, Server(OK))
    async with browsing(web, login=True) as browser:
        head = await browser.get("http://web.test/")
        assert head.startswith(b"HTTP/1.1 407 ")
        await browser.until(b"port.\r\n")
        login = b"Proxy-Authorization: Basic " + base64.b64encode(b"alice:secret") + b"\r\n"
        assert (await browser.get("http://web.test/", login)).startswith(b"HTTP/1.1 200 ")


async def test_connect_without_a_login(web: FakeNetwork) -> None:
    async with browsing(web, login=True) as browser:
        assert (await connect(browser, "web.test:443")).startswith(b"HTTP/1.1 407 ")
    assert web.dialled == []


async def test_a_page_of_this_port(web: FakeNetwork) -> None:
    pages = {"/proxy.pac": TextPage(b"function FindProxyForURL() {}")}
    async with browsing(web, pages=pages) as browser:
        await browser.send(b"GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n")
        head = await browser.head()
        assert b"Content-Type: application/x-ns-proxy-autoconfig\r\n" in head
        assert b"X-Content-Type-Options: nosniff\r\n" in head
        assert await browser.rest() == b"function FindProxyForURL() {}"


async def test_there_is_no_other_page(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        await browser.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\n\r\n")
        assert (await browser.head()).startswith(b"HTTP/1.1 404 ")


async def test_a_request_for_a_web_server_is_told_that_this_is_none(web: FakeNetwork) -> None:
    async with browsing(web) as browser:
        await browser.send(b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n")
        assert (await browser.head()).startswith(b"HTTP/1.1 403 ")
        assert b"This is a proxy" in await browser.rest()
