"""The whole program through a real server that impairs what the tunnel carries: transfers arrive octet by octet.

In contrast to test_kernel.py everything between a local program's socket and the kernel behind the tunnel takes part,
and the two TCP connections lie one inside the other.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.differential.conftest import unavailable
from tests.differential.kernel_host import payload
from tests.differential.lab import Lab, lab_missing
from tests.differential.rig import SCALE, SEEDS
from tests.interop.client import Client, socks_connect

pytestmark = [pytest.mark.differential, pytest.mark.timeout(300)]

TIMEOUT = 100.0
"""For any single step of a transfer."""
IMPAIRMENTS = (
    "--loss 1",
    "--loss 3",
    "--reorder 5",
    "--duplicate 2",
    "--corrupt 1",
    "--delay 25 --jitter 5",
    "--rate 20 --queue 30",
    "--mtu-blackhole 1200",
)
BULK = 600_000 * SCALE


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := lab_missing():
        unavailable(reason)
    lab = Lab(tmp_path_factory.mktemp("sstpd"))
    yield lab
    lab.stop()


class Transfers:
    """What local programs do through one client."""

    def __init__(self, client: Client, lab: Lab) -> None:
        self._client = client
        self._target = lab.settings["TARGET"]

    def echo(self, seed: int, count: int) -> None:
        """Both ways at once, and then the peer's half while ours is closed."""
        data = payload(seed, count)
        with self._connect(7) as stream, ThreadPoolExecutor(1) as sender:

            def send() -> None:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)

            sending = sender.submit(send)
            received = read_to_end(stream)
            sending.result()
        assert hashlib.sha256(received).hexdigest() == hashlib.sha256(data).hexdigest()

    def download(self) -> None:
        """A file from the kernel's side."""
        expected = self._get("/1m.bin.sha256").split()[0].decode()
        assert hashlib.sha256(self._get("/1m.bin")).hexdigest() == expected

    def upload(self, seed: int, count: int) -> None:
        """A file to the kernel's side, which answers with its digest."""
        data = payload(seed, count)
        with self._connect(8081) as stream:
            stream.sendall(f"PUT /?sha=1 HTTP/1.1\r\nHost: sink\r\nContent-Length: {count}\r\n\r\n".encode() + data)
            stream.shutdown(socket.SHUT_WR)
            answer = json.loads(read_to_end(stream).partition(b"\r\n\r\n")[2])
        assert answer == {"bytes": count, "sha256": hashlib.sha256(data).hexdigest()}

    def _get(self, path: str) -> bytes:
        with self._connect(80) as stream:
            stream.sendall(f"GET {path} HTTP/1.0\r\nHost: files\r\n\r\n".encode())
            head, _, body = read_to_end(stream).partition(b"\r\n\r\n")
        assert head.split()[1] == b"200", head
        return body

    def _connect(self, port: int) -> socket.socket:
        stream, reply = socks_connect(self._client.socks, self._target, port, TIMEOUT)
        assert reply == 0
        return stream


def read_to_end(stream: socket.socket) -> bytes:
    data = bytearray()
    while more := stream.recv(65536):
        data += more
    return bytes(data)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("impairment", IMPAIRMENTS)
def test_transfers_arrive_octet_by_octet(lab: Lab, tmp_path: Path, impairment: str, seed: int) -> None:
    lab.start("--seed", str(seed), *impairment.split())
    if "mtu" in impairment:
        # RFC 4821 when a black hole is suspected; the kernel does not unless told.
        lab.set("ipv4/tcp_mtu_probing", 1)
    client = lab.client(tmp_path)
    try:
        before = lab.counters()
        transfers = Transfers(client, lab)
        with ThreadPoolExecutor(16) as programs:
            jobs: list[Callable[[], None]] = [
                lambda: transfers.echo(seed, BULK),
                transfers.download,
                lambda: transfers.upload(seed, BULK),
                *(lambda seed=number: transfers.echo(seed, 3000) for number in range(40)),
            ]
            for job in [programs.submit(job) for job in jobs]:
                job.result()
        after = lab.counters()
    finally:
        client.stop()
    bad = ["Tcp.EstabResets", *(name for name in after if "TCPAbort" in name)]
    assert {name: after[name] - before[name] for name in bad if after[name] != before[name]} == {}, client.log
