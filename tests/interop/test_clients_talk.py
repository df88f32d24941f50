"""What programs do beyond fetching: uploads of every framing, passwords, and a browser's WebSockets and downloads."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import talk
from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_browser import NAMES, OPTIONS
from tests.interop.test_clients import port_of, program, run
from tests.interop.test_programs import soon, target_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

TALK_PORT = 8090
USER, PASSWORD = "alice", "open: sesame"


@pytest.fixture
def talker(server: Server) -> Iterator[str]:
    """The URL of a server that talks back."""
    inside, address = shlex.split(server.need("inside")), target_of(server)[0]
    name = server.need("http_by_name").removeprefix("http://").partition("/")[0].partition(":")[0]
    process = subprocess.Popen([*inside, sys.executable, talk.__file__, address, str(TALK_PORT)])
    probe = f"import socket; socket.create_connection(('{address}', {TALK_PORT}), 1)"

    def listens() -> bool:
        return subprocess.run([*inside, sys.executable, "-c", probe], stderr=subprocess.DEVNULL).returncode == 0

    try:
        assert soon(listens, 10)
        yield f"http://{name}:{TALK_PORT}/"
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("proxy", ["http", "socks5h"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("framing", "header"),
    [("length", "Expect:"), ("length", "Expect: 100-continue"), ("chunked", "Transfer-Encoding: chunked")],
)
def test_curl_uploads_in_every_framing(
    talker: str, shared_tunnel: Client, curl: str, tmp_path: Path, proxy: str, method: str, framing: str, header: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(300_000))
    command = [curl, "-sSf", "--max-time", "20", "--proxy", port_of(shared_tunnel, proxy), "--request", method]
    answer = json.loads(run([*command, "--header", header, "--data-binary", f"@{source}", talker]))
    assert answer == {"framing": framing, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}


@pytest.mark.parametrize(("proxy", "answer"), [("http", "407"), ("socks5h", "000")])
def test_curl_needs_the_right_password(
    talker: str, client: Client, server: Server, curl: str, tmp_path: Path, proxy: str, answer: str
) -> None:
    file = tmp_path / "socks-password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    client.start("--auth", server.auth.split(",")[0], "--socks-user", USER, "--socks-password-file", str(file))
    client.wait_ready()
    command = [curl, "-sSf", "--max-time", "20", "--proxytunnel", "--proxy", port_of(client, proxy)]
    assert talk.MESSAGE in run([*command, "--proxy-user", f"{USER}:{PASSWORD}", talker])
    for wrong in (["--proxy-user", f"{USER}:guess"], []):
        told = [*command, *wrong, "--output", os.devnull, "--write-out", "%{http_connect}", talker]
        done = subprocess.run(told, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode, "the page came"
        assert done.stdout == answer, done.stderr


def browse(tunnel: Client, profile: Path, proxy: str) -> list[str]:
    way = {
        "socks": f"--proxy-server={port_of(tunnel, 'socks5')}",
        "http": f"--proxy-server={port_of(tunnel, 'http')}",
    }
    pac = f"--proxy-pac-url={port_of(tunnel, 'http')}/proxy.pac"
    return [program(*NAMES), *OPTIONS, "--no-sandbox", f"--user-data-dir={profile}", way.get(proxy, pac)]


@pytest.mark.parametrize("proxy", ["socks", "http", "pac"])
def test_chromium_talks_over_a_websocket(talker: str, shared_tunnel: Client, tmp_path: Path, proxy: str) -> None:
    command = [*browse(shared_tunnel, tmp_path / "profile", proxy), "--dump-dom"]
    done = subprocess.run(
        [*command, f"{talker}socket.html"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert f"echoed: {talk.MESSAGE}" in done.stdout.decode(), shared_tunnel.log


@pytest.mark.parametrize("proxy", ["socks", "pac"])
def test_chromium_saves_a_download(talker: str, shared_tunnel: Client, tmp_path: Path, proxy: str) -> None:
    profile, saved = tmp_path / "profile", tmp_path / "downloads" / "saved.txt"
    saved.parent.mkdir()
    (profile / "Default").mkdir(parents=True)
    preferences = {
        "download": {"default_directory": str(saved.parent), "prompt_for_download": False},
        "safebrowsing": {"enabled": False},
    }
    (profile / "Default" / "Preferences").write_text(json.dumps(preferences))
    browser = subprocess.Popen(
        [*browse(shared_tunnel, profile, proxy), f"{talker}download"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # The browser gives a download its name when it is whole.
        assert soon(saved.exists, 20), [shared_tunnel.log, *map(str, saved.parent.iterdir())]
    finally:
        browser.terminate()
        browser.wait(20)
    assert saved.read_bytes() == talk.DOWNLOAD
