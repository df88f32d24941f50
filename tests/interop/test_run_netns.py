"""``sstpsocks run --netns`` against real servers, with programs that know no proxy: curl, dig, ping, iperf3."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.helpers.netns import skip_unless_namespaces_may_be_made
from tests.interop.conftest import Server, new_client

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
ERRNOS = {5: "ECONNREFUSED", 4: "EHOSTUNREACH"}


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Run:
    """Runs a command in a namespace of its own."""
    skip_unless_namespaces_may_be_made()
    arguments = new_client(server, tmp_path).arguments
    words = [sys.executable, "-m", "sstpsocks", "run", "--netns", "-q", *arguments, "--auth", server.auth.split(",")[0]]

    def run(*command: str) -> subprocess.CompletedProcess[bytes]:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        return subprocess.run([*words, "--", *command], capture_output=True, check=False, timeout=120)

    return run


def done(ended: subprocess.CompletedProcess[bytes]) -> bytes:
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def test_curl_reaches_a_name_that_only_the_tunnel_knows(run: Run, server: Server) -> None:
    assert done(run("curl", "-sSf", server.need("http_by_name")))


def test_a_download_of_64_megabytes_is_exact(run: Run, server: Server) -> None:
    body = done(run("curl", "-sSf", server.need("http") + "/64m.bin"))
    assert hashlib.sha256(body).hexdigest() == server.need("sha256_64m")


def test_an_upload_is_exact(run: Run, server: Server, tmp_path: Path) -> None:
    data = os.urandom(16 << 20)
    (tmp_path / "data").write_bytes(data)
    answer = done(run("curl", "-sSf", "-T", str(tmp_path / "data"), server.need("upload")))
    assert hashlib.sha256(data).hexdigest() in answer.decode()


def test_ipv6_by_name(run: Run, server: Server) -> None:
    url = server.need("http6_by_name")
    # The server tells its prefix when the tunnel stands, some moments after IPv4.
    fetch = 'n=0; until curl -sSf -6 "$0"; do n=$((n+1)); [ $n -lt 50 ] || exit 1; sleep 0.2; done'
    assert done(run("sh", "-c", fetch, url))


@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_dig_asks_the_name_servers_of_the_tunnel(run: Run, server: Server, way: str) -> None:
    name = urlsplit(server.need("http_by_name")).hostname
    assert name
    assert done(run("dig", "+short", way, name)).split()
    assert b"status: NXDOMAIN" in done(run("dig", way, server.unknown_name))


def test_dig_gets_long_answers(run: Run, server: Server) -> None:
    answer = done(run("dig", "+short", "TXT", server.need("long_name")))
    assert len(answer) > 512


def test_ping_finds_the_target_by_name(run: Run, server: Server) -> None:
    name = urlsplit(server.need("http_by_name")).hostname
    assert name
    assert b" 0% packet loss" in done(run("ping", "-c", "2", "-i", "0.2", "-W", "10", name))


CONNECT = """
import errno, socket, sys
for target in sys.argv[1:]:
    host, _, port = target.rpartition(':')
    try:
        socket.create_connection((host, int(port)), 30).close()
        print('connected')
    except OSError as error:
        print(errno.errorcode.get(error.errno or 0, error))
"""


def test_programs_are_told_why_a_target_is_not_reached(run: Run, server: Server) -> None:
    server.need("replies")
    expected = [(f"{host}:{port}", ERRNOS[code]) for host, port, code in server.targets() if code in ERRNOS]
    told = done(run(sys.executable, "-c", CONNECT, *(target for target, _ in expected))).decode().split()
    assert told == [number for _, number in expected]


def iperf(run: Run, server: Server, *options: str) -> dict[str, Any]:
    host, _, port = server.need("iperf").rpartition(":")
    report: dict[str, Any] = json.loads(done(run("iperf3", "-J", "-t", "2", "-c", host, "-p", port, *options)))
    return dict(report["end"])


@pytest.mark.parametrize("options", [(), ("-R",), ("-P", "8"), ("-P", "8", "-R")], ids=" ".join)
def test_iperf3_passes_tcp_in_both_directions(run: Run, server: Server, options: tuple[str, ...]) -> None:
    end = iperf(run, server, *options)
    sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
    assert received > 1_000_000
    assert received >= sent * 0.5


@pytest.mark.parametrize("options", [("-u", "-b", "2M"), ("-u", "-b", "2M", "-R")], ids=" ".join)
def test_iperf3_passes_udp_in_both_directions(run: Run, server: Server, options: tuple[str, ...]) -> None:
    end = iperf(run, server, *options)
    assert end["sum"]["packets"] > 100
    assert end["sum"]["lost_percent"] < 20
