"""Bulk transfers for a time, on one flow or many, and what they cost.

One event loop drives all flows. What comes in is dropped by the kernel and what goes out is sent from a file in memory,
so that the program that loads takes as little as possible of the two cores that everything shares. An upload counts
what has arrived: it is a chain of requests of 256 KiB each on one connection, and the target answers each.

A window of time is measured, from when data moves on all flows: rates do not depend on how the flows end, and slow
starts are not in them.
"""

from __future__ import annotations

import selectors
import socket
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

from .conditions import WEB_PORT
from .gateway import Packets
from .peers import RunningPeer
from .processes import cpu_by_name, cpu_seconds
from .rig import Rig
from .service import drop, memory_file, send_file

ENDLESS = 1 << 50
UPLOAD_BODY = 256 << 10
UPLOAD_HEAD = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % UPLOAD_BODY
UPLOAD_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
READ_SIZE = 1 << 20
START_TIMEOUT = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """What moved in a window of time, and what it cost."""

    seconds: float
    flows: tuple[int, ...]
    """Octets of each flow."""
    client: dict[str, float]
    """CPU seconds of the peer's client, by process."""
    client_kernel: float
    """Those of them that were spent in calls of the kernel."""
    server: dict[str, float]
    """The same of its server."""
    loader: float
    """CPU seconds of this process."""
    target: float
    """CPU seconds of the target services."""
    packets: Packets | None
    """In the tunnel; None where there are no packets."""

    @property
    def octets(self) -> int:
        """Octets of all flows."""
        return sum(self.flows)


class Flow(ABC):
    """One connection that moves data without end."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.moved = 0
        """Octets that have arrived so far."""
        self.events = selectors.EVENT_READ

    @abstractmethod
    def ready(self, events: int) -> None:
        """Go on."""


class Download(Flow):
    """Takes what comes."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(stream)
        stream.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % ENDLESS)

    def ready(self, events: int) -> None:
        """Go on."""
        count = drop(self.stream, READ_SIZE)
        if not count:
            raise ConnectionError("the download ended")
        self.moved += count


class Upload(Flow):
    """Sends one request after the other and counts the answers."""

    def __init__(self, stream: socket.socket, file: int) -> None:
        super().__init__(stream)
        self.events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self._file = file
        self._sent = 0
        self._answers = 0

    def ready(self, events: int) -> None:
        """Go on."""
        if events & selectors.EVENT_READ:
            count = drop(self.stream, READ_SIZE)
            if not count:
                raise ConnectionError("the upload was ended")
            self._answers += count
            self.moved = self._answers // len(UPLOAD_ANSWER) * UPLOAD_BODY
        if events & selectors.EVENT_WRITE:
            whole = len(UPLOAD_HEAD) + UPLOAD_BODY
            offset = self._sent % whole
            self._sent += send_file(self.stream, self._file, offset, whole - offset)


def run_flows(selector: selectors.BaseSelector, until: float) -> None:
    """Move data until a time."""
    while (left := until - time.monotonic()) > 0:
        for key, events in selector.select(left):
            try:
                key.data.ready(events)
            except BlockingIOError:
                continue


def bulk(rig: Rig, running: RunningPeer, direction: str, flows: int, seconds: float, settle: float = 0.4) -> Transfer:
    """Move data on so many flows, "down" or "up", and measure a window of so many seconds."""
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        file = upload_file()
        moving: list[Flow] = []
        for _ in range(flows):
            stream = stack.enter_context(running.dial(WEB_PORT))
            flow = Download(stream) if direction == "down" else Upload(stream, file)
            stream.setblocking(False)
            selector.register(stream, flow.events, flow)
            moving.append(flow)
        deadline = time.monotonic() + START_TIMEOUT
        while not all(flow.moved for flow in moving):
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing moves on {sum(not flow.moved for flow in moving)} of {flows} flows")
            run_flows(selector, time.monotonic() + 0.05)
        run_flows(selector, time.monotonic() + settle)
        before, moved = _costs(rig, running), [flow.moved for flow in moving]
        begin = time.monotonic()
        run_flows(selector, begin + seconds)
        elapsed = time.monotonic() - begin
        moved = [flow.moved - start for flow, start in zip(moving, moved, strict=True)]
        after = _costs(rig, running)
        if not all(moved):
            raise RuntimeError(f"nothing arrived on {moved.count(0)} of {flows} flows while all were busy")
    return Transfer(
        seconds=elapsed,
        flows=tuple(moved),
        client=_spent(before.client, after.client),
        client_kernel=after.client_kernel - before.client_kernel,
        server=_spent(before.server, after.server),
        loader=after.loader - before.loader,
        target=after.target - before.target,
        packets=_carried(before.packets, after.packets),
    )


@dataclass(frozen=True, slots=True)
class _Costs:
    """What everything has cost so far."""

    client: dict[str, float]
    client_kernel: float
    server: dict[str, float]
    loader: float
    target: float
    packets: Packets | None


def _costs(rig: Rig, running: RunningPeer) -> _Costs:
    return _Costs(
        running.client_cpu_by_name(),
        running.client_kernel_cpu(),
        cpu_by_name(running.servers()),
        time.process_time(),
        cpu_seconds(rig.gateway.service_pids()),
        running.count_packets() if running.count_packets is not None else None,
    )


def _spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before.get(name, 0.0) for name in after}


def _carried(before: Packets | None, after: Packets | None) -> Packets | None:
    if before is None or after is None:
        return None
    return Packets(after.down - before.down, after.up - before.up)


@cache
def upload_file() -> int:
    """Return the file that holds one request of an upload; it lives as long as the process."""
    return memory_file(UPLOAD_HEAD + bytes(UPLOAD_BODY))
