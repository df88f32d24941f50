"""A stack with live flows of every kind and the host it talks to, between which everything is overheard and changed.

Theory of operation. Two stacks talk over a wire. In each turn both programs' sides do something, both stacks send, and
most packets arrive; some are lost, late or doubled. What arrives at the stack under test also serves as the pattern of
the mutated packets, which arrive in between, so that they fit the connections as they are just then. Time is virtual
and passes in steps of nothing to minutes. An epoch ends with everything closed, and then the stack must come to rest:
nothing left but what it began with.
"""

from __future__ import annotations

import random
from collections import deque
from ipaddress import IPv4Address, IPv6Address

from sstpsocks.base.checksum import checksum
from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import SstpsocksError
from sstpsocks.net.autoconf.advertisement import RouterAdvertisement
from sstpsocks.net.config import StackConfig
from sstpsocks.net.echo import IcmpEcho
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.listener import TcpListener
from sstpsocks.net.tcp.tcb import TcpState
from sstpsocks.net.udp import UdpEndpoint
from tests.fuzz.mutator import Mutator

OURS, PEER = IPv4Address("10.9.0.2"), IPv4Address("10.9.0.1")
OURS6, PEER6 = IPv6Address("2001:db8::2"), IPv6Address("2001:db8::1")
MTU = 1400
CONNECTIONS = 24
"""So many are kept alive on each side that opens them."""
MUTATED_PER_TURN = 64
BUDGET = 128 * 1024
PATTERNS = 400
STEPS = (0.0, 0.0, 0.001, 0.001, 0.01, 0.01, 0.05, 0.05, 0.3)
LONG_STEPS = (1.0, 5.0, 31.0, 70.0)
BULK = bytes(range(256)) * 256
REST = 4000.0
"""Virtual seconds in which everything that is closed must end: longer than any timer and all its repetitions."""
WAITING_FOR_PEER = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.FIN_WAIT_2})
"""States without a deadline of their own when nothing is under way: the next word is the peer's or the program's."""
CONFIG = StackConfig(
    max_connections=200, receive_buffer_maximum=256 * 1024, send_buffer_maximum=256 * 1024, ecn="active"
)


class Side:
    """One host: a stack, and programs that do as they please."""

    def __init__(
        self, chance: random.Random, name: str, addresses: tuple[IPv4Address, IPv6Address],
        peers: tuple[IPv4Address, IPv6Address],
    ) -> None:  # fmt: skip
        self._chance = chance
        self._peers = peers
        self.stack = Stack(addresses[0], mtu=MTU, entropy=SeededEntropy(f"{name} {chance.random()}"), config=CONFIG)
        self.stack.add_address(addresses[1], 64)
        self.stack.on_router_advertisement = self._router_advertisement
        self.flows: list[TcpConnection] = []
        self.echoes: list[IcmpEcho] = []
        self.listeners: list[TcpListener] = []
        self.endpoints: list[UdpEndpoint] = []

    def _router_advertisement(self, message: bytes, source: IPv6Address, hop_limit: int, now: float) -> None:
        RouterAdvertisement.parse(message)

    def open(self) -> None:
        """Begin an epoch: open what stays open."""
        self.listeners = [self.stack.listen_tcp(80, backlog=16), self.stack.listen_tcp(8080, backlog=4)]
        self.endpoints = [self.stack.open_udp(peer, 5353, local_port=53) for peer in self._peers]
        self.endpoints.append(self.stack.open_udp(local_port=5353))

    def close(self, now: float) -> None:
        """End an epoch: no program uses anything any more."""
        for flow in self.flows:
            flow.detach(now)
        for listener in self.listeners:
            listener.close(now)
        for endpoint in self.endpoints:
            endpoint.close()
        for echo in self.echoes:
            echo.close()
        self.flows, self.listeners, self.endpoints, self.echoes = [], [], [], []

    def act(self, now: float) -> None:
        """Let the programs do a few things."""
        below = self._chance.randrange
        for flow in self.stack.take_dirty():
            if isinstance(flow, TcpListener):
                while (accepted := flow.accept()) is not None:
                    self.flows.append(accepted)
        self.flows = [flow for flow in self.flows if flow.state is not TcpState.CLOSED and not flow.detached]
        if len(self.flows) < CONNECTIONS:
            self._connect(now)
        for _ in range(6):
            if self.flows:
                self._use(self.flows[below(len(self.flows))], now)
        self.echoes = [echo for echo in self.echoes if echo.error is None and not echo.replied]
        if len(self.echoes) < 4:
            self.echoes.append(self.stack.send_echo(self._peers[below(2)], b"ping", now))
        for endpoint in self.endpoints[:2]:
            if endpoint.error is None and below(4) == 0:
                endpoint.send(BULK[: (10, 1000, 3000)[below(3)]])
        for endpoint in self.endpoints:
            while endpoint.receive_from() is not None:
                pass

    def _connect(self, now: float) -> None:
        port = (80, 80, 80, 80, 8080, 81)[self._chance.randrange(6)]
        try:
            self.flows.append(self.stack.connect_tcp(self._peers[self._chance.randrange(2)], port, now))
        except SstpsocksError:
            return  # the bound on connections: others must end first

    def _use(self, flow: TcpConnection, now: float) -> None:
        what = self._chance.randrange(100)
        if what < 40:
            # A few programs never read, so that their windows close.
            if flow.local[1] % 8:
                flow.consume(flow.readable if what < 30 else flow.readable // 2, now)
        elif what < 85:
            if flow.send_room():
                flow.send(BULK[: (1, 100, 5000, 60000)[what & 3]], now)
        elif what < 88:
            flow.shutdown(now)
        elif what == 88:
            flow.abort(now)
        elif what < 91:
            flow.detach(now)


class World:
    """Both sides, the wire and the clock. Everything follows from the seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.now = 1000.0
        self.near = Side(self._chance, "near", (OURS, OURS6), (PEER, PEER6))
        self.far = Side(self._chance, "far", (PEER, PEER6), (OURS, OURS6))
        self.mutated = 0
        """Mutated packets that have arrived."""
        self.turns = 0
        self._sent: deque[bytes] = deque(maxlen=PATTERNS)
        self.patterns: deque[bytes] = deque(maxlen=PATTERNS)
        """What came from the far side last."""
        self._late: list[bytes] = []
        self._mutator = Mutator(self._chance, self._sent)

    # An epoch

    def run(self, packets: int) -> None:
        """One epoch: so many mutated packets, and then rest."""
        self.near.open()
        self.far.open()
        wanted = self.mutated + packets
        while self.mutated < wanted:
            self.turn()
        self.come_to_rest()

    def turn(self) -> None:
        """Let everybody do something and change what passes."""
        chance = self._chance.random
        self.turns += 1
        steps = LONG_STEPS if chance() < 0.01 else STEPS
        self.now += steps[int(chance() * len(steps))]
        self.near.act(self.now)
        self.far.act(self.now)
        self._carry(lossy=True)
        if self.patterns:
            self._attack()
        self._handle_timers(self.near.stack)
        self._handle_timers(self.far.stack)
        self._carry(lossy=True)
        if self.turns % 16 == 0:
            self.check_connections()

    def _attack(self) -> None:
        """Have mutated packets arrive, many in one batch as from TLS."""
        chance, patterns, mutate = self._chance.random, self.patterns, self._mutator.mutate
        arriving: list[bytes] = []
        while len(arriving) < MUTATED_PER_TURN:
            arriving += mutate(patterns[int(chance() * len(patterns))])
        self.attack(arriving)

    def attack(self, packets: list[bytes]) -> None:
        """Have these arrive at the stack under test."""
        self.mutated += len(packets)
        self._arrive(self.near.stack, packets)

    def _arrive(self, stack: Stack, packets: list[bytes]) -> None:
        spans, start = [], 0
        for packet in packets:
            spans.append((start, start + len(packet)))
            start += len(packet)
        stack.receive_batch(b"".join(packets), spans, self.now)

    def _carry(self, *, lossy: bool) -> None:
        """Move what both stacks send, twice, which is enough for an answer."""
        chance = self._chance.random
        for _ in range(2):
            outgoing = self._take(self.near.stack)
            self._sent.extend(outgoing)
            self._arrive(self.far.stack, [packet for packet in outgoing if is_for(packet, PEER, PEER6)])
            incoming = [packet for packet in self._take(self.far.stack) if is_for(packet, OURS, OURS6)]
            self.patterns.extend(incoming)
            if lossy:
                kept, late = [], self._late
                self._late = []
                for packet in incoming:
                    fate = chance()
                    if fate < 0.02:
                        continue
                    if fate < 0.05:
                        self._late.append(packet)
                    else:
                        kept.append(packet)
                        if fate < 0.07:
                            kept.append(packet)
                incoming = kept + late
            self._arrive(self.near.stack, incoming)

    def _take(self, stack: Stack) -> list[bytes]:
        packets = stack.packets_to_send(self.now, BUDGET)
        own = {address.packed for address in stack.local_addresses}
        for packet in packets:
            self._check_packet(packet, own)
        return packets

    def _check_packet(self, packet: bytes, own: set[bytes]) -> None:
        """What leaves is a packet of ours to one host, and fits."""
        assert len(packet) <= MTU, f"{len(packet)} octets: {packet.hex()}"
        if packet[0] == 0x45:
            assert packet[12:16] in own, packet.hex()
            assert packet[16] not in (0, 127) and packet[16] < 224, packet.hex()  # noqa: PT018 - one thought
            assert packet[2] << 8 | packet[3] == len(packet), packet.hex()
            assert checksum(packet, 0, 20) == 0, packet.hex()
        else:
            assert packet[0] >> 4 == 6, packet.hex()
            assert packet[8:24] in own, packet.hex()
            assert packet[24] != 0xFF, packet.hex()
            assert packet[4] << 8 | packet[5] == len(packet) - 40, packet.hex()

    def _handle_timers(self, stack: Stack) -> None:
        stack.handle_timer(self.now)
        due = stack.poll_at()
        assert due is None or due > self.now, f"at {self.now} still due: {due}, {stack!r}"

    # What must hold

    def check_connections(self) -> None:
        """Every connection has something to wait for: a deadline, its turn to send, or a word of somebody."""
        for stack in (self.near.stack, self.far.stack):
            while stack.has_output():
                self._take(stack)  # lost
            for connection in stack.connections.values():
                deadline = stack._timers.get(connection)
                if deadline is None:
                    assert connection.state in WAITING_FOR_PEER, f"{connection!r} waits for nothing"
                    assert not connection.unsent_and_unacknowledged, f"{connection!r} has no timer for its data"

    def come_to_rest(self) -> None:
        """With every program gone everything ends; nothing of the epoch stays in memory."""
        self.near.close(self.now)
        self.far.close(self.now)
        end, turns = self.now + REST, 0
        stacks = (self.near.stack, self.far.stack)
        while True:
            self._carry(lossy=False)
            busy = any(stack.has_output() for stack in stacks)
            times = [time for stack in stacks if (time := stack.poll_at()) is not None]
            if not busy and not times:
                break
            if not busy:
                self.now = max(self.now, min(times))
            for stack in stacks:
                stack.handle_timer(self.now)
            turns += 1
            assert self.now < end, f"no rest after {REST} s: {self.near.stack.connections}"
            assert turns < 100_000, f"no rest after {turns} turns: {self.near.stack.connections}"
        self._late.clear()
        self.patterns.clear()
        self._sent.clear()
        for stack in stacks:
            stack.take_dirty()
            assert stack.connections == {}
            assert stack.counters.tcp_curr_estab == 0
            assert len(stack._reassembler) == 0
            assert len(stack._echoes) == 0
            assert len(stack._timers) == 0


def is_for(packet: bytes, address: IPv4Address, address6: IPv6Address) -> bool:
    """Whether the packet is addressed to the host."""
    return packet[16:20] == address.packed if packet[0] >> 4 == 4 else packet[24:40] == address6.packed
