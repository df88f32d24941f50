"""A server that nothing vouches for, met at a terminal and without one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.test_command import ROOT, Site, environment, last_line, run, site

pty = pytest.importorskip("pty", reason="no pseudo-terminals there")


def flags_of(server: Site, folder: Path) -> list[str]:
    """The flags of the site, but for what makes its certificate trusted."""
    return [
        f"sstp://alice@127.0.0.1:{server.port}",
        *("--listen", "0", "--ready-file", str(folder / "ready.json")),
        *("--trust-on-first-use", "--known-hosts", str(folder / "known_hosts")),
    ]


async def at_terminal(flags: list[str], answer: str, ready: Path) -> tuple[int, str]:
    """Run the command with a terminal until it is connected or has ended; return exit code and what it showed."""
    master, slave = pty.openpty()
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "sstpsocks", *flags],
        cwd=ROOT,
        env=environment(),
        stdin=slave,
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    shown = ""

    async def watch() -> None:
        nonlocal shown
        while True:
            try:
                shown += (await trio.to_thread.run_sync(os.read, master, 4096, abandon_on_cancel=True)).decode()
            except OSError:  # the last one at the terminal has left
                return
            if shown.endswith("(yes/no) "):
                os.write(master, answer.encode() + b"\n")

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            while process.poll() is None:
                if await trio.Path(ready).exists():
                    process.send_signal(signal.SIGINT)
                    break
                await trio.sleep(0.02)
            code = await process.wait()
    os.close(master)
    return code, shown


async def test_a_yes_connects_now_and_from_then_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    async with site(tmp_path) as server:
        code, shown = await at_terminal(flags_of(server, tmp_path), "yes", ready)
        assert code == 0
        assert f"The certificate of 127.0.0.1:{server.port} is not trusted" in shown
        known = await trio.Path(tmp_path / "known_hosts").read_text()
        (fingerprint,) = set(re.findall(r"sha256//\S{43}=", shown))
        assert fingerprint in known
        code, shown = await at_terminal(flags_of(server, tmp_path), "no", ready)
        assert code == 0
        assert "yes/no" not in shown
        assert "known since" in shown


async def test_a_no_ends_with_4(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        code, shown = await at_terminal(flags_of(server, tmp_path), "no", tmp_path / "ready.json")
    assert code == 4
    assert "was not confirmed" in shown.replace("\r\n", " ")


async def test_without_a_terminal_the_message_holds_the_option_that_works(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(flags_of(server, tmp_path))
        assert result.returncode == 4
        found = re.search(r"--pin-sha256 (sha256//\S{43}=)", last_line(result))
        assert found is not None
        # It gets as far as the log-in, where a wrong password is refused.
        flags = [flags_of(server, tmp_path)[0], "--listen", "0", "--pin-sha256", found.group(1)]
        result = await run(flags, SSTPSOCKS_PASSWORD="wrong")
        assert result.returncode == 5


async def test_another_server_in_the_same_place_ends_with_4(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        line = f"127.0.0.1:{server.port} sha256//{'A' * 43}= 2026-01-31\n"
        await trio.Path(tmp_path / "known_hosts").write_text(line)
        result = await run(flags_of(server, tmp_path))
    assert result.returncode == 4
    assert "THE SERVER'S KEY HAS CHANGED since it was confirmed on 2026-01-31" in last_line(result)
