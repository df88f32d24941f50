"""Small requests, one after the other and many at a time: what a person notices first.

A *new request* is all from the connection to the proxy (or to the target, without one) to the end of a small HTTP
answer. A *keep-alive request* is one more on a connection that is open. Both are taken one after the other; those that
run beside a bulk transfer with pauses between them, so that they meet every phase of what the transfer does.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import nullcontext

from benchmarks import connections
from benchmarks.cases import Measurement
from benchmarks.figures import percentile
from benchmarks.rig.background import running_transfer
from benchmarks.rig.conditions import WEB_PORT, Conditions
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

ANSWER = 100
"""Octets of a small answer."""
NEW_REQUEST = f"GET /{ANSWER} HTTP/1.0\r\nHost: target\r\n\r\n".encode()
NEXT_REQUEST = f"GET /{ANSWER} HTTP/1.1\r\nHost: target\r\n\r\n".encode()
HEAD_SIZE = len(f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER}\r\n\r\n")
SAMPLES = 500
SAMPLES_QUICK = 100
PARALLEL = 50
PARALLEL_REQUESTS = 2000
PARALLEL_REQUESTS_QUICK = 500
REPLY_SIZE = 10
"""Octets of the reply to a SOCKS5 request, with an IPv4 address."""
PAUSE = 0.01
"""Mean seconds between two requests beside a transfer."""
TIMEOUT = 30.0


def new_request(peer: RunningPeer) -> None:
    """Do one request on a connection of its own."""
    with peer.dial(timeout=TIMEOUT) as stream:
        stream.sendall(NEW_REQUEST)
        received = 0
        while more := len(stream.recv(65536)):
            received += more
    assert received == HEAD_SIZE + ANSWER, f"{received} octets"


def next_request(stream: socket.socket) -> None:
    """Do one more request on an open connection."""
    stream.sendall(NEXT_REQUEST)
    missing = HEAD_SIZE + ANSWER
    while missing:
        more = len(stream.recv(missing))
        assert more, "the target closed the connection"
        missing -= more


def milliseconds(count: int, action: Callable[[], None], pause: float = 0.0) -> list[float]:
    """Return how long each of ``count`` actions took."""
    pauses = random.Random(1)
    taken = []
    for _ in range(count):
        if pause:
            time.sleep(pause * pauses.uniform(0.5, 1.5))
        begin = time.perf_counter()
        action()
        taken.append((time.perf_counter() - begin) * 1e3)
    return taken


def tails(taken: list[float]) -> dict[str, Measurement]:
    """Return what is reported of many times."""
    return {f"p{percent} ms": Measurement(percentile(taken, percent), "ms", "less") for percent in (50, 99)}


class NewRequests:
    """New requests, one after the other, alone or beside a bulk transfer."""

    fresh = False
    conditions = Conditions()

    def __init__(self, beside: str = "") -> None:
        self.beside = beside
        self.name = f"requests-during-{beside}" if beside else "requests"
        self.title = f"New requests during a bulk {beside}load" if beside else "New requests, one after the other"

    def applies(self, peer: Peer) -> bool:
        """Every peer."""
        return True

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Take a row of requests."""
        count = SAMPLES_QUICK if rig.quick else SAMPLES
        new_request(peer)
        with running_transfer(peer, self.beside) if self.beside else nullcontext():
            taken = milliseconds(count, lambda: new_request(peer), PAUSE if self.beside else 0.0)
        figures = tails(taken)
        if not self.beside:
            figures["requests/s"] = Measurement(count / sum(taken) * 1e3, "/s")
        return figures


class KeepAliveRequests:
    """Requests on one open connection."""

    name = "requests-keep-alive"
    title = "Requests on an open connection"
    fresh = False
    conditions = Conditions()

    def applies(self, peer: Peer) -> bool:
        """Every peer."""
        return True

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Take a row of requests."""
        with peer.dial(timeout=TIMEOUT) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            next_request(stream)
            return tails(milliseconds(SAMPLES_QUICK if rig.quick else SAMPLES, lambda: next_request(stream)))


class ParallelRequests:
    """New requests, so many of them always under way."""

    name = "requests-parallel"
    title = f"New requests, {PARALLEL} at a time"
    fresh = False
    conditions = Conditions()

    def applies(self, peer: Peer) -> bool:
        """Every peer."""
        return True

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Do many requests."""
        steps = [(NEW_REQUEST, -1)]
        if peer.proxy:
            request = connections.connect_request(peer.target, WEB_PORT)
            steps = [(connections.GREETING, 2), (request, REPLY_SIZE), *steps]
        server = peer.proxy or (peer.target, WEB_PORT)
        count = PARALLEL_REQUESTS_QUICK if rig.quick else PARALLEL_REQUESTS
        before = peer.client_cpu()
        _, taken, seconds = connections.run(server, steps, count, PARALLEL, hold=False)
        figures = {"connections/s": Measurement(count / seconds, "/s"), **tails(taken)}
        if spent := peer.client_cpu() - before:
            figures["client CPU us/connection"] = Measurement(spent / count * 1e6, better="less")
        return figures


def cases() -> list[NewRequests | KeepAliveRequests | ParallelRequests]:
    """Return all cases of this file."""
    return [NewRequests(), ParallelRequests(), KeepAliveRequests(), NewRequests("down"), NewRequests("up")]
