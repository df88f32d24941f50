"""A bulk transfer between two stacks in one process, stopped before the step that is measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection

BATCH = 32 * 1024
"""Octets of IP packets in a batch: what the driver reads at one time."""
MTU = 1400
WARM_UP = 4 << 20
ROUNDS = 2000
WARM_UP_ROUNDS = 100
PACKETS_IN_BATCH = BATCH // MTU
_STEP = 0.001

Batch = tuple[bytes, list[tuple[int, int]]]


class Benchmark(Protocol):
    """The fixture of pytest-benchmark, as far as it is used here."""

    extra_info: dict[str, Any]

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Time a function that may be called any number of times."""

    def pedantic(
        self,
        target: Callable[..., Any],
        *,
        setup: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
        rounds: int,
        warmup_rounds: int = 0,
    ) -> Any:
        """Time a function that wants something prepared for each call."""


class Transfer:
    """``sender`` sends to ``receiver`` without end; both windows are open wide."""

    def __init__(self, *, ipv6: bool) -> None:
        self.receiver = Stack(IPv4Address("10.0.0.1"), mtu=MTU, entropy=SeededEntropy("receiver"))
        self.sender = Stack(IPv4Address("10.0.0.2"), mtu=MTU, entropy=SeededEntropy("sender"))
        target: IPv4Address | IPv6Address = IPv4Address("10.0.0.1")
        if ipv6:
            target = IPv6Address("fd00::1")
            self.receiver.add_address(target, 64)
            self.sender.add_address(IPv6Address("fd00::2"), 64)
        self._clock = itertools.count()
        listener = self.receiver.listen_tcp(80)
        self.outgoing = self.sender.connect_tcp(target, 80, self.now())
        self.exchange()
        accepted = listener.accept()
        assert accepted is not None
        self.incoming: TcpConnection = accepted
        self._data = bytes(range(256)) * 1024
        sent = 0
        while sent < WARM_UP:
            sent += self.fill()
            self.exchange()

    def now(self) -> float:
        """Return the next instant."""
        return next(self._clock) * _STEP

    def fill(self) -> int:
        """Give the sender as much as it takes."""
        return self.outgoing.send(self._data, self.now())

    def exchange(self) -> None:
        """Carry everything that is under way, and read what arrived."""
        busy = True
        while busy:
            busy = False
            for source, sink in ((self.sender, self.receiver), (self.receiver, self.sender)):
                source.handle_timer(self.now())
                while packets := source.packets_to_send(self.now(), BATCH):
                    busy = True
                    sink.receive_batch(*join(packets), self.now())
                    self.read()

    def read(self) -> None:
        """Take what arrived, as a program does."""
        for connection in self.receiver.connections.values():
            if connection.readable:
                connection.consume(connection.readable, self.now())
        self.receiver.take_dirty()
        self.sender.take_dirty()

    def next_batch(self) -> Batch:
        """Return packets of one batch that the receiver has not seen yet; what was before has been read."""
        self.read()
        self.exchange()
        self.fill()
        packets: list[bytes] = []
        while len(packets) < PACKETS_IN_BATCH:
            built = self.sender.packets_to_send(self.now(), MTU)
            assert built, "the sender's window is closed"
            packets += built
        return join(packets)


def join(packets: list[bytes]) -> Batch:
    """Return the packets as receive_batch() wants them."""
    ends = list(itertools.accumulate(map(len, packets)))
    return b"".join(packets), list(zip([0, *ends], ends, strict=False))
