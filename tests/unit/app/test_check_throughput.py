"""How fast a download and an upload pass, measured by ``sstpsocks check`` against web servers of all kinds."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from sstpsocks.app.check.throughput import UnusableUrlError, measure, parse_target
from sstpsocks.errors import ConnectionRefused
from sstpsocks.library import Tunnel, run_tunnel
from tests.helpers.demo_site import demo_site

Server = Callable[[trio.abc.Stream], Awaitable[None]]


def tunnel_to(server: Server, nursery: trio.Nursery) -> Tunnel:
    """A tunnel behind which ``server`` answers whoever connects."""

    async def open_tcp_stream(host: str, port: int) -> Any:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.lockstep_stream_pair()
        nursery.start_soon(server, theirs)
        cast(Any, ours).abort = lambda: None
        return ours

    return cast(Tunnel, SimpleNamespace(open_tcp_stream=open_tcp_stream))


async def hear_request(stream: trio.abc.Stream) -> bytes:
    heard = b""
    while b"\r\n\r\n" not in heard:
        data = await stream.receive_some()
        assert data
        heard += data
    return heard


def answering(answer: bytes) -> Server:
    async def serve(stream: trio.abc.Stream) -> None:
        await hear_request(stream)
        await stream.send_all(answer)
        await stream.aclose()

    return serve


async def result_of(server: Server, *, upload: bool = False) -> str:
    async with trio.open_nursery() as nursery:
        text = await measure(tunnel_to(server, nursery), parse_target("http://files.test/big?a=b"), upload=upload)
        nursery.cancel_scope.cancel()
    return text


async def test_a_download_is_cut_off_after_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        heard = await hear_request(stream)
        assert heard.startswith(b"GET /big?a=b HTTP/1.1\r\nHost: files.test\r\n")
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while True:
            await trio.sleep(0.5)
            await stream.send_all(bytes(500_000))

    text = await result_of(serve)
    assert re.fullmatch(r"(0\.9\d|1\.0\d) MB/s \((9\.5|10\.0) MB in 10\.0 s\)", text), text


async def test_a_short_download_is_measured_over_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await hear_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n")
        await trio.sleep(1)
        await stream.send_all(bytes(2_000_000))

    assert await result_of(serve) == "2.00 MB/s (2.0 MB in 1.0 s)"


@pytest.mark.parametrize("octets", [16, 999_999])
async def test_a_body_that_is_over_at_once_is_called_too_short(
    autojump_clock: trio.testing.MockClock, octets: int
) -> None:
    """It says how large the buffers on the way are, and nothing about the way."""
    text = await result_of(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % octets + bytes(octets)))
    assert text == f"not measured: too short ({octets} octets in 0.0 s): name a larger file"


async def test_an_upload_goes_on_for_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        assert (await hear_request(stream)).startswith(b"PUT ")
        while True:
            await trio.sleep(0.1)
            await stream.receive_some(1 << 20)

    text = await result_of(serve, upload=True)
    assert re.fullmatch(r"0\.6\d MB/s \(6\.\d MB in 10\.0 s\)", text), text


@pytest.mark.parametrize("upload", [False, True])
async def test_a_refusal_is_no_measurement(autojump_clock: trio.testing.MockClock, upload: bool) -> None:
    text = await result_of(answering(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"), upload=upload)
    assert text == "not measured: http://files.test answered 405"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "has nothing to transfer"),
    ],
)
async def test_what_is_not_a_download_is_called_what_it_is(
    autojump_clock: trio.testing.MockClock, answer: bytes, reason: str
) -> None:
    text = await result_of(answering(answer))
    assert text.startswith("not measured: http://files.test ")
    assert reason in text


async def test_a_server_that_never_answers_is_not_waited_for_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    assert await result_of(serve) == "not measured: no answer from http://files.test within 15 s"


async def test_a_host_that_refuses_is_named() -> None:
    async def open_tcp_stream(host: str, port: int) -> Any:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefused(f"{host}:{port} refused")

    tunnel = cast(Tunnel, SimpleNamespace(open_tcp_stream=open_tcp_stream))
    assert await measure(tunnel, parse_target("https://files.test/")) == "not measured: files.test:443 refused"


async def test_through_a_real_tunnel(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with demo_site(tmp_path) as site, run_tunnel(site.settings(dhcp="never")) as tunnel:
            got = await measure(tunnel, parse_target("http://files.intranet.demo/download"))
            assert re.fullmatch(r"[\d.]+ MB/s \(16\.8 MB in [\d.]+ s\)", got), got
            put = await measure(tunnel, parse_target("http://files.intranet.demo/download"), upload=True, duration=1)
            assert re.fullmatch(r"[\d.]+ MB/s \([\d.]+ MB in 1\.\d s\)", put), put


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("files.test/big", "begin with http"),
        ("ftp://files.test/", "begin with http"),
        ("http:///big", "begin with http"),
        ("http://alice:secret@files.test/", "user name or password"),
        ("http://files.test:99999/", "ort"),
        ("http://files.test/a b", "ASCII"),
        ("http://files.test/ä", "ASCII"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(text: str, reason: str) -> None:
    with pytest.raises(UnusableUrlError, match=reason):
        parse_target(text)


def test_a_url_names_host_and_port_as_http_wants_them() -> None:
    assert parse_target("https://[fd00::1]:8443/x").authority == "[fd00::1]:8443"
    assert parse_target("http://files.test:80").authority == "files.test"
    assert parse_target("http://files.test").path == "/"
