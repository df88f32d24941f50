"""Connections that are open and silent: what they cost, and whether they are in the way of others.

All of them lead to the echo service. Each is used once when all are open, so none is dead; then new requests are timed
beside them. A peer that cannot hold so many is left out with what it said to the first that failed.

SSTPSOCKS_BENCH_HELD=30000 adds a case of that size.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.cases import Measurement, Skip
from benchmarks.cases.requests import milliseconds, new_request, tails
from benchmarks.rig.conditions import ECHO_PORT, Conditions
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

SIZES = (100, 1000, 10_000)
SAMPLES = 200
SAMPLES_QUICK = 50
TIMEOUT = 10.0
MORE = "SSTPSOCKS_BENCH_HELD"
ABORT_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER, on and for no time: thousands of connections must not stay in TIME-WAIT for the next run."""


class HeldConnections:
    """So many connections at the same time."""

    fresh = True
    conditions = Conditions()

    def __init__(self, count: int) -> None:
        self.count = count
        self.name = f"held-{count}"
        self.title = f"{count} connections held"

    def applies(self, peer: Peer) -> bool:
        """Every peer but the bare machine."""
        return peer.tunnel or peer.proxy

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Open them, use them, and see what else works."""
        widen_ports()
        new_request(peer)
        idle = peer.resident()
        with ExitStack() as stack:
            held = [stack.enter_context(stream) for stream in open_all(peer, self.count)]
            use_all(held)
            resident = peer.resident()
            taken = milliseconds(SAMPLES_QUICK if rig.quick else SAMPLES, lambda: new_request(peer))
        found = {
            "idle MB": Measurement(idle / 1e6, "MB", "less"),
            "holding MB": Measurement(resident / 1e6, "MB", "less"),
            "KB/connection": Measurement((resident - idle) / self.count / 1e3, "KB", "less"),
        }
        return found | {f"new request {name}": figure for name, figure in tails(taken).items()}


def widen_ports() -> None:
    """Let the kernel use all ports for connections from here, where it may be told: its range is 28,232."""
    with suppress(OSError):
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65535")


def open_all(peer: RunningPeer, count: int) -> list[socket.socket]:
    """Open so many connections, one after the other; Skip when one fails."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            stream = peer.dial(ECHO_PORT, TIMEOUT)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT_ON_CLOSE)
            held.append(stream)
    except OSError as error:
        for stream in held:
            stream.close()
        said = "".join(process.log[-300:] for process in peer.processes)
        raise Skip(f"connection {len(held) + 1} failed: {error!r} {said}") from None
    return held


def use_all(held: list[socket.socket]) -> None:
    """Send an octet on each connection and receive it again; Skip when one is dead."""
    try:
        for stream in held:
            stream.sendall(b"x")
        for number, stream in enumerate(held):
            if stream.recv(1) != b"x":
                raise ConnectionError(f"connection {number + 1} was closed")
    except OSError as error:
        raise Skip(f"not all of {len(held)} connections are alive: {error!r}") from None


def cases() -> list[HeldConnections]:
    """Return all cases of this file."""
    more = [int(text) for text in [os.environ.get(MORE)] if text]
    return [HeldConnections(count) for count in (*SIZES, *more)]
