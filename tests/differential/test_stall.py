"""A server that stands still in the middle of an upload: TCP over TCP must wait for it, not repeat what cannot be lost.

The server neither reads nor writes its connection for three seconds, many times the retransmission timeout of the
connection inside. Whatever that one sends again by then arrives twice.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.conftest import unavailable
from tests.differential.kernel_host import payload
from tests.differential.lab import Lab, lab_missing
from tests.interop.client import socks_connect

pytestmark = [pytest.mark.differential, pytest.mark.timeout(120)]

SIZE = 40_000_000
STALL_AFTER = "20M"
STALL = 3.0
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := lab_missing():
        unavailable(reason)
    lab = Lab(tmp_path_factory.mktemp("sstpd"))
    yield lab
    lab.stop()


def server_counters(lab: Lab) -> dict[str, Any]:
    """What the server says about the packets that it carried, asked for now."""
    stats = Path(lab.settings["STATS"])
    before = stats.stat().st_size
    subprocess.run(["kill", "-USR1", lab.settings["SERVER_PID"]], check=True)
    deadline = time.monotonic() + 5
    while not (line := stats.read_bytes()[before:]).endswith(b"\n"):
        assert time.monotonic() < deadline, "the server prints no counters"
        time.sleep(0.02)
    counters: dict[str, Any] = json.loads(line.splitlines()[-1])
    return counters


def test_nothing_is_repeated_because_the_server_stands_still(lab: Lab, tmp_path: Path) -> None:
    lab.start("--stall-after", STALL_AFTER, "--stall-ms", str(int(STALL * 1000)))
    client = lab.client(tmp_path)
    data = payload(1, SIZE)
    begin = time.monotonic()
    try:
        stream, reply = socks_connect(client.socks, lab.settings["TARGET"], 8081, TIMEOUT)
        assert reply == 0
        with stream:
            stream.sendall(f"PUT /?sha=1 HTTP/1.1\r\nHost: sink\r\nContent-Length: {SIZE}\r\n\r\n".encode() + data)
            stream.shutdown(socket.SHUT_WR)
            answer = b""
            while more := stream.recv(65536):
                answer += more
        elapsed = time.monotonic() - begin
        counters = server_counters(lab)
    finally:
        client.stop()
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"bytes": SIZE, "sha256": hashlib.sha256(data).hexdigest()}
    assert elapsed > STALL, "the server did not stand still"
    assert counters["up"]["bytes"] > SIZE, counters
    assert counters["up"]["tcp_retransmits"] == 0, counters
