"""``sstpsocks browser`` with a real Chromium and the demo's intranet."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import trio

from tests.helpers.demo_site import PASSWORD, SERVER_NAME, demo_site

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.timeout(100),
]


# Its sandbox is a matter of the machine: root and many containers have none.
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")


def environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    return {**inherited, "XDG_CONFIG_HOME": "/nonexistent", "SSTPSOCKS_PASSWORD": PASSWORD, "TMPDIR": str(folder)}


async def browse(folder: Path, url: str, *more: str) -> tuple[int, str, str]:
    """Return the exit code, the page as the browser sees it, and what we said."""
    async with demo_site(folder) as demo:
        words = [sys.executable, "-m", "sstpsocks", "browser", f"sstp://alice@127.0.0.1:{demo.port}"]
        words += ["--ca-file", str(demo.ca_file), "--server-name", SERVER_NAME, "--browser", str(CHROMIUM)]
        words += ["--url", url, "--", *HEADLESS, *more]
        with trio.fail_after(80):
            ended = await trio.run_process(
                words, cwd=ROOT, env=environment(folder), capture_stdout=True, capture_stderr=True, check=False
            )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def test_a_page_behind_the_server_is_shown_and_no_profile_is_left(tmp_path: Path) -> None:
    code, page, said = await browse(tmp_path, "http://intranet.demo/")
    assert code == 0, said
    assert "Hello from the private network" in page, said
    assert not [name for name in os.listdir(tmp_path) if name.startswith("sstpsocks-browser-")]


async def test_what_listens_on_this_machine_is_not_reached(tmp_path: Path) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        _code, _page, said = await browse(tmp_path, f"http://127.0.0.1:{port}/")
        assert "refused, DeniedByRule" in said
        with trio.move_on_after(0.1) as nobody_came:
            await listener.accept()
    assert nobody_came.cancelled_caught
