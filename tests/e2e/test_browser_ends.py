"""``sstpsocks browser`` asked twice to end: neither a browser that would not end nor its profile stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.helpers.demo_site import PASSWORD, SERVER_NAME, demo_site

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script, and signals are as on Unix"),
    pytest.mark.timeout(60),
]

ROOT = Path(__file__).resolve().parents[2]

STUBBORN = """#!/bin/sh
trap '' INT TERM HUP
exec 3> "$HELD"
echo begun >&3
while :; do sleep 1; done
"""


async def test_who_asks_twice_leaves_no_browser_behind(tmp_path: Path) -> None:
    browser, held, temporary = tmp_path / "chromium", tmp_path / "held", tmp_path / "tmp"
    browser.write_text(STUBBORN)
    browser.chmod(0o700)
    temporary.mkdir()
    if sys.platform != "win32":
        os.mkfifo(held)
    # The browser and what it starts keep the pipe open: its end is read when the last of them is gone.
    descriptor = os.open(held, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    ours = {"XDG_CONFIG_HOME": "/nonexistent", "SSTPSOCKS_PASSWORD": PASSWORD}
    try:
        async with demo_site(tmp_path) as demo:
            words = [sys.executable, "-m", "sstpsocks", "browser", f"sstp://alice@127.0.0.1:{demo.port}"]
            words += ["--ca-file", str(demo.ca_file), "--server-name", SERVER_NAME, "--browser", str(browser)]
            process = await trio.lowlevel.open_process(
                words, cwd=ROOT, env=inherited | ours | {"TMPDIR": str(temporary), "HELD": str(held)},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stderr is not None
            with trio.fail_after(30):
                await trio.lowlevel.wait_readable(descriptor)
            assert os.read(descriptor, 100) == b"begun\n"
            assert [name for name in os.listdir(temporary) if name.startswith("sstpsocks-browser-")]
            said = b""
            process.send_signal(signal.SIGINT)
            with trio.fail_after(10):
                while b"ending, as asked" not in said:
                    said += await process.stderr.receive_some()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0
                await trio.lowlevel.wait_readable(descriptor)
                assert os.read(descriptor, 100) == b""
            await process.stderr.aclose()
    finally:
        os.close(descriptor)
    assert os.listdir(temporary) == []
