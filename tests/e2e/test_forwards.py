"""``-L`` and ``-R`` as their users meet them: the command against the demo's server."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import dns.asyncquery
import dns.message
import pytest
import trio

from tests.e2e.test_command import ROOT, environment, site

GET = b"GET / HTTP/1.1\r\nHost: www.intranet.demo\r\nConnection: close\r\n\r\n"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def fetch(stream: trio.abc.Stream) -> bytes:
    async with stream:
        await stream.send_all(GET)
        return b"".join([data async for data in stream])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets on Windows")
async def test_a_port_and_a_unix_socket_lead_into_the_tunnel(tmp_path: Path) -> None:
    ready, path, port = tmp_path / "ready.json", tmp_path / "web.sock", free_port()
    async with site(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-m", "sstpsocks", *server.flags, "-L", f"{port}:www.intranet.demo:80"),
                *("-L", f"{path}:www.intranet.demo:80", "-R", "2222:localhost:22"),
            ],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(30):
                while not ready.exists():
                    assert process.poll() is None
                    await trio.sleep(0.02)
                assert (await fetch(await trio.open_tcp_stream("127.0.0.1", port))).startswith(b"HTTP/1.1 200")
                assert (await fetch(await trio.open_unix_socket(str(path)))).startswith(b"HTTP/1.1 200")
                assert path.stat().st_mode & 0o777 == 0o600
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                assert await process.wait() == 0
    assert not path.exists()


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_a_udp_port_leads_to_the_name_server_inside(tmp_path: Path) -> None:
    ready, port = tmp_path / "ready.json", free_udp_port()
    async with site(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            [*(sys.executable, "-m", "sstpsocks", *server.flags, "-L", f"udp/{port}:ns.intranet.demo:53")],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(30):
                while not ready.exists():
                    assert process.poll() is None
                    await trio.sleep(0.02)
                for name, records in (("www.intranet.demo", 1), ("nx.intranet.demo", 0)):
                    query = dns.message.make_query(name, "A")
                    answer = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=10)
                    assert len(answer.answer) == records
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                assert await process.wait() == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-L", "*:8080:www.intranet.demo:80"), "--allow-remote"),
        (("-L", "8080:/remote.sock"), "no Unix sockets inside the tunnel"),
        (("-L", "{taken}:www.intranet.demo:80"), "in use"),
        (("-L", "udp/*:5353:ns.intranet.demo:53"), "--allow-remote"),
        (("-L", "udp/{taken}:ns.intranet.demo"), "is not udp/[BIND:]PORT:HOST:PORT"),
        (("-R", "udp/5353:localhost:53"), "-R forwards connections only"),
    ],
)
async def test_a_mistake_is_one_sentence_before_anything_is_dialled(flags: tuple[str, ...], says: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = await trio.run_process(
            [
                *(sys.executable, "-m", "sstpsocks", "sstp://alice@127.0.0.1:1", "--listen", "0"),
                *(flag.format(taken=taken.getsockname()[1]) for flag in flags),
            ],
            cwd=ROOT,
            env=environment(),
            capture_stderr=True,
            check=False,
        )
    assert result.returncode == 2
    said = result.stderr.decode()
    assert says in said
    assert "Traceback" not in said
