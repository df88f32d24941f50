"""The program as an unprivileged user: no capabilities, a read-only file system, no /dev/net/tun."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.sandbox import NOBODY, skip_unless_rights_can_be_taken, without_rights
from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


@pytest.fixture
def world_readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = Path(f"/tmp/sstpsocks-unprivileged-{os.getpid()}")
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_needs_no_privileges(server: Server, curl: str, world_readable: Path) -> None:
    skip_unless_rights_can_be_taken()
    ca_file = world_readable / "ca.pem"
    if server.ca_file:
        shutil.copy(server.ca_file, ca_file)
        ca_file.chmod(0o644)
    port = free_port()
    program = [sys.executable, "-m", "sstpsocks", f"{server.host}:{server.port}", "--user", server.user]
    program += ["--listen", str(port), "--auth", server.auth.split(",")[0], "--reconnect", "never"]
    program += ["--ca-file", str(ca_file)] if server.ca_file else []
    program += ["--server-name", server.server_name] if server.server_name else []
    log = world_readable / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            without_rights(program),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "SSTPSOCKS_PASSWORD": server.password},
        )
    try:
        page = fetch_when_up(curl, port, server.need("http"), process, log)
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait(15)
    assert page
    assert f"Uid:\t{NOBODY}" in status
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert process.returncode == 0, log.read_text()


def fetch_when_up(curl: str, port: int, url: str, process: subprocess.Popen[bytes], log: Path) -> bytes:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, log.read_text()
        fetched = subprocess.run(
            [curl, "-sf", "--max-time", "20", "--socks5-hostname", f"127.0.0.1:{port}", url],
            capture_output=True,
            check=False,
        )
        if fetched.returncode == 0:
            return fetched.stdout
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
