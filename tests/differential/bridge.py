"""Joins two hosts in real time through the impairment stage: our stack and a kernel, or two kernels.

Everything happens in one thread and one loop, as in the tunnel's driver; netsim.py is the same in virtual time.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.listener import TcpListener
from tests.differential.kernel import MTU, OURS, OURS6, KernelHost
from tests.helpers.impairment import Impairment, Path
from tests.helpers.netsim import Program

_OUTPUT_BUDGET = 64 * 1024
_READS_PER_TURN = 64
_LONGEST_WAIT = 0.05


class End(Protocol):
    """A host as the bridge sees it."""

    def readable(self) -> list[int]:
        """Return the descriptors that tell of something to do."""
        ...

    def packets(self, now: float, /) -> list[bytes]:
        """Let its programs act, and return some of the packets that it wants to send."""
        ...

    def receive(self, packets: list[bytes], now: float, /) -> None:
        """Take packets that arrived at the same time."""
        ...

    def poll_at(self, now: float, /) -> float | None:
        """Return when it wants to act next, whatever arrives."""
        ...


class KernelEnd:
    """The kernel behind a TUN device."""

    def __init__(self, host: KernelHost) -> None:
        self.host = host

    def readable(self) -> list[int]:
        return [self.host.tun, self.host.control.fileno()]

    def packets(self, now: float, /) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < _READS_PER_TURN:
            try:
                found.append(os.read(self.host.tun, 65536))
            except BlockingIOError:
                break
        return found

    def receive(self, packets: list[bytes], now: float, /) -> None:
        for packet in packets:
            try:
                os.write(self.host.tun, packet)
            except OSError:
                # What corruption left is no IP packet: the device refuses it.
                continue

    def poll_at(self, now: float, /) -> float | None:
        return None


class StackEnd:
    """Our stack, with programs on its connections."""

    def __init__(self, *, mtu: int = MTU, seed: int = 0, config: StackConfig | None = None) -> None:
        self.stack = Stack(IPv4Address(OURS), mtu=mtu, entropy=SeededEntropy(seed), config=config)
        self.stack.add_address(IPv6Address(OURS6), 64)
        self.programs: list[Program] = []
        self._listeners: list[tuple[TcpListener, Callable[[TcpConnection], Program]]] = []

    def connect(self, address: str, port: int) -> TcpConnection:
        """Begin to connect."""
        return self.stack.connect_tcp(ip_address(address), port, time.monotonic())

    def listen(self, port: int, program: Callable[[TcpConnection], Program]) -> None:
        """Run a program on each connection to a port."""
        self._listeners.append((self.stack.listen_tcp(port), program))

    def readable(self) -> list[int]:
        return []

    def packets(self, now: float, /) -> list[bytes]:
        self.stack.handle_timer(now)
        self.stack.take_dirty()
        for listener, program in self._listeners:
            while (connection := listener.accept()) is not None:
                self.programs.append(program(connection))
        for running in self.programs:
            running.turn(now)
        return self.stack.packets_to_send(now, _OUTPUT_BUDGET)

    def receive(self, packets: list[bytes], now: float, /) -> None:
        spans, start = [], 0
        for packet in packets:
            spans.append((start, start + len(packet)))
            start += len(packet)
        self.stack.receive_batch(b"".join(packets), spans, now)

    def poll_at(self, now: float, /) -> float | None:
        if self.stack.has_output():
            return now
        times = [self.stack.poll_at(), *(program.poll_at() for program in self.programs)]
        return min((time for time in times if time is not None), default=None)


class Bridge:
    """Carries packets from ``left`` to ``right`` over the path ``there``, and over ``back`` in return."""

    def __init__(self, left: End, right: End, there: Path, back: Path | None = None, *, seed: int = 0) -> None:
        self.seed = seed
        dice = random.Random(seed)
        self.there = Impairment(there, dice)
        self.back = Impairment(back or there, dice)
        self.watch: Callable[[bytes, End, float], None] | None = None
        """Called for each packet that enters the stage, with the end it is for."""
        self._ends = ((left, self.there, right), (right, self.back, left))
        self._flying: list[tuple[float, int, End, bytes]] = []
        self._count = 0

    def __repr__(self) -> str:
        programs = [
            program.connection for end, _, _ in self._ends if isinstance(end, StackEnd) for program in end.programs
        ]
        return f"<Bridge seed {self.seed}\n  there {self.there}\n  back {self.back}\n  programs {programs[:8]}>"

    def run(self, done: Callable[[], bool], *, limit: float = 60.0) -> None:
        """Carry packets until ``done()``; AssertionError after ``limit`` seconds."""
        end = time.monotonic() + limit
        while not done():
            assert time.monotonic() < end, f"not done after {limit} seconds: {self!r}"
            self._turn(end)

    def run_for(self, seconds: float) -> None:
        """Carry packets for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._turn(end)

    def _turn(self, end: float) -> None:
        now = time.monotonic()
        for sender, impairment, receiver in self._ends:
            for packet in sender.packets(now):
                if self.watch is not None:
                    self.watch(packet, receiver, now)
                for arrival, carried in impairment.carry(packet, now):
                    self._count += 1
                    heapq.heappush(self._flying, (arrival, self._count, receiver, carried))
        self._deliver(time.monotonic())
        self._wait(end)

    def _deliver(self, now: float) -> None:
        batches: dict[int, tuple[End, list[bytes]]] = {}
        while self._flying and self._flying[0][0] <= now:
            _, _, receiver, packet = heapq.heappop(self._flying)
            batches.setdefault(id(receiver), (receiver, []))[1].append(packet)
        for receiver, packets in batches.values():
            receiver.receive(packets, now)

    def _wait(self, end: float) -> None:
        """Sleep until a packet arrives somewhere, a timer is due or a kernel has something to say."""
        now = time.monotonic()
        times = [end, now + _LONGEST_WAIT]
        if self._flying:
            times.append(self._flying[0][0])
        times += [at for sender, _, _ in self._ends if (at := sender.poll_at(now)) is not None]
        wanted = [descriptor for sender, _, _ in self._ends for descriptor in sender.readable()]
        ready, _, _ = select.select(wanted, [], [], max(min(times) - now, 0.0))
        for sender, _, _ in self._ends:
            if isinstance(sender, KernelEnd) and sender.host.control.fileno() in ready:
                sender.host.read_results()
