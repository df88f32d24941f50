"""Many connections through a real server: how fast new ones are, how much each that is held takes, and who waits.

    SSTPSOCKS_TEST_HOST=... SSTPSOCKS_TEST_HTTP=... SSTPSOCKS_TEST_ECHO=10.0.0.1:7 ... python -m benchmarks.connections

The server is described by the same variables as for the interop suite (docs/interop.md); the folder must hold
``256m.bin``, and SSTPSOCKS_TEST_ECHO be a TCP echo service that takes as many connections as are held. Linux only:
memory is read from /proc.

*Parallel*: so many requests are always under way, each on a connection of its own. *Held*: connections are opened to
the echo service, say something, get it back and stay; then all of them say something once more, and small requests are
timed meanwhile. *Fairness*: several downloads of one file at the same time, and how much the slowest got in the time of
the fastest.
"""

from __future__ import annotations

import argparse
import mmap
import os
import selectors
import socket
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.latency import SETTLE, percentile, request, samples
from benchmarks.rig.processes import cpu_seconds
from benchmarks.tunnel import machine, no_server, running_client
from tests.interop.client import Client

SPARE_FILES = 200
PER_SOURCE = 20_000
"""Connections from one address of the loopback network, which has fewer ports than we may open."""
OPENING = 64
"""Connections that are opened at the same time, fewer than the kernel's queue takes."""
WORD = b"held"
TIMEOUT = 60.0
WARM_UP = 100
READ_SIZE = 1 << 18
BULK_FILE = "256m.bin"
GREETING = b"\x05\x01\x00"


def connect_request(host: str, port: int) -> bytes:
    """Return the request for an address (RFC 1928 section 4)."""
    packed = ip_address(host).packed
    return b"\x05\x01\x00" + (b"\x01" if len(packed) == 4 else b"\x04") + packed + port.to_bytes(2, "big")


def resident(pid: int) -> int:
    """Return the octets of memory that a process has resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * mmap.PAGESIZE


def allow_open_files(count: int) -> None:
    """Raise our own limit on open files; the client raises its own."""
    if sys.platform != "win32":
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


class Opener:
    """One connection through the SOCKS server on its way, without waiting for any step."""

    def __init__(self, server: tuple[str, int], steps: list[tuple[bytes, int]], source: str = "") -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect_ex(server)
        self._steps = iter(steps)
        self._missing = 0
        self.begun = time.perf_counter()

    def proceed(self) -> bool:
        """Do what the socket is ready for; return whether the last step is done.

        Each step sends something and takes so many octets of answer, with -1 all there are.
        """
        if self._missing:
            data = self.socket.recv(65536)
            if not data:
                assert self._missing < 0, "the connection ended early"
                return True
            self._missing -= len(data) if self._missing > 0 else 0
            assert self._missing >= -1, "more came than was asked for"
            if self._missing:
                return False
        step = next(self._steps, None)
        if step is None:
            return True
        self.socket.send(step[0])
        self._missing = step[1]
        return False


def run(
    server: tuple[str, int], steps: list[tuple[bytes, int]], count: int, parallel: int, *, hold: bool
) -> tuple[list[socket.socket], list[float], float]:
    """Open ``count`` connections, so many at a time; return those that are held, each one's ms, and the seconds."""
    poll = selectors.DefaultSelector()
    held: list[socket.socket] = []
    times: list[float] = []
    started = under_way = 0
    begin = time.perf_counter()
    while len(times) < count:
        while under_way < parallel and started < count:
            source = f"127.0.0.{2 + started // PER_SOURCE}" if hold else ""
            opener = Opener(server, steps, source)
            poll.register(opener.socket, selectors.EVENT_WRITE, opener)
            started += 1
            under_way += 1
        ready = poll.select(TIMEOUT)
        assert ready, f"nothing happened for {TIMEOUT:g} s, {len(times)} of {count} connections are open"
        for key, events in ready:
            opener = key.data
            done = opener.proceed()
            if events & selectors.EVENT_WRITE and not done:
                poll.modify(opener.socket, selectors.EVENT_READ, opener)
            if done:
                times.append((time.perf_counter() - opener.begun) * 1e3)
                under_way -= 1
                poll.unregister(opener.socket)
                if hold:
                    held.append(opener.socket)
                else:
                    opener.socket.close()
    return held, times, time.perf_counter() - begin


def answered(held: list[socket.socket]) -> float:
    """Have each of the connections say something and get it back; return the seconds."""
    begin = time.perf_counter()
    for first in range(0, len(held), OPENING):
        batch = held[first : first + OPENING]
        for stream in batch:
            stream.setblocking(True)
            stream.settimeout(TIMEOUT)
            stream.sendall(WORD)
        for stream in batch:
            missing = len(WORD)
            while missing:
                got = len(stream.recv(missing))
                assert got, "a held connection was closed"
                missing -= got
    return time.perf_counter() - begin


def measure_parallel(client: Client, host: str, port: int, path: str, count: int, parallel: int) -> None:
    """Print how many requests on new connections are done in a second."""
    get = f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    steps = [(GREETING, 2), (connect_request(host, port), 10), (get, -1)]
    cpu = cpu_seconds([client.process.pid])
    _, times, seconds = run(client.socks, steps, count, parallel, hold=False)
    cpu = cpu_seconds([client.process.pid]) - cpu
    print(
        f"{parallel} parallel: {count / seconds:.0f} new connections/s, p50 {percentile(times, 50):.1f} ms, "
        f"p99 {percentile(times, 99):.1f} ms, client CPU {cpu / count * 1e6:.0f} us each",
        flush=True,
    )


def measure_held(client: Client, http: tuple[str, int, str], echo: tuple[str, int], count: int) -> None:
    """Print what held connections take, and whether all of them are alive."""
    pid = client.process.pid
    steps = [(GREETING, 2), (connect_request(*echo), 10), (WORD, len(WORD))]
    before = resident(pid)
    held, _, seconds = run(client.socks, steps, count, OPENING, hold=True)
    after = resident(pid)
    again = answered(held)
    times = samples(200, 0.01, lambda: request(client, *http))
    print(
        f"{count} held: opened in {seconds:.1f} s, all answered again in {again:.1f} s, "
        f"{(after - before) / count / 1024:.1f} KiB each, {before / 2**20:.1f} MiB resident before and "
        f"{resident(pid) / 2**20:.1f} after; new request meanwhile p50 {percentile(times, 50):.2f} ms, "
        f"p99 {percentile(times, 99):.2f} ms",
        flush=True,
    )
    for stream in held:
        stream.close()


def measure_fairness(client: Client, http: tuple[str, int, str], flows: int, seconds: float) -> None:
    """Print how alike downloads of one file are that run at the same time."""
    host, port, path = http
    steps = [(GREETING, 2), (connect_request(host, port), 10)]
    streams, _, _ = run(client.socks, steps, flows, flows, hold=True)
    received = dict.fromkeys(streams, 0)
    poll = selectors.DefaultSelector()
    for stream in streams:
        stream.send(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        poll.register(stream, selectors.EVENT_READ, stream)
    settled = time.perf_counter() + SETTLE
    end = settled + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in poll.select(1.0):
            data = key.data.recv(READ_SIZE)
            assert data, "a download ended before its time: the file is too small"
            if now >= settled:
                received[key.data] += len(data)
    for stream in streams:
        stream.close()
    shares = sorted(received.values())
    print(
        f"{flows} downloads: slowest/fastest {shares[0] / shares[-1]:.3f}, "
        f"{sum(shares) / seconds / 1e6:.0f} MB/s in all",
        flush=True,
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Many connections through the SSTP server of SSTPSOCKS_TEST_*.")
    parser.add_argument("--parallel", type=int, nargs="*", default=[50], help="requests at a time (default 50)")
    parser.add_argument("--requests", type=int, default=3000, help="requests of each parallel run (default 3000)")
    parser.add_argument("--held", type=int, nargs="*", default=[1000, 10_000], help="connections (default 1000 10000)")
    parser.add_argument("--downloads", type=int, nargs="*", default=[8], help="flows at a time (default 8)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long they are watched (default 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs of all but the held (default 3)")
    options = parser.parse_args()
    if no_server():
        return 2
    url = urlsplit(os.environ["SSTPSOCKS_TEST_HTTP"])
    http = (url.hostname or "", url.port or 80, url.path)
    echo_host, _, echo_port = os.environ["SSTPSOCKS_TEST_ECHO"].rpartition(":")
    largest = max([*options.held, 0])
    allow_open_files(largest + SPARE_FILES)
    print(machine(), flush=True)
    # Held connections first: after many short ones the far end has ports in TIME-WAIT. When a new client, which has the
    # same address, takes one of those, its SYN is answered only when it is repeated, a second later.
    for count in options.held:
        with running_client("--max-connections", str(largest + SPARE_FILES)) as (client, _):
            for _ in range(WARM_UP):
                request(client, *http)
            measure_held(client, http, (echo_host, int(echo_port)), count)
    for parallel in options.parallel:
        with running_client() as (client, _):
            for _ in range(WARM_UP):
                request(client, *http)
            for _ in range(options.runs):
                measure_parallel(client, *http, options.requests, parallel)
    for flows in options.downloads:
        with running_client() as (client, _):
            for _ in range(options.runs):
                measure_fairness(client, (*http[:2], f"{http[2]}{BULK_FILE}"), flows, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
