"""The command as its users run it, against the demo's server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.ca import ThrowAwayCertificate, make_certificate
from sstpsocks.demo.server import DemoServer

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Site:
    """A running server and how to reach it."""

    port: int
    folder: Path

    @property
    def flags(self) -> list[str]:
        return [
            f"sstp://alice@127.0.0.1:{self.port}",
            *("--listen", "0", "--ca-file", str(self.folder / "ca.pem"), "--server-name", "vpn.test"),
            *("--ready-file", str(self.folder / "ready.json")),
        ]


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    certificate: ThrowAwayCertificate = make_certificate(("vpn.test",))
    (folder / "ca.pem").write_bytes(certificate.ca_pem)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(DemoServer(certificate, {"alice": PASSWORD}).serve, [listener])
        yield Site(listener.socket.getsockname()[1], folder)
        nursery.cancel_scope.cancel()


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    return {
        **inherited,
        "XDG_CONFIG_HOME": "/nonexistent",
        "APPDATA": "/nonexistent",
        "SSTPSOCKS_PASSWORD": PASSWORD,
        **more,
    }


async def run(flags: list[str], **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command until it ends by itself."""
    with trio.fail_after(30):
        return await trio.run_process(
            [sys.executable, "-m", "sstpsocks", *flags],
            cwd=ROOT,
            env=environment(**more),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


def last_line(result: subprocess.CompletedProcess[bytes]) -> str:
    assert result.stdout == b""
    lines = result.stderr.decode().splitlines()
    assert not any("Traceback" in line for line in lines)
    assert sum(line.startswith("sstpsocks: ") for line in lines) == 1
    return lines[-1]


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM"])
async def test_it_connects_says_where_and_ends_in_order(tmp_path: Path, ending: str) -> None:
    ready = tmp_path / "ready.json"
    async with site(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "sstpsocks", *server.flags],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with trio.fail_after(30):
            while not ready.exists():
                assert process.poll() is None
                await trio.sleep(0.02)
            document = json.loads(ready.read_text())
            assert document["server"] == f"127.0.0.1:{server.port}"
            assert len(document["addresses"]) == len(document["dns"]) == 1
            host, _, port = document["listen"][0].rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(b"\x05\x01\x00")
                assert await stream.receive_some(2) == b"\x05\x00"
            process.send_signal(getattr(signal, ending))
            assert await process.wait() == 0
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.receive_some() == b""
            said = (await process.stderr.receive_some()).decode()
        await process.stdout.aclose()
        await process.stderr.aclose()
    assert not ready.exists()
    steps = ["resolve", "TCP", "TLS", "HTTP", "SSTP", "LCP", "authentication", "addresses", "ready"]
    positions = [said.index(f" {step}: ") for step in steps]
    assert positions == sorted(positions)
    assert PASSWORD not in said


async def test_a_wrong_password_ends_with_5_and_is_sent_once(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(server.flags, SSTPSOCKS_PASSWORD="wrong horse")
    assert result.returncode == 5
    assert "wrong horse" not in result.stderr.decode()
    assert "password" in last_line(result)


async def test_an_unknown_authority_and_a_wrong_name_end_with_4_and_the_fingerprint(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        other = tmp_path / "other.pem"
        other.write_bytes(make_certificate(("vpn.test",)).ca_pem)
        for change in (["--ca-file", str(other)], ["--server-name", "elsewhere.test"]):
            result = await run([*server.flags, *change])
            assert result.returncode == 4
            fingerprints = [word.strip(".,:;()") for word in last_line(result).split()]
            pin = next(word for word in fingerprints if len(word) == 64)
        # What the message shows is what --pin-sha256 takes: the wrong password is refused behind it.
        result = await run([*server.flags, "--ca-file", str(other), "--pin-sha256", pin], SSTPSOCKS_PASSWORD="wrong")
    assert result.returncode == 5


async def test_a_closed_port_ends_with_3(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        pass
    result = await run(server.flags)
    assert result.returncode == 3
    assert str(server.port) in last_line(result)


async def test_a_server_that_is_no_sstp_server_ends_with_6(tmp_path: Path) -> None:
    async def answers_plainly(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"SSH-2.0-OpenSSH_9.9\r\n")

    async with site(tmp_path) as server, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answers_plainly, [listener])
        result = await run([*server.flags, f"--connect-to=127.0.0.1:{listener.socket.getsockname()[1]}"])
        nursery.cancel_scope.cancel()
    assert result.returncode == 6
    assert "TLS" in last_line(result)


async def test_a_port_that_is_taken_ends_with_2(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run([*server.flags, "--listen", str(server.port)])
    assert result.returncode == 2
    assert "cannot listen" in last_line(result)
