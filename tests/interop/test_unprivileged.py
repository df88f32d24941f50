"""The program as an unprivileged user: no capabilities, a read-only file system, no /dev/net/tun."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

NOBODY = 65534
PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ("unshare", "setpriv", "mount")


def expose(paths: list[Path]) -> list[str]:
    """Shell lines that let everybody reach paths below folders which only root may enter, in a mount namespace.

    The closed folder is covered by an empty one in which just these paths are mounted.
    """
    hidden: dict[Path, list[Path]] = {}
    for path in paths:
        closed = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if closed:
            hidden.setdefault(closed[0], []).append(path)
    lines = []
    for folder, inside in hidden.items():
        lines.append("stage=$(mktemp -d)")
        for index, path in enumerate(inside):
            lines.append(f"mkdir $stage/{index} && mount --bind {shlex.quote(str(path))} $stage/{index}")
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}")
        for index, path in enumerate(inside):
            target = shlex.quote(str(path))
            lines.append(f"mkdir -p {target} && mount --move $stage/{index} {target}")
        lines.append("rmdir $stage/* $stage")
    return lines


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
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to take everything away from the program")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    ca_file = world_readable / "ca.pem"
    if server.ca_file:
        shutil.copy(server.ca_file, ca_file)
        ca_file.chmod(0o644)
    port = free_port()
    program = [sys.executable, "-m", "sstpsocks", f"{server.host}:{server.port}", "--user", server.user]
    program += ["--listen", str(port), "--auth", server.auth.split(",")[0], "--reconnect", "never"]
    program += ["--ca-file", str(ca_file)] if server.ca_file else []
    program += ["--server-name", server.server_name] if server.server_name else []
    script = [
        "set -e",
        "mount --make-rprivate /",
        *expose([Path(sys.base_prefix), Path(sys.prefix), PROJECT]),
        "if [ -d /dev/net ]; then mount -t tmpfs tmpfs /dev/net; fi",
        # Everything that holds files becomes read-only; what the kernel makes up stays.
        "while read -r _ mounted type _; do case $type in proc|sysfs|devpts|cgroup2|nsfs|mqueue) ;; "
        '*) mount -o remount,bind,ro "$mounted" ;; esac; done < /proc/self/mounts',
        "if touch /tmp/writable 2>/dev/null; then echo the file system is writable; exit 99; fi",
        f"cd {shlex.quote(str(PROJECT))}",
        f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all --bounding-set=-all "
        f"--no-new-privs -- {shlex.join(program)}",
    ]
    log = world_readable / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["unshare", "--mount", "--", "sh", "-c", "\n".join(script)],
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
