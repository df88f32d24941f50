"""``-W`` as ssh's ProxyCommand meets it: the command against the demo's server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.test_command import ROOT, environment, site

GET = b"GET / HTTP/1.1\r\nHost: www.intranet.demo\r\nConnection: close\r\n\r\n"


async def connect(flags: list[str], target: str, request: bytes) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(30):
        return await trio.run_process(
            [sys.executable, "-m", "sstpsocks", *flags, "-W", target],
            stdin=request,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=environment(),
        )


async def test_only_the_connection_is_on_standard_output(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        done = await connect(server.flags, "www.intranet.demo:80", GET)
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.rstrip().endswith(b"</html>")
    assert done.stderr == b""
    assert done.returncode == 0


async def test_a_port_where_nobody_listens_is_one_sentence_and_no_success(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        done = await connect(server.flags, "www.intranet.demo:81", b"")
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"refused" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("target", ["www.intranet.demo", "www.intranet.demo:0", "1:2:3"])
async def test_a_mistake_is_told_before_anything_is_dialled(target: str) -> None:
    done = await connect(["vpn.invalid"], target, b"")
    assert done.returncode == 2
    assert done.stderr.startswith(b"sstpsocks: -W: ")
