"""Latency through a real server, idle and under load: how long a new request and a keystroke take.

    SSTPSOCKS_TEST_HOST=... SSTPSOCKS_TEST_HTTP=... SSTPSOCKS_TEST_ECHO=10.0.0.1:7 ... python -m benchmarks.latency

The server is described by the same variables as for the interop suite (docs/interop.md); the folder must hold
``256m.bin``, SSTPSOCKS_TEST_UPLOAD take a PUT, and SSTPSOCKS_TEST_ECHO be a TCP echo service.

A *new request* is everything from the connection to the SOCKS server to the end of a small HTTP answer. A *keystroke*
is 16 octets there and back on a flow that is open. Both are taken one after the other, with pauses, so that they meet
every phase of what the bulk transfer does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.tunnel import curl_command, empty_file, load_average, machine, no_server, running_client
from tests.interop.client import Client, socks_connect

BULK = 256 << 20
TRANSFERS = 100
"""More than one phase of the benchmark can use up."""
SETTLE = 1.0
"""Seconds that a bulk transfer gets to reach its rate."""
KEYSTROKE = b"k" * 16
TIMEOUT = 30.0
LOADS = ("idle", "download", "upload")


@contextlib.contextmanager
def bulk(client: Client, arguments: list[str]) -> Iterator[None]:
    """Keep one transfer after the other running on one connection; nothing runs without ``arguments``."""
    if not arguments:
        yield
        return
    process = subprocess.Popen(curl_command(client, *arguments * TRANSFERS))
    try:
        time.sleep(SETTLE)
        yield
        assert process.poll() is None, f"the bulk transfer ended with {process.returncode}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def request(client: Client, host: str, port: int, path: str) -> None:
    """Do one new request."""
    stream, reply = socks_connect(client.socks, host, port, TIMEOUT)
    with stream:
        assert reply == 0, f"SOCKS reply {reply}"
        stream.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        while more := stream.recv(65536):
            answer += more
        assert answer.startswith(b"HTTP/1.1 200"), answer[:40]


def keystroke(stream: socket.socket) -> None:
    """Do one exchange on an open flow."""
    stream.sendall(KEYSTROKE)
    missing = len(KEYSTROKE)
    while missing:
        received = len(stream.recv(missing))
        assert received, "the echo service closed the connection"
        missing -= received


def samples(count: int, pause: float, action: Callable[[], None]) -> list[float]:
    """Return how many milliseconds each of ``count`` actions took."""
    pauses = random.Random(1)
    taken = []
    for _ in range(count):
        time.sleep(pause * pauses.uniform(0.5, 1.5))
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1e3)
    return taken


def percentile(values: list[float], percent: int) -> float:
    """Return the value that so many percent do not exceed."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def report(name: str, runs: list[list[float]]) -> None:
    """Print the medians of the runs' percentiles."""
    middles, tails = ([percentile(run, percent) for run in runs] for percent in (50, 99))
    print(
        f"{name:21} p50 {statistics.median(middles):6.2f} ms ({min(middles):.2f} to {max(middles):.2f}), "
        f"p99 {statistics.median(tails):6.2f} ms ({min(tails):.2f} to {max(tails):.2f})",
        flush=True,
    )


def loads(folder: Path) -> dict[str, list[str]]:
    """Return the arguments for curl by the name of the load."""
    environ = os.environ
    download = environ["SSTPSOCKS_TEST_HTTP"] + "256m.bin"
    found: dict[str, list[str]] = {"idle": [], "download": ["-o", "/dev/null", download]}
    if upload := environ.get("SSTPSOCKS_TEST_UPLOAD"):
        file = empty_file(folder / "upload.bin", BULK)
        found["upload"] = ["-o", "/dev/null", "--upload-file", str(file), upload]
    return found


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Latency under load through the SSTP server of SSTPSOCKS_TEST_*.")
    parser.add_argument("--runs", type=int, default=3, help="runs of each measurement (default 3)")
    parser.add_argument("--samples", type=int, default=300, help="exchanges in a run (default 300)")
    parser.add_argument("--pause", type=float, default=0.01, help="mean pause between two in seconds (default 0.01)")
    parser.add_argument("--load", choices=LOADS, nargs="+", default=LOADS, help="under which loads (default all)")
    options = parser.parse_args()
    if no_server():
        return 2
    url = urlsplit(os.environ["SSTPSOCKS_TEST_HTTP"])
    host, port = url.hostname or "", url.port or 80
    print(f"{machine()}, {options.runs} runs of {options.samples}: median (least to greatest)", flush=True)
    with running_client() as (client, folder):
        for load, arguments in loads(folder).items():
            if load not in options.load:
                continue
            requests, keystrokes = [], []
            for _ in range(options.runs):
                with bulk(client, arguments):
                    requests.append(
                        samples(options.samples, options.pause, lambda: request(client, host, port, url.path))
                    )
                    if echo := os.environ.get("SSTPSOCKS_TEST_ECHO"):
                        echo_host, _, echo_port = echo.rpartition(":")
                        stream, reply = socks_connect(client.socks, echo_host, int(echo_port), TIMEOUT)
                        with stream:
                            assert reply == 0, f"SOCKS reply {reply}"
                            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            keystrokes.append(samples(options.samples, options.pause, partial(keystroke, stream)))
            report(f"{load}: new request", requests)
            if keystrokes:
                report(f"{load}: keystroke", keystrokes)
        print(f"load average at the end {load_average()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
