"""What a run tells: systemd, its log at every level, its trace; and what none of them ever holds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import dpkt
import pytest
import trio

from tests.e2e.test_command import PASSWORD, ROOT, Site, environment, site
from tests.helpers.socks_client import SocksClient

AF_UNIX = getattr(socket, "AF_UNIX", None)
SECRET_PATH = "/private-path-of-a-page"
PAYLOAD = b"payload that nobody else may read"
COOKIE = "cookie-of-a-user"


@asynccontextmanager
async def running(where: Site, *flags: str, **more: str) -> AsyncIterator[tuple[trio.Process, Path]]:
    """Run the command until the block is left; standard error goes to a file."""
    stderr = where.folder / "stderr"
    with stderr.open("wb") as sink:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "sstpsocks", *where.flags, *flags],
            cwd=ROOT,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stderr=sink,
        )
    try:
        with trio.fail_after(30):
            while not (where.folder / "ready.json").exists():
                assert process.poll() is None, stderr.read_text()
                await trio.sleep(0.05)
        yield process, stderr
        process.terminate()
        with trio.fail_after(30):
            assert await process.wait() == 0, stderr.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def use(where: Site) -> None:
    """Do what a user would: a page with a secret in its address, bytes of a secret, a name that is none."""
    ready = json.loads((where.folder / "ready.json").read_text())
    port = int(ready["listen"][0].rpartition(":")[2])
    async with await SocksClient.open(port) as client:
        assert await client.connect("www.intranet.demo", 80) == 0
        request = (
            f"GET {SECRET_PATH} HTTP/1.1\r\nHost: www.intranet.demo\r\nCookie: {COOKIE}\r\nConnection: close\r\n\r\n"
        )
        await client.send(request.encode())
        await client.read(12)
    async with await SocksClient.open(port) as client:
        assert await client.connect("www.intranet.demo", 7) == 0
        await client.send(PAYLOAD)
        assert await client.read(len(PAYLOAD)) == PAYLOAD
    async with await SocksClient.open(port) as client:
        assert await client.connect("no-such-host.example", 80) != 0
    async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
        request = (
            f"GET http://www.intranet.demo{SECRET_PATH} HTTP/1.1\r\nHost: www.intranet.demo\r\nCookie: {COOKIE}\r\n"
        )
        await plain.send_all(f"{request}Connection: close\r\n\r\n".encode())
        async for _ in plain:
            pass
    host = "Host: www.intranet.demo"
    for broken in (
        f"GET {SECRET_PATH}\x01 x y HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET http://www.intranet.demo{SECRET_PATH} HTTP/1.1\r\n{host}\r\n{COOKIE} no colon\r\n\r\n",
        f"GET http://www.intranet.demo{SECRET_PATH} HTTP/1.1\r\n{host}\r\nContent-Length: {COOKIE}\r\n\r\n",
        f"POST http://www.intranet.demo/ HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\n\r\n{COOKIE}\r\n",
        f"\x05\x01\x02\x01\x05alice\x06{COOKIE}",
        f"\x04\x01\x00\x50\x00\x00\x00\x00{COOKIE}\x00{SECRET_PATH}\x00",
        f"{COOKIE}{SECRET_PATH}",
    ):
        with trio.move_on_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
                await plain.send_all(broken.encode("latin-1"))
                await plain.send_eof()
                with suppress(trio.BrokenResourceError):
                    async for _ in plain:
                        pass
    await trio.sleep(0.2)


def no_secrets(text: str) -> None:
    for secret in (PASSWORD, "alice", SECRET_PATH, PAYLOAD.decode(), COOKIE, PAYLOAD.hex(), "YWxpY2U"):
        assert secret not in text


FULL = "/dev/full" if os.path.exists("/dev/full") else ""
LEVELS = [
    ("error", "text"),
    ("warning", "json"),
    ("info", "text"),
    ("info", "json"),
    ("debug", "text"),
    ("debug", "json"),
]


@pytest.mark.parametrize(("level", "log_format"), LEVELS)
async def test_no_level_of_the_log_holds_secrets_or_what_passes(tmp_path: Path, level: str, log_format: str) -> None:
    async with site(tmp_path) as where:
        async with running(where, "--log-level", level, "--log-format", log_format) as (_, stderr):
            await use(where)
    text = stderr.read_text()
    no_secrets(text)
    assert ("intranet.demo" in text) is (level == "debug"), "names of targets are for debug alone"
    if log_format == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert all({"time", "level", "message", "event"} <= line.keys() for line in lines)
        if level in ("info", "debug"):
            events = [line["event"] for line in lines]
            assert "ready" in events
            refused = [line for line in lines if "refused" in line["message"]]
            assert refused
            assert all(line["connection"] > 0 for line in refused)
        if level == "debug":
            first = [line["message"] for line in lines if line.get("connection") == 1]
            assert first[0] == "connection 1: accepted"
            assert any("www.intranet.demo port 80" in text and "connection 1" not in text for text in first), (
                "what others say about a connection carries its number, too"
            )


async def test_the_trace_names_every_message_and_shows_no_contents(tmp_path: Path) -> None:
    trace, capture = tmp_path / "trace", tmp_path / "inner.pcapng"
    async with site(tmp_path) as where:
        async with running(where, "-vv", "--trace-file", str(trace), "--pcap", str(capture)) as (_, stderr):
            await use(where)
    text = trace.read_text()
    no_secrets(text)
    no_secrets(stderr.read_text())
    for wanted in (
        "-> 127.0.0.1:",
        "SSTP CALL_CONNECT_REQUEST protocol PPP",
        "SSTP CALL_CONNECT_ACK crypto binding wanted",
        "PPP LCP Configure-Request",
        "PPP CHAP Challenge",
        "octets, not shown)",
        "SSTP CALL_CONNECTED crypto binding SHA-256",
        "PPP IPCP Configure-Nak",
        "[SYN]",
        "UDP ",
        "PPP LCP Terminate-Request",
        "SSTP CALL_DISCONNECT",
    ):
        assert wanted in text, wanted
    assert all(line.split(maxsplit=2)[1] in ("->", "<-", "--") for line in text.splitlines())
    with capture.open("rb") as file:
        packets = [bytes(packet) for _, packet in dpkt.pcapng.Reader(file)]
    assert any(PAYLOAD in packet for packet in packets), "the capture is for the contents"
    assert not any(PASSWORD.encode() in packet for packet in packets)
    told = sum(" TCP " in line or " UDP " in line for line in text.splitlines())
    assert told == sum(packet[9] in (6, 17) for packet in packets if packet[0] >> 4 == 4)


async def test_systemd_is_told_the_whole_life(tmp_path: Path) -> None:
    if AF_UNIX is None:
        pytest.skip("needs Unix sockets")
    told: list[str] = []
    with trio.socket.socket(AF_UNIX, socket.SOCK_DGRAM) as receiver:
        await receiver.bind(str(tmp_path / "notify"))

        async def listen() -> None:
            while True:
                told.extend((await receiver.recv(4096)).decode().split("\n"))

        async def until(wanted: str) -> None:
            with trio.fail_after(20):
                while wanted not in told:  # noqa: ASYNC110 - another process sends it
                    await trio.sleep(0.05)

        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        async with site(tmp_path) as where, trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            async with running(where, **variables) as (process, _):
                await until("READY=1")
                told.clear()
                await until("WATCHDOG=1")
                if hasattr(signal, "SIGHUP"):
                    process.send_signal(signal.Signals["SIGHUP"])
                    await until("READY=1")
                    assert told.index("RELOADING=1") < told.index("READY=1")
                    assert any(line.startswith("MONOTONIC_USEC=") for line in told)
            await until("STOPPING=1")
            nursery.cancel_scope.cancel()


@pytest.mark.skipif(os.name != "posix", reason="files that are moved while they are open are a POSIX matter")
async def test_a_log_file_that_vanishes_and_a_capture_on_a_full_disk_do_not_end_the_tunnel(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    full = FULL or str(tmp_path / "inner.pcapng")
    async with site(tmp_path) as where:
        flags = ("--log-file", str(folder / "log"), "--log-level", "debug", "--pcap", full)
        async with running(where, *flags) as (_, stderr):
            (folder / "log").unlink()
            folder.rmdir()
            await use(where)
            folder.mkdir()
            await use(where)
        assert stderr.read_text().count("cannot be written") == 1
        assert "lines before this one could not be written" in (folder / "log").read_text()
