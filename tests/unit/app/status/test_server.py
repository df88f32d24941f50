"""The status port on a real socket: what it answers, and what those who misbehave can cost."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from sstpsocks.app.status import server as module
from sstpsocks.app.status.request import Policy
from sstpsocks.app.status.server import (
    HEAD_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_STREAMS,
    SEND_TIMEOUT,
    Document,
    StatusServer,
)
from sstpsocks.proxy.unix_socket import listen_on_path
from sstpsocks.proxy.users import Users

GET = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LAST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Pages:
    """Answers with the path, and with an endless stream of events."""

    def __init__(self, event: bytes = b"event: status\ndata: 1\n\n") -> None:
        self.event = event

    async def document(self, path: str) -> Document:
        return Document(path.encode())

    async def stream(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield self.event
            await trio.sleep(1)


class Site:
    """A running status port."""

    def __init__(self, server: StatusServer, port: int) -> None:
        self.server, self.port = server, port

    async def open(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Send, and return everything until the end of the connection."""
        async with await self.open() as stream:
            await stream.send_all(request)
            return await rest_of(stream)


async def rest_of(stream: trio.SocketStream) -> bytes:
    data = b""
    try:
        async for part in stream:
            data += part
    except trio.BrokenResourceError:
        pass  # cut off
    return data


@asynccontextmanager
async def site(policy: Policy | None = None, pages: Pages | None = None) -> AsyncIterator[Site]:
    server = StatusServer(pages or Pages(), policy or Policy())
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, listeners)
        yield Site(server, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def test_it_answers_with_headers_that_keep_browsers_strict() -> None:
    async with site() as running:
        head, _, body = (await running.ask(LAST % b"/healthz")).partition(b"\r\n\r\n")
    assert body == b"/healthz"
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "http/1.1 200 ok"
    for line in (
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "cross-origin-resource-policy: same-origin",
        "content-security-policy: default-src 'none'; frame-ancestors 'none'",
    ):
        assert line in lines
    assert "access-control" not in head.decode().lower(), "no CORS"


async def test_several_requests_share_a_connection_also_sent_at_once() -> None:
    async with site() as running:
        answer = await running.ask(GET % b"/metrics" + GET % b"/healthz" + LAST % b"/readyz")
    assert answer.count(b"HTTP/1.1 200") == 3
    assert [word for word in (b"/metrics", b"/healthz", b"/readyz") if word in answer]
    assert answer.endswith(b"/readyz")


async def test_a_refusal_does_not_end_the_connection() -> None:
    async with site() as running:
        answer = await running.ask(GET % b"/nothing" + LAST % b"/healthz")
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"/healthz")


async def test_head_has_the_length_and_no_body() -> None:
    async with site() as running:
        answer = await running.ask(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        stream = await running.ask(b"HEAD /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert b"text/event-stream" in stream


async def test_a_body_is_neither_read_nor_waited_for() -> None:
    async with site() as running:
        request = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello"
        assert (await running.ask(request)).startswith(b"HTTP/1.1 405")
        request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhello"
        assert (await running.ask(request)).startswith(b"HTTP/1.1 413")


async def test_old_clients_are_answered_too() -> None:
    async with site() as running:
        assert (await running.ask(b"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")).endswith(b"/healthz")
        events = b"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        async with await running.open() as stream:
            await stream.send_all(events)
            with trio.fail_after(5):
                data = b""
                while b"data: 1" not in data:
                    data += await stream.receive_some()
    assert b"chunked" not in data


@pytest.mark.parametrize(
    "request_line", [b"\x05\x01\x00", b"GET / HTTP/1.1\r\n\r\n", b"x" * 9000, b"GET / HTTP/1.1\r\nA" + b"b" * 9000]
)
async def test_what_is_no_request_is_refused_and_ends_the_connection(request_line: bytes) -> None:
    async with site() as running:
        with trio.fail_after(5):
            answer = await running.ask(request_line + b"\r\n\r\n")
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"")


async def test_a_password_is_asked_for_and_guessing_is_slow(autojump_clock: MockClock) -> None:
    async with site(Policy(Users([("alice", "sesame")]))) as running:
        answer = await running.ask(LAST % b"/metrics")
        assert answer.startswith(b"HTTP/1.1 401")
        assert b'WWW-Authenticate: Basic realm="sstpsocks status"' in answer
        before = trio.current_time()
        wrong = (LAST % b"/metrics").replace(b"\r\n\r\n", b"\r\nAuthorization: Basic eDp5\r\n\r\n")
        assert (await running.ask(wrong)).startswith(b"HTTP/1.1 401")
        assert trio.current_time() - before >= 1


async def test_a_client_that_does_not_finish_its_request_is_cut_off(autojump_clock: MockClock) -> None:
    async with site() as running, await running.open() as stream:
        await stream.send_all(b"GET /")
        before = trio.current_time()
        assert await rest_of(stream) == b""
        assert trio.current_time() - before == pytest.approx(HEAD_TIMEOUT, abs=1)
        await trio.sleep(0.1)
        assert running.server.active == 0


async def test_a_client_that_does_not_read_is_cut_off(autojump_clock: MockClock) -> None:
    async with site(pages=Pages(b"x" * 3_000_000)) as running, await running.open() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.send_all(GET % b"/events")
        await trio.sleep(0.5)
        assert running.server.streams == 1
        await trio.sleep(20 * SEND_TIMEOUT)
        assert (running.server.streams, running.server.active) == (0, 0)


async def test_events_are_bounded_and_the_place_is_free_again() -> None:
    async with site() as running, trio.open_nursery() as nursery:
        streams = [await running.open() for _ in range(MAX_STREAMS)]
        for stream in streams:
            await stream.send_all(GET % b"/events")
            assert b"text/event-stream" in await stream.receive_some()
        answer = await running.ask(LAST % b"/events")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After" in answer
        assert running.server.refused == 1
        for stream in streams:
            nursery.start_soon(stream.aclose)
        with trio.fail_after(10):
            while running.server.streams:  # noqa: ASYNC110 - found out at the next event
                await trio.sleep(0.05)
        assert (await running.ask(LAST % b"/healthz")).startswith(b"HTTP/1.1 200")


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)
    assert MAX_CONNECTIONS == 64
    async with site() as running:
        kept = [await running.open() for _ in range(3)]
        with trio.fail_after(5):
            while running.server.active < 3:  # noqa: ASYNC110 - accepted elsewhere
                await trio.sleep(0.01)
        answer = await running.ask(b"")
        assert answer.startswith(b"HTTP/1.1 503")
        for stream in kept:
            await stream.aclose()
        with trio.fail_after(5):
            while running.server.active:  # noqa: ASYNC110 - noticed elsewhere
                await trio.sleep(0.01)
        assert (await running.ask(LAST % b"/healthz")).startswith(b"HTTP/1.1 200")


async def test_a_unix_socket_serves_whatever_name_it_is_asked_by(tmp_path: Path) -> None:
    path = tmp_path / "status.sock"
    sock, _file = listen_on_path(path, 0o600)
    server = StatusServer(Pages(), Policy())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, [trio.SocketListener(trio.socket.from_stdlib_socket(sock))])
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all((LAST % b"/healthz").replace(b"127.0.0.1", b"anything"))
            assert (await rest_of(stream)).endswith(b"/healthz")
        nursery.cancel_scope.cancel()


async def test_a_mistake_of_ours_ends_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Pages):
        async def document(self, path: str) -> Document:
            raise ValueError("secret detail")

    async with site(pages=Broken()) as running:
        assert await running.ask(LAST % b"/metrics") == b""
        assert running.server.active == 0
    assert "ValueError, this is a bug" in caplog.text
    assert "secret" not in caplog.text


PIECES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"GET ", b"/metrics", b" HTTP/1.1\r\n", b"Host: 127.0.0.1\r\n", b"\r\n", b"HEAD / HTTP/1.1\r\n",
                     b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
                     b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"0\r\n\r\n"]),
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(st.lists(PIECES, max_size=12))
async def test_no_octets_break_it(pieces: list[bytes]) -> None:
    async with site() as running:
        async with await running.open() as stream:
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass  # it has had enough
            with trio.fail_after(5):
                answer = await rest_of(stream)
        assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert b" 500 " not in answer
        assert (await running.ask(LAST % b"/healthz")).endswith(b"/healthz")
