"""A bulk transfer as a process of its own, so that whoever measures beside it keeps the interpreter to itself.

    python -m benchmarks.rig.background down 10.0.0.1:8000 --proxy 127.0.0.1:1080

It runs on one connection until SIGTERM and then prints how many octets arrived.
"""

from __future__ import annotations

import argparse
import contextlib
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from .conditions import WEB_PORT
from .gateway import repository
from .impairment import address
from .load import UPLOAD_BODY, UPLOAD_HEAD, Download, Flow, Upload, run_flows
from .peers import RunningPeer
from .service import memory_file
from .socks import connect_through, plain_connection

DIAL_TIMEOUT = 30.0
SETTLE = 1.0
"""Seconds that a transfer gets to reach its rate before something is measured beside it."""
STOP_TIMEOUT = 10.0
_SLICE = 0.2


def main() -> int:
    """Transfer until SIGTERM."""
    parser = argparse.ArgumentParser(description="One bulk transfer that does not end by itself.")
    parser.add_argument("direction", choices=["down", "up"])
    parser.add_argument("target", type=address, metavar="HOST:PORT")
    parser.add_argument("--proxy", type=address, metavar="HOST:PORT", help="SOCKS5")
    parser.add_argument("--device", help="network device to be bound to")
    options = parser.parse_args()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    host, port = options.proxy or options.target
    stream = plain_connection(host, port, DIAL_TIMEOUT, options.device)
    with stream, selectors.DefaultSelector() as selector:
        if options.proxy:
            connect_through(stream, *options.target)
        flow: Flow
        if options.direction == "down":
            flow = Download(stream)
        else:
            flow = Upload(stream, memory_file(UPLOAD_HEAD + bytes(UPLOAD_BODY)))
        stream.setblocking(False)
        selector.register(stream, flow.events, flow)
        while not stopped:
            run_flows(selector, time.monotonic() + _SLICE)
    print(flow.moved)
    return 0


@contextlib.contextmanager
def running_transfer(peer: RunningPeer, direction: str) -> Iterator[None]:
    """Keep a transfer running through a peer, at its full rate."""
    command = [sys.executable, "-m", "benchmarks.rig.background", direction, f"{peer.target}:{WEB_PORT}"]
    if peer.proxy:
        command += ["--proxy", f"{peer.proxy[0]}:{peer.proxy[1]}"]
    if peer.device:
        command += ["--device", peer.device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=repository())
    try:
        time.sleep(SETTLE)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the transfer beside it ended with {process.returncode}")
        process.terminate()
        output, _ = process.communicate(timeout=STOP_TIMEOUT)
        if not int(output):
            raise RuntimeError("the transfer beside it stood still")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
