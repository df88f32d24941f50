"""A server that is killed and comes back: what happens to transfers, to requests, and to a tunnel nobody uses."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


def through(curl: str, client: Client, url: str, *more: str) -> list[str]:
    host, port = client.socks
    return [curl, "-sf", "--max-time", "60", "--socks5-hostname", f"{host}:{port}", *more, url]


def run(command: str) -> None:
    subprocess.run(command, shell=True, check=True, timeout=120, stdout=subprocess.DEVNULL)


@pytest.mark.usefixtures("stopped_server")
def test_a_download_goes_on_over_the_death_of_the_server(
    client: Client, server: Server, curl: str, tmp_path: Path
) -> None:
    server.need("inside")  # the machine of the files has to outlive the server
    target = tmp_path / "got"
    client.start("--auth", server.auth.split(",")[0])
    client.wait_ready()
    command = through(curl, client, server.need("http") + "64m.bin", "--limit-rate", "10M", "-o", str(target))
    with subprocess.Popen(command) as download:
        try:
            time.sleep(2)
            assert download.poll() is None
            run(server.stop)
            time.sleep(1)
            run(server.start)
            assert download.wait(60) == 0, client.log
        finally:
            download.kill()
    assert hashlib.sha256(target.read_bytes()).hexdigest() == server.sha256_64m
    assert "1 open connection goes on" in client.log


@pytest.mark.usefixtures("stopped_server")
def test_a_held_request_waits_for_the_server(client: Client, server: Server, curl: str) -> None:
    client.start("--auth", server.auth.split(",")[0], "--hold", "30")
    client.wait_ready()
    run(server.stop)
    time.sleep(1)
    with subprocess.Popen(through(curl, client, server.need("http")), stdout=subprocess.DEVNULL) as request:
        try:
            time.sleep(1)
            assert request.poll() is None, "it was not held"
            run(server.start)
            back = time.monotonic()
            assert request.wait(30) == 0, client.log
            assert time.monotonic() - back < server.recovery, client.log
        finally:
            request.kill()


def test_on_demand_it_is_dialled_for_a_request_and_ended_when_idle(client: Client, server: Server, curl: str) -> None:
    client.start("--auth", server.auth.split(",")[0], "--on-demand", "--idle-timeout", "2")
    client.wait_ready()
    assert client.ready["addresses"] == []
    for _again in range(2):
        subprocess.run(through(curl, client, server.need("http")), check=True, capture_output=True)
        deadline = time.monotonic() + 30
        ended = client.log.count("tunnel idle: not used")
        while client.log.count("tunnel idle: not used") == ended:
            assert time.monotonic() < deadline, client.log
            time.sleep(0.1)
    assert client.stop() == 0
