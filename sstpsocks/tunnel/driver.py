"""The driver: one task that owns the TLS connection and moves everything between it and the flows.

Theory of operation
-------------------
A *turn* is a plain function call: read what the socket has, decrypt it, let the link find the IP packets, hand the
whole batch to the stack, notify each flow that has something new once, then collect what all of them want to send,
frame, encrypt and write it. No packet crosses a task or a channel on the way.

The turn runs in one of three tasks: when the socket is readable, when it is writable again, or when a timer is due. A
program that uploads starts one from its own task by queueing data on a stream, which ends in flush(). All of them run
in one thread and never await, so they cannot interleave; a flush() asked for inside a turn is done by that turn.

Backpressure: packets are built only when the previous ciphertext has left for the socket. While the socket does
not take more, flows keep their data. A turn also ends when it has sent for TURN_TIME, however much the socket would
still take: what is left is for the next one, behind everybody else who wants to run.

Timers are told lazily: the task that keeps time is woken at the earliest deadline it was told of, and looks again. It
reads the socket before it acts, since what has arrived may have made the deadline needless.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..errors import PeerUnresponsive, TlsFailed, TransportFailed, TunnelClosed, TunnelError
from ..link import LinkEvent, LinkPhase
from ..net.outer import OuterPath
from .liveness import Finding, Liveness
from .transport import READ_SIZE

if TYPE_CHECKING:
    from ..link import Link
    from ..net.stack import Stack
    from .tap import Tap
    from .tls import TlsEngine
    from .transport import Transport

# How much is built at once before the socket is asked to take it: four TLS records. Small enough that a packet which
# becomes urgent meanwhile waits for microseconds, large enough that one write carries many packets.
OUTPUT_BUDGET = 64 * 1024

# Seconds after which a turn that has more to send lets the others run.
TURN_TIME = 0.001

# Packets kept that came before there was a stack. IPv6 may open before IPv4, and servers advertise themselves at once.
MAX_EARLY_PACKETS = 8


class Driver:
    """Runs a link and a stack over TLS over a transport until the link is down."""

    def __init__(
        self,
        transport: Transport,
        engine: TlsEngine,
        link: Link,
        *,
        on_event: Callable[[LinkEvent], None],
        tap: Tap | None = None,
        dead_after: float | None = None,
        on_suspicion: Callable[[bool], None] | None = None,
    ) -> None:
        """``dead_after``: see Liveness. ``on_suspicion``: told that the server may be dead, and that it is not."""
        self.link = link
        self._liveness = Liveness(dead_after)
        self._on_suspicion = on_suspicion
        self.stack: Stack | None = None
        """Set by the owner when the link is up, from on_event."""
        self.outer = OuterPath()
        """How the outer connection fares; the owner hands it to the stack."""
        self._transport = transport
        self._engine = engine
        self._on_event = on_event
        self._tap = tap
        if tap is not None:
            link.watch = partial(tap.control, outbound=False)
        self._early: list[bytes] = []
        self._outgoing = memoryview(b"")
        self._in_turn = False
        self._finished = False
        self._running: trio.CancelScope | None = None
        self._wake_at = -math.inf
        """When the task that keeps time is woken."""
        self._sleep: trio.CancelScope | None = None
        self._writable_wanted = trio.Event()
        self.bytes_received = 0
        """Ciphertext octets from the server."""
        self.bytes_sent = 0
        """Ciphertext octets handed to the socket."""

    def now(self) -> float:
        """The time all cores run on: trio's clock, in seconds."""
        return trio.current_time()

    async def run(self, first_data: bytes = b"") -> None:
        """Run until the link is down. ``first_data``: plaintext that came along with the HTTP response."""
        try:
            async with trio.open_nursery() as nursery:
                self._running = nursery.cancel_scope
                nursery.start_soon(self._write_when_possible)
                nursery.start_soon(self._keep_time)
                self._turn(partial(self._begin, first_data))
                await self._read_loop()
                nursery.cancel_scope.cancel()
        finally:
            self._end()

    def round_trip(self) -> float | None:
        """Return the round-trip time of the connection to the server in seconds, None when it is not known."""
        return None if self._finished else self._transport.round_trip()

    def flush(self) -> None:
        """Send what the flows have queued. For the owners of flows; cheap, never blocks."""
        if not self._in_turn and not self._finished:
            self._turn(_nothing)

    def probe(self, limit: float) -> None:
        """Have the server show within ``limit`` seconds that it lives."""

        def ask() -> None:
            if self.link.carries_ip:
                self._liveness.probe(self.now(), limit)
                self.link.ask_for_life(self.now())

        self.act(ask)

    def give_up(self, error: TunnelError) -> None:
        """The connection cannot live, whatever the socket says; nothing more is sent."""
        self.act(lambda: self.link.transport_lost(error, self.now()))

    def endpoints(self) -> tuple[str, str] | None:
        """Return the addresses of this machine and of the other end, None when they are not known."""
        return None if self._finished else self._transport.endpoints()

    def close(self) -> None:
        """Begin the orderly end; run() returns when it is over."""
        if not self._finished:
            self._turn(lambda: self.link.close(self.now()))

    def act(self, action: Callable[[], None]) -> None:
        """Run ``action``, which uses the link or the stack, and send what comes of it; nothing once it is over."""
        if not self._finished:
            self._turn(action)

    @property
    def behind(self) -> float:
        """Seconds by which it is late with what its timers want; a healthy driver is late by a turn."""
        return 0.0 if self._finished else max(0.0, self.now() - self._deadline())

    # The loop

    async def _read_loop(self) -> None:
        while not self._done():
            if self._read() >= READ_SIZE:
                # There is more, probably. One batch, one checkpoint: the tasks that this batch woke run first.
                await trio.lowlevel.checkpoint()
            elif not self._done():
                await self._transport.wait_readable()

    def _read(self) -> int:
        """Take what has arrived, in one turn; return how many octets of ciphertext that were."""
        try:
            data = self._transport.receive_nowait()
        except OSError as error:
            self._turn(partial(self._lost, f"connection to the server broke: {error.strerror or error}"))
            return 0
        if data is None:
            return 0
        self._turn(partial(self._take, data))
        return len(data)

    async def _keep_time(self) -> None:
        while True:
            self._wake_at = self._deadline()
            with trio.CancelScope(deadline=self._wake_at) as self._sleep:
                await trio.sleep_forever()
            self._sleep = None
            if self._deadline() <= self.now():
                self._read()
                if self._deadline() <= self.now():
                    self._turn(self._handle_timers)

    async def _write_when_possible(self) -> None:
        while True:
            await self._writable_wanted.wait()
            await self._transport.wait_writable()
            self._writable_wanted = trio.Event()
            self._turn(_nothing)

    def _end(self) -> None:
        self._say_goodbye()
        self._finished = True
        self._transport.close()
        self.link.transport_lost(TunnelClosed("the tunnel was closed"), self.now())
        # What brought the end may have come to light while sending, after the flows had been notified.
        self._drain_events()
        self._notify_flows()

    def _say_goodbye(self) -> None:
        """Send close_notify if the socket takes it at once; SSTP ends without it just as well."""
        if self._outgoing:
            return
        try:
            self._engine.close_notify()
            self._transport.send_nowait(memoryview(self._engine.ciphertext_to_send()))
        except (OSError, TlsFailed):
            return

    def _done(self) -> bool:
        # The turn that brought the link down has tried to send its farewell; a peer that does not read it now is not
        # waited for.
        return self.link.phase is LinkPhase.CLOSED

    def _deadline(self) -> float:
        times = [self.link.poll_at(), self._liveness.poll_at()]
        if self.stack is not None:
            times.append(self.stack.poll_at())
        return min((time for time in times if time is not None), default=math.inf)

    # One turn

    def _turn(self, action: Callable[[], None]) -> None:
        if self._in_turn:
            action()
            return
        self._in_turn = True
        try:
            action()
            self._drain_events()
            self._notify_flows()
            self._send()
            self.outer.blocked = bool(self._outgoing)
        finally:
            self._in_turn = False
        if self._done():
            if self._running is not None:
                self._running.cancel()
        elif self._sleep is not None:
            deadline = self._deadline()
            if deadline < self._wake_at:
                self._wake_at = self._sleep.deadline = deadline

    def _begin(self, first_data: bytes) -> None:
        if self._done():
            return  # closed before it began
        self.link.start(self.now())
        if plaintext := first_data + self._engine.read_available():
            self._take_plaintext(plaintext)

    def _take(self, ciphertext: bytes) -> None:
        if not ciphertext:
            self._lost("server closed the connection")
            return
        self.bytes_received += len(ciphertext)
        self.outer.last_received = self.now()
        if self._liveness.heard() and self._on_suspicion is not None:
            self._on_suspicion(False)
        try:
            self._engine.feed(ciphertext)
            plaintext = self._engine.read_available()
        except TlsFailed as error:
            self._tls_failed(error)
            return
        if plaintext:
            self._take_plaintext(plaintext)
        if self._engine.at_eof:
            self._lost("server closed the TLS connection")

    def _take_plaintext(self, plaintext: bytes) -> None:
        now = self.now()
        data, spans = self.link.receive_data(plaintext, now)
        self.outer.answered_through = self.link.answered_through
        if self.stack is None or self.link.carries_ip:
            self._drain_events()  # the link, or IPv6, may have come up in the middle of the batch
        # Otherwise events wait: what ended the link comes behind the packets of its batch.
        if self.stack is None:
            self._early += [data[start:end] for start, end in spans[: MAX_EARLY_PACKETS - len(self._early)]]
            return
        for packet in self._early:
            if self._tap is not None:
                self._tap.packet(packet, now, outbound=False)
            self.stack.receive_packet(packet, now)
        self._early.clear()
        if spans:
            if self._tap is not None:
                for start, end in spans:
                    self._tap.packet(data[start:end], now, outbound=False)
            self.stack.receive_batch(data, spans, now)

    def _handle_timers(self) -> None:
        now = self.now()
        self.link.handle_timer(now)
        self._look_for_life(now)
        if self.stack is not None:
            self.stack.handle_timer(now)
        if self.outer.witness_wanted:
            self.outer.witness_wanted = False
            self.link.send_witness(now)

    def _look_for_life(self, now: float) -> None:
        if not self.link.carries_ip:
            self._liveness.heard()  # each step on the way up has a time limit of its own
            return
        if self.link.asked_at == now:
            self._liveness.asked(now)
        while (finding := self._liveness.handle_timer(now)) is not None:
            if finding is Finding.ASK:
                self.link.ask_for_life(now)
            elif finding is Finding.SUSPECT:
                if self._on_suspicion is not None:
                    self._on_suspicion(True)
            else:
                silent = now - self.outer.last_received
                text = f"server has not answered what was sent; nothing has come from it for {silent:.0f} s"
                hint = "the network path or the server is gone"
                self.link.transport_lost(PeerUnresponsive(text, hint=hint), now)

    def _lost(self, text: str) -> None:
        self.link.transport_lost(
            TunnelClosed(text) if self.stack is not None else TransportFailed(f"{text} during {self.link.phase.value}"),
            self.now(),
        )

    def _tls_failed(self, error: TlsFailed) -> None:
        self.link.transport_lost(TunnelClosed(str(error), hint=error.hint), self.now())

    def _drain_events(self) -> None:
        while (event := self.link.next_event()) is not None:
            self._on_event(event)

    def _notify_flows(self) -> None:
        if self.stack is None:
            return
        while flows := self.stack.take_dirty():
            for flow in flows:
                if flow.notify is not None:
                    flow.notify()

    def _send(self) -> None:
        """Encrypt and write until nothing is left, the socket takes no more, or the turn has lasted long enough."""
        now = begun = self.now()
        if self._outgoing:
            self._liveness.sent(now)
        while not self._outgoing or self._write():
            more = False
            try:
                for packet in self.link.data_to_send(now):
                    if self._tap is not None:
                        self._tap.control(packet, now, outbound=True)
                    self._engine.write(packet)
                if packets := self._packets(now):
                    self._engine.write(self.link.frame_packets(packets))
                    more = self.stack is not None and self.stack.has_output()
            except TlsFailed as error:
                # A broken record came behind data that was taken; what is left to send is the alert.
                self._tls_failed(error)
                self._drain_events()
                more = True
            ciphertext = self._engine.ciphertext_to_send()
            if ciphertext:
                self._outgoing = memoryview(ciphertext)
                self._liveness.sent(now)
                if not self._write():
                    return
            if not more:
                return
            now = self.now()
            if now - begun > TURN_TIME:
                self._writable_wanted.set()
                return

    def _packets(self, now: float) -> list[bytes]:
        if self.stack is None or not self.link.carries_ip:
            return []
        packets = self.stack.packets_to_send(now, OUTPUT_BUDGET)
        if self._tap is not None:
            for packet in packets:
                self._tap.packet(packet, now, outbound=True)
        return packets

    def _write(self) -> bool:
        """Write pending ciphertext; return False when the socket takes no more now."""
        try:
            count = self._transport.send_nowait(self._outgoing)
        except OSError as error:
            self._outgoing = memoryview(b"")
            self._lost(f"connection to the server broke: {error.strerror or error}")
            self._drain_events()
            return True
        self.bytes_sent += count
        self._outgoing = self._outgoing[count:]
        if self._outgoing:
            self._writable_wanted.set()
            return False
        return True


def _nothing() -> None:
    """Only send what is queued."""
