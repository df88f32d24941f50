"""A simulated network in virtual time: two stacks, a path with faults each way, programs on top. Seeded, exact."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.address import IPAddress
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from tests.helpers.impairment import Impairment, Path

__all__ = ["LEFT", "RIGHT", "Path", "Program", "Simulation"]

LEFT = IPv4Address("10.9.0.1")
RIGHT = IPv4Address("10.9.0.2")
LEFT6 = IPv6Address("2001:db8::1")
RIGHT6 = IPv6Address("2001:db8::2")
_OUTPUT_BUDGET = 64 * 1024
_STEPS_AT_ONE_TIME = 2000
"""More turns than this without time passing are a busy loop."""


@dataclass
class Program:
    """Sends ``to_send``, then shuts down; collects what it receives; may read slowly, in bites, or not at all."""

    connection: TcpConnection
    to_send: bytes = b""
    shutdown: bool = True
    answer_after_eof: bool = False
    """Begin to send only when the peer has finished: half-close."""
    bite: int = 0
    """Read at most this much per ``pause``; 0 for at once."""
    pause: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    sent: int = 0
    next_bite: float = 0.0

    def turn(self, now: float) -> None:
        connection = self.connection
        if self.bite:
            if now >= self.next_bite and connection.readable:
                self._read(min(self.bite, connection.readable), now)
                self.next_bite = now + self.pause
        elif connection.readable:
            self._read(connection.readable, now)
        if connection.error is not None or (self.answer_after_eof and not connection.eof):
            return
        while self.sent < len(self.to_send):
            accepted = connection.send(memoryview(self.to_send)[self.sent : self.sent + 100_000], now)
            if not accepted:
                return
            self.sent += accepted
        if self.shutdown:
            connection.shutdown(now)

    def poll_at(self) -> float | None:
        return self.next_bite if self.bite and self.connection.readable else None

    def _read(self, count: int, now: float) -> None:
        self.received += b"".join(self.connection.pieces())[:count]
        self.connection.consume(count, now)


class Simulation:
    """Two stacks, LEFT and RIGHT, joined by two paths."""

    def __init__(
        self,
        there: Path,
        back: Path | None = None,
        *,
        seed: int = 0,
        mtu: int = 1400,
        config: StackConfig | None = None,
        ipv6: bool = False,
    ) -> None:
        dice = random.Random(seed)
        self.now = 100.0
        self.left = Stack(LEFT, mtu=mtu, entropy=SeededEntropy(f"left{seed}"), config=config)
        self.right = Stack(RIGHT, mtu=mtu, entropy=SeededEntropy(f"right{seed}"), config=config)
        self.target: IPAddress = RIGHT
        if ipv6:
            self.target = RIGHT6
            self.left.add_address(LEFT6, 64)
            self.right.add_address(RIGHT6, 64)
        self.there = Impairment(there, dice)
        self.back = Impairment(back or there, dice)
        self.programs: list[Program] = []
        self._flying: list[tuple[float, int, Stack, bytes]] = []
        self._counter = 0
        self._steps = 0

    def connect(self, port: int = 80, *, simultaneous: bool = False) -> tuple[TcpConnection, TcpConnection]:
        """Return the two ends of an established connection."""
        if simultaneous:
            near = TcpConnection(self.left, (LEFT, port), (RIGHT, port))
            other: TcpConnection | None = TcpConnection(self.right, (RIGHT, port), (LEFT, port))
            near.open_active(self.now)
            assert other is not None
            other.open_active(self.now)
            self.run(lambda: near.established and other.established)
            return near, other
        listener = self.right.listen_tcp(port)
        near = self.left.connect_tcp(self.target, port, self.now)
        far: list[TcpConnection] = []

        def accepted() -> bool:
            if (connection := listener.accept()) is not None:
                far.append(connection)
            return bool(far) or near.error is not None

        self.run(accepted)
        assert far, near.error
        listener.close(self.now)
        return near, far[0]

    def run(self, done: Callable[[], bool], *, limit: float = 600.0) -> None:
        """Let time pass until ``done()`` is true; AssertionError after ``limit`` seconds or when nothing can happen."""
        end = self.now + limit
        while not done():
            time = self._turn()
            if time is None:
                assert done(), f"nothing will ever happen again: {self!r}"
                return
            assert time <= end, f"not done after {limit} seconds: {self!r}"
            self._steps = self._steps + 1 if time <= self.now else 0
            assert self._steps < _STEPS_AT_ONE_TIME, f"busy loop: {self!r}"
            self.now = max(time, self.now)
            self._deliver()
            self.left.handle_timer(self.now)
            self.right.handle_timer(self.now)

    def run_idle(self, seconds: float) -> None:
        """Let this much time pass, whatever happens in it."""
        end = self.now + seconds
        while True:
            time = self._turn()
            if time is None or time > end:
                self.now = end
                return
            self.now = max(time, self.now)
            self._deliver()
            self.left.handle_timer(self.now)
            self.right.handle_timer(self.now)

    def __repr__(self) -> str:
        return f"<Simulation at {self.now:.3f}, {len(self._flying)} flying, {[p.connection for p in self.programs]}>"

    def _turn(self) -> float | None:
        """Let everybody act at the present time and return when the next thing happens."""
        busy = True
        while busy:
            busy = False
            for program in self.programs:
                program.turn(self.now)
            for stack, direction, peer in (
                (self.left, self.there, self.right),
                (self.right, self.back, self.left),
            ):
                stack.take_dirty()
                for packet in stack.packets_to_send(self.now, _OUTPUT_BUDGET):
                    busy = True
                    for time, carried in direction.carry(packet, self.now):
                        self._counter += 1
                        heapq.heappush(self._flying, (time, self._counter, peer, carried))
        times = [self.left.poll_at(), self.right.poll_at(), *(program.poll_at() for program in self.programs)]
        if self._flying:
            times.append(self._flying[0][0])
        return min((time for time in times if time is not None), default=None)

    def _deliver(self) -> None:
        """Hand over what has arrived, each stack's packets as one batch."""
        batches: dict[int, tuple[Stack, list[bytes]]] = {}
        while self._flying and self._flying[0][0] <= self.now:
            _, _, stack, packet = heapq.heappop(self._flying)
            batches.setdefault(id(stack), (stack, []))[1].append(packet)
        for stack, packets in batches.values():
            spans = []
            start = 0
            for packet in packets:
                spans.append((start, start + len(packet)))
                start += len(packet)
            stack.receive_batch(b"".join(packets), spans, self.now)
