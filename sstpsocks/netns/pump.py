"""Moves packets between a TUN device and the gateway: a driver for the namespace's end, as the tunnel has its own.

Theory of operation. A *turn* is a plain function call: read what the device has, hand the batch to the gateway, let the
owner decide about its events, notify each flow that has news once, then write what all of them have to send. What comes
through the tunnel starts a turn by flush(), from within the tunnel's own turn; what a program sends starts one of the
tunnel, from within this one. Neither starts a second of itself, so they do not go round in circles.

The device takes every packet at once, since the kernel does TCP's work within the system call; a turn ends when it has
lasted long enough, and what is left is for the next.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

import trio

from ..errors import ConnectionLost
from ..net.gateway import Gateway, GatewayEvent

MAX_BATCH = 64  # packets that are read in a turn
OUTPUT_BUDGET = 256 * 1024
TURN_TIME = 0.002  # seconds after which a turn that has more to write lets the others run

Together = Callable[[Callable[[], None]], None]
"""Run something that may send on many flows outside, and send all of it at once behind it."""


class TunPump:
    """Serves one device; ``descriptor`` does not block, and is closed at the end."""

    def __init__(
        self, descriptor: int, gateway: Gateway, mtu: int, decide: Callable[[GatewayEvent], None], together: Together
    ) -> None:
        self._descriptor = descriptor
        self._gateway = gateway
        self._mtu = mtu
        self._decide = decide
        self._together = together
        self._in_turn = False
        self._finished = False
        self._more_to_write = trio.Event()
        self._wake_at = -math.inf
        self._sleep: trio.CancelScope | None = None
        self.dropped = 0
        """Packets that the device did not take."""

    def now(self) -> float:
        """The gateway's clock: trio's, in seconds."""
        return trio.current_time()

    async def run(self) -> None:
        """Serve until the device is gone: with the last process of its namespace, or with us."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._write_on)
                while not self._finished:
                    if self._read() < MAX_BATCH:
                        await trio.lowlevel.wait_readable(self._descriptor)
                    else:
                        await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    def flush(self) -> None:
        """Write what the flows have queued. Cheap, never blocks."""
        if not self._in_turn and not self._finished:
            self._turn()

    def close(self) -> None:
        """End every flow and let the device go."""
        if self._descriptor < 0:
            return
        self._finished = True
        self._gateway.close(ConnectionLost("the namespace has ended"), self.now())
        self._notify()
        descriptor, self._descriptor = self._descriptor, -1
        trio.lowlevel.notify_closing(descriptor)
        os.close(descriptor)

    # One turn

    def _turn(self, packets: list[bytes] | None = None) -> None:
        self._in_turn = True
        try:
            if packets:
                spans, start = [], 0
                for packet in packets:
                    spans.append((start, start + len(packet)))
                    start += len(packet)
                self._gateway.receive_batch(packets[0] if len(packets) == 1 else b"".join(packets), spans, self.now())
                while (event := self._gateway.next_event()) is not None:
                    self._decide(event)
            self._notify()
            self._write()
        finally:
            self._in_turn = False
        deadline = self._deadline()
        if self._sleep is not None and deadline < self._wake_at:
            self._wake_at = self._sleep.deadline = deadline

    def _read(self) -> int:
        packets: list[bytes] = []
        try:
            while len(packets) < MAX_BATCH:
                packet = os.read(self._descriptor, self._mtu)
                if not packet:
                    self._finished = True
                    break
                packets.append(packet)
        except BlockingIOError:
            pass
        except OSError:
            self._finished = True  # the namespace is gone
            return 0
        if packets:
            # What the packets of many flows become leaves at once, in full records.
            self._together(partial(self._turn, packets))
        return len(packets)

    def _notify(self) -> None:
        while flows := self._gateway.take_dirty():
            for flow in flows:
                if flow.notify is not None:
                    flow.notify()

    def _write(self) -> None:
        now = begun = self.now()
        while packets := self._gateway.packets_to_send(now, OUTPUT_BUDGET):
            for packet in packets:
                try:
                    os.write(self._descriptor, packet)
                except OSError:
                    self.dropped += 1  # as any link may
            now = self.now()
            if now - begun > TURN_TIME:
                if self._gateway.has_output():
                    self._more_to_write.set()
                return

    async def _write_on(self) -> None:
        while True:
            await self._more_to_write.wait()
            self._more_to_write = trio.Event()
            await trio.lowlevel.checkpoint()
            self.flush()

    # Time

    def _deadline(self) -> float:
        deadline = self._gateway.poll_at()
        return math.inf if deadline is None else deadline

    async def _keep_time(self) -> None:
        while True:
            self._wake_at = self._deadline()
            with trio.CancelScope(deadline=self._wake_at) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            if self._deadline() <= self.now():
                self._read()
            if not self._finished and self._deadline() <= self.now():
                self._gateway.handle_timer(self.now())
                self._turn()
