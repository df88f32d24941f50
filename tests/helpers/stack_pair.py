"""Two stacks joined back to back for trio tests: streams without a tunnel."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import trio

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.tunnel.streams import TcpAcceptor, TcpStream

LEFT = IPv4Address("10.1.0.1")
RIGHT = IPv4Address("10.1.0.2")
OUTPUT_BUDGET = 64 * 1024


class StackPair:
    """Two stacks and the wire between them; also the Pump of every stream on either."""

    def __init__(self, config: StackConfig | None = None, mtu: int = 1400) -> None:
        config = config if config is not None else StackConfig()
        self.left = Stack(LEFT, mtu=mtu, entropy=SeededEntropy("left"), config=config)
        self.right = Stack(RIGHT, mtu=mtu, entropy=SeededEntropy("right"), config=config)
        self._in_turn = False
        self._scope: trio.CancelScope | None = None

    def now(self) -> float:
        return trio.current_time()

    def flush(self) -> None:
        """Move packets both ways until nothing is left, and tell the flows."""
        if self._in_turn:
            return
        self._in_turn = True
        try:
            busy = True
            while busy:
                busy = False
                for sender, receiver in ((self.left, self.right), (self.right, self.left)):
                    if packets := sender.packets_to_send(self.now(), OUTPUT_BUDGET):
                        busy = True
                        for packet in packets:
                            receiver.receive_packet(packet, self.now())
                    for flow in receiver.take_dirty() + sender.take_dirty():
                        busy = True
                        if flow.notify is not None:
                            flow.notify()
        finally:
            self._in_turn = False
        if self._scope is not None:
            self._scope.deadline = self._deadline()

    def _deadline(self) -> float:
        times = [time for time in (self.left.poll_at(), self.right.poll_at()) if time is not None]
        return min(times, default=math.inf)

    async def run(self) -> None:
        """Keep the timers of both stacks."""
        while True:
            with trio.CancelScope(deadline=self._deadline()) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            self.left.handle_timer(self.now())
            self.right.handle_timer(self.now())
            self.flush()

    async def connect(self, port: int = 80) -> tuple[TcpStream, TcpStream]:
        """Return the two ends of a new connection."""
        acceptor = TcpAcceptor(self.right.listen_tcp(port), self)
        stream = TcpStream(self.left.connect_tcp(RIGHT, port, self.now()), self)
        self.flush()
        await stream.wait_connected()
        accepted = await acceptor.accept()
        acceptor.close()
        return stream, accepted


@asynccontextmanager
async def running_stack_pair(config: StackConfig | None = None) -> AsyncIterator[StackPair]:
    """A pair whose timers run."""
    pair = StackPair(config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.run)
        yield pair
        nursery.cancel_scope.cancel()
