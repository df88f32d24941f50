"""What the demo proves through the SOCKS port, as a program would: RFC 1928 from the client's side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import h11
import trio

from ..errors import SstpsocksError
from .intranet import DOWNLOAD_SIZE, ECHO_PORT, GATEWAY6, HTTP_PORT, PAGE, REFUSED_PORT, ZONE, download_sha256

CHECK_TIMEOUT = 30.0
_ECHO_SIZE = 300_000


class CheckFailed(SstpsocksError):
    """A step of the demo did not do what it should."""


@dataclass(frozen=True, slots=True)
class Check:
    """One step of the demo's report."""

    name: str
    run: Callable[[str, int], Awaitable[str]]
    """Called with the address and port of the SOCKS server; returns what came of it, raises CheckFailed."""


async def socks_connect(host: str, port: int, name: str, target_port: int) -> tuple[trio.SocketStream, int]:
    """Ask the SOCKS5 server at ``host:port`` for a connection to a name; return the stream and the reply code."""
    stream = await trio.open_tcp_stream(host, port)
    try:
        encoded = name.encode("ascii")
        await stream.send_all(b"\x05\x01\x00")
        if await _receive_exactly(stream, 2) != b"\x05\x00":
            raise CheckFailed("the SOCKS port did not accept the greeting")
        await stream.send_all(b"\x05\x01\x00\x03" + bytes([len(encoded)]) + encoded + target_port.to_bytes(2, "big"))
        head = await _receive_exactly(stream, 4)
        await _receive_exactly(stream, (4 if head[3] == 1 else 16) + 2)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream, head[1]


async def check_page(host: str, port: int) -> str:
    """Fetch the page by name."""
    body = bytearray()
    async with await _connect(host, port, f"www.{ZONE}", HTTP_PORT) as stream:
        await _fetch(stream, "/", body.extend)
    if bytes(body) != PAGE:
        raise CheckFailed(f"the page differs: {len(body)} bytes came")
    return f"http://www.{ZONE}/ came, {len(body)} bytes"


async def check_download(host: str, port: int) -> str:
    """Fetch the download and compare its SHA-256."""
    digest = hashlib.sha256()
    size = 0

    def take(data: bytes) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    begin = time.perf_counter()
    async with await _connect(host, port, f"files.{ZONE}", HTTP_PORT) as stream:
        await _fetch(stream, "/download", take)
    elapsed = time.perf_counter() - begin
    if digest.hexdigest() != download_sha256() or size != DOWNLOAD_SIZE:
        raise CheckFailed(f"the download differs: {size} bytes came")
    return f"{size / 1e6:.1f} MB with the right SHA-256 in {elapsed:.2f} s (both ends in this process)"


async def check_echo(host: str, port: int) -> str:
    """Send, end our direction, and read the answer: half-close."""
    sent = bytes(range(256)) * (_ECHO_SIZE // 256)
    received = bytearray()
    async with await _connect(host, port, f"echo.{ZONE}", ECHO_PORT) as stream:

        async def send() -> None:
            try:
                await stream.send_all(sent)
                await stream.send_eof()
            except trio.BrokenResourceError:
                return  # the reader finds the same

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                async for data in stream:
                    received += data
            except trio.BrokenResourceError:
                nursery.cancel_scope.cancel()
    if received != sent:
        raise CheckFailed(f"the echo differs: {len(received)} of {len(sent)} bytes came")
    return f"{len(sent)} bytes came back after half-close"


async def check_refused(host: str, port: int) -> str:
    """A port where nothing listens gives reply 05."""
    return await _expect_reply(host, port, f"www.{ZONE}", REFUSED_PORT, 5, "connection refused")


async def check_unknown_name(host: str, port: int) -> str:
    """A name that does not exist gives reply 04."""
    return await _expect_reply(host, port, f"nx.{ZONE}", HTTP_PORT, 4, "host unreachable")


async def check_local_address(host: str, port: int) -> str:
    """Loopback is never dialled: reply 02."""
    return await _expect_reply(host, port, "localhost", HTTP_PORT, 2, "not allowed")


async def check_ipv6(host: str, port: int) -> str:
    """Fetch the page by a name that has only an IPv6 address."""
    body = bytearray()
    async with await _connect(host, port, f"v6.{ZONE}", HTTP_PORT) as stream:
        await _fetch(stream, "/", body.extend)
    if bytes(body) != PAGE:
        raise CheckFailed(f"the page differs: {len(body)} bytes came")
    return f"http://v6.{ZONE}/ came from {GATEWAY6}"


CHECKS = (
    Check("page by name", check_page),
    Check("checked download", check_download),
    Check("echo with half-close", check_echo),
    Check("refusing port", check_refused),
    Check("unknown name", check_unknown_name),
    Check("localhost", check_local_address),
    Check("IPv6", check_ipv6),
)


async def run_check(check: Check, host: str, port: int) -> str:
    """Run one check within its time. Raises CheckFailed for whatever kept it from succeeding."""
    try:
        with trio.fail_after(CHECK_TIMEOUT):
            return await check.run(host, port)
    except trio.TooSlowError:
        raise CheckFailed(f"no result within {CHECK_TIMEOUT:.0f} s") from None
    except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
        raise CheckFailed(str(error) or type(error).__name__) from error


async def _connect(host: str, port: int, name: str, target_port: int) -> trio.SocketStream:
    stream, reply = await socks_connect(host, port, name, target_port)
    if reply != 0:
        await stream.aclose()
        raise CheckFailed(f"the SOCKS port answered {reply:02X} for {name} port {target_port}")
    return stream


async def _expect_reply(host: str, port: int, name: str, target_port: int, expected: int, meaning: str) -> str:
    stream, reply = await socks_connect(host, port, name, target_port)
    await stream.aclose()
    if reply != expected:
        raise CheckFailed(f"the SOCKS port answered {reply:02X} for {name} port {target_port}, not {expected:02X}")
    return f"answered with {reply:02X}, {meaning}"


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        if not more:
            raise CheckFailed("the SOCKS port closed the connection")
        data += more
    return data


async def _fetch(stream: trio.SocketStream, path: str, take: Callable[[bytes], None]) -> None:
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target=path, headers=[("host", ZONE), ("connection", "close")])
    await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise CheckFailed(f"HTTP {event.status_code} for {path}")
        elif isinstance(event, h11.Data):
            take(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return
        elif isinstance(event, h11.ConnectionClosed):
            raise CheckFailed(f"the connection ended before {path} was complete")
