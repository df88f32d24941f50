"""A real browser through the SOCKS port: it opens many connections at once, by name, and half of them in vain."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_traffic import curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

NAMES = ("chromium", "chromium-browser", "google-chrome")
# What would ask for more than the page: updates, sync, and protocols that a SOCKS port does not carry.
OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def dump(browser: str, client: Client, profile: Path, url: str) -> str:
    """Return the page as the browser sees it."""
    host, port = client.socks
    # Its sandbox is a matter of the machine: root and many containers have none.
    options = [*OPTIONS, "--no-sandbox", f"--user-data-dir={profile}", f"--proxy-server=socks5://{host}:{port}"]
    result = subprocess.run(
        [browser, *options, "--dump-dom", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, client.log
    return result.stdout.decode()


@pytest.mark.parametrize("where", ["http", "http_by_name"])
def test_browser_loads_a_page(
    tunnel: Client, server: Server, curl: str, browser: str, tmp_path: Path, where: str
) -> None:
    url = server.need(where)
    lines = curl_through(curl, tunnel, url).decode().splitlines()
    # The browser writes the page anew; a line of text without tags stays as it is.
    words = next((line.strip() for line in lines if line.strip() and not set(line) & set("<>&")), None)
    assert words is not None, "the page has no line of plain text"
    assert words in dump(browser, tunnel, tmp_path / "profile", url), tunnel.log
    assert "Traceback" not in tunnel.log
