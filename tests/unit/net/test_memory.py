"""The bound on what all flows hold, and what an idle one costs."""

from __future__ import annotations

import gc
import os
import tracemalloc
from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import TooManyConnections
from sstpsocks.net.config import StackConfig
from sstpsocks.net.fragment import fragment_packet
from sstpsocks.net.ip import build_packet
from sstpsocks.net.memory import Memory
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.udp import UdpDatagram
from tests.helpers.tcp_peer import established

LEFT = IPv4Address("10.9.0.1")
RIGHT = IPv4Address("10.9.0.2")
MEBIBYTE = 1024 * 1024
SMALL = StackConfig(
    memory_maximum=4 * MEBIBYTE + 128 * 1024,
    reassembly_bytes=128 * 1024,
    max_connections=20_000,
)
BATCH = 256 * 1024


class Pair:
    """Two stacks and a perfect wire."""

    def __init__(self, left: StackConfig | None = None, right: StackConfig | None = None) -> None:
        self.left = Stack(LEFT, mtu=1400, entropy=SeededEntropy("left"), config=left)
        self.right = Stack(RIGHT, mtu=1400, entropy=SeededEntropy("right"), config=right)
        self.listener = self.right.listen_tcp(80, backlog=20_000)
        self.now = 10.0
        self.highest = 0
        """The most that the left stack was ever charged."""

    def turn(self, seconds: float = 0.01) -> None:
        self.now += seconds
        for here, there in ((self.left, self.right), (self.right, self.left)):
            packets = here.packets_to_send(self.now, BATCH)
            spans = []
            end = 0
            for packet in packets:
                spans.append((end, end + len(packet)))
                end += len(packet)
            there.receive_batch(b"".join(packets), spans, self.now)
            here.handle_timer(self.now)
            self.highest = max(self.highest, self.left.memory.charged)

    def connect(self, count: int) -> list[tuple[TcpConnection, TcpConnection]]:
        ends = []
        for _ in range(count):
            near = self.left.connect_tcp(RIGHT, 80, self.now)
            for _ in range(3):
                self.turn()
            far = self.listener.accept()
            assert far is not None
            ends.append((near, far))
        return ends


def fill(flow: TcpConnection, now: float) -> None:
    """Have the program write as much as the flow takes."""
    while flow.send(bytes(64 * 1024), now):
        pass


def test_pressure_and_shares() -> None:
    memory = Memory(1000)
    memory.flows = 5
    memory.charge(499)
    assert (memory.pressure, memory.short) == (False, False)
    memory.charge(1)
    assert (memory.pressure, memory.short) == (True, False)
    memory.charge(250)
    assert (memory.pressure, memory.short) == (True, True)
    assert memory.share == 25


def test_a_flow_is_charged_for_what_it_holds_and_for_nothing_when_it_is_gone() -> None:
    pair = Pair()
    ((near, far),) = pair.connect(1)
    idle = pair.left.memory.charged
    near.send(bytes(10_000), pair.now)
    assert pair.left.memory.charged == idle + 10_000
    far.send(bytes(5000), pair.now)
    for _ in range(20):
        pair.turn()
    assert pair.left.memory.charged == idle + 5000
    near.consume(5000, pair.now)
    assert pair.left.memory.charged == idle
    near.send(bytes(10), pair.now)
    near.abort(pair.now)
    assert (pair.left.memory.charged, pair.left.memory.flows) == (0, 0)


def test_what_the_owner_of_an_ended_flow_leaves_unread_is_charged_until_it_lets_go() -> None:
    pair = Pair()
    ((near, far),) = pair.connect(1)
    far.send(bytes(5000), pair.now)
    for _ in range(10):
        pair.turn()
    far.abort(pair.now)
    pair.turn()
    assert near.error is not None
    assert pair.left.memory.charged == 5000
    near.detach(pair.now)
    assert (pair.left.memory.charged, pair.left.memory.flows) == (0, 0)


def test_peers_that_send_to_programs_that_do_not_read_stay_within_the_bound() -> None:
    pair = Pair(left=SMALL)
    flows = pair.connect(40)
    *stuck, (near, far) = flows
    for _ in range(400):
        for _, sender in stuck:
            fill(sender, pair.now)
        pair.turn(0.02)
    assert pair.left.memory.short
    assert pair.highest <= pair.left.memory.maximum + BATCH
    # The flow whose program reads goes on.
    received = 0
    for _ in range(2000):
        fill(far, pair.now)
        pair.turn(0.02)
        received += near.readable
        near.consume(near.readable, pair.now)
        if received > MEBIBYTE:
            break
    assert received > MEBIBYTE
    assert pair.highest <= pair.left.memory.maximum + BATCH


def test_peers_that_close_their_windows_stay_within_the_bound() -> None:
    pair = Pair(left=SMALL)
    flows = pair.connect(40)
    *stuck, (near, far) = flows
    for _ in range(100):
        for sender, _ in stuck:
            fill(sender, pair.now)
        pair.turn(0.02)
    assert pair.left.memory.short
    assert pair.highest <= pair.left.memory.maximum + BATCH
    received = 0
    for _ in range(1000):
        fill(near, pair.now)
        pair.turn(0.02)
        received += far.readable
        far.consume(far.readable, pair.now)
    assert received > MEBIBYTE


def test_holes_are_given_up_first_and_flows_without_any_go_on() -> None:
    pair = Pair(left=SMALL)
    flows = pair.connect(120)
    *holed, (near, far) = flows
    for _, sender in holed:
        fill(sender, pair.now)
    for _ in range(100):
        pair.now += 0.02
        # Every first segment is lost on the way.
        for packet in pair.right.packets_to_send(pair.now, BATCH):
            if int.from_bytes(packet[24:28], "big") not in {sender.snd_una for _, sender in holed}:
                pair.left.receive_packet(packet, pair.now)
            pair.highest = max(pair.highest, pair.left.memory.charged)
        for packet in pair.left.packets_to_send(pair.now, BATCH):
            pair.right.receive_packet(packet, pair.now)
        pair.right.handle_timer(pair.now)
    assert pair.left.counters.tcp_memory_discards > 0
    assert pair.highest <= pair.left.memory.maximum + BATCH
    far.send(b"honest", pair.now)
    for _ in range(100):
        pair.turn(0.02)
    assert b"".join(near.pieces()) == b"honest"
    # And the others complete what was lost, although it had been acknowledged selectively.
    for _ in range(3000):
        for reader, _ in holed:
            reader.consume(reader.readable, pair.now)
        pair.turn(0.02)
    assert all(not sender.unsent_and_unacknowledged for _, sender in holed)


def test_new_flows_are_refused_while_memory_is_short() -> None:
    pair = Pair(left=SMALL)
    flows = pair.connect(40)
    for _ in range(100):
        for sender, _ in flows:
            fill(sender, pair.now)
        pair.turn(0.02)
    with pytest.raises(TooManyConnections):
        pair.left.connect_tcp(RIGHT, 80, pair.now)
    pair.left.listen_tcp(81)
    discards = pair.left.counters.ip_in_discards
    coming = pair.right.connect_tcp(LEFT, 81, pair.now)
    for _ in range(5):
        pair.turn()
    assert not coming.established
    assert pair.left.counters.ip_in_discards > discards
    for sender, receiver in flows:
        sender.abort(pair.now)
        receiver.abort(pair.now)
    for _ in range(400):
        pair.turn()
    assert coming.established


def test_an_established_idle_flow_costs_four_kibibytes_at_most() -> None:
    """Two thousand ends, or ten, with everything that two of us negotiate: SACK, timestamps, window scaling, ECN."""
    config = StackConfig(ecn="active")
    pair = Pair(config, config)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        count = 5000 if os.environ.get("SSTPSOCKS_TEST_LONG") else 1000
        flows = [pair.left.connect_tcp(RIGHT, 80, pair.now) for _ in range(count)]
        for _ in range(20):
            pair.turn()
        ends = flows + [far for far in (pair.listener.accept() for _ in range(count)) if far is not None]
        assert len(ends) == 2 * count
        for end in ends:
            end.send(bytes(1500), pair.now)
        for _ in range(120):
            pair.turn()
        for end in ends:
            end.consume(end.readable, pair.now)
        for _ in range(20):
            pair.turn(0.5)
        for stack in (pair.left, pair.right):
            stack.take_dirty()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert all(end.established and not end.unsent_and_unacknowledged for end in ends)
    assert all(end.timestamps and end.ecn and end.scoreboard is not None for end in ends)
    assert not pair.left.memory.pressure
    assert (after - before) / len(ends) <= 4096


def test_fragments_that_are_never_completed_stay_within_their_bound_and_flows_go_on() -> None:
    pair = Pair(left=SMALL)
    ((near, far),) = pair.connect(1)
    payload = bytes(1000)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(4000):
            source = (0x0B000000 + number).to_bytes(4, "big")
            whole = build_packet(source, LEFT.packed, 17, payload, identification=number)
            packet = fragment_packet(whole, 600)[0]
            pair.left.receive_packet(packet, pair.now)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 2 * SMALL.reassembly_bytes
    far.send(b"honest", pair.now)
    for _ in range(5):
        pair.turn()
    assert b"".join(near.pieces()) == b"honest"


def test_tiny_segments_behind_holes_are_charged_for_what_they_cost() -> None:
    peer = established(wind_shift=0, sack=True)
    memory = peer.host.memory
    gc.collect()
    tracemalloc.start()
    try:
        before, charged = tracemalloc.get_traced_memory()[0], memory.charged
        for number in range(5000):
            peer.send(".", 3 + 2 * number, 1, b"x")
        peer.take()
        gc.collect()
        cost = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(peer.connection.reassembly) == peer.host.config.maximum_held_segments
    assert cost < 2 * (memory.charged - charged)


def udp_packet(source: IPv4Address, port: int, own: int, payload: bytes) -> bytes:
    datagram = UdpDatagram(port, own, payload).to_bytes(source.packed, LEFT.packed)
    return build_packet(source.packed, LEFT.packed, 17, datagram)


def test_an_endpoint_is_charged_for_what_waits_in_it_and_for_nothing_when_it_is_closed() -> None:
    pair = Pair()
    memory = pair.left.memory
    endpoint = pair.left.open_udp(RIGHT, 53)
    idle = memory.charged
    assert (idle > 0, memory.flows) == (True, 1)
    pair.left.receive_packet(udp_packet(RIGHT, 53, endpoint.local[1], bytes(1000)), pair.now)
    received = memory.charged
    assert received > idle + 1000
    assert endpoint.send(bytes(500))
    assert memory.charged > received + 500
    assert endpoint.receive() == bytes(1000)
    endpoint.close()
    assert memory.charged > 500
    pair.left.packets_to_send(pair.now, BATCH)
    assert (memory.charged, memory.flows) == (0, 0)


def test_an_echo_request_is_charged_until_it_is_over() -> None:
    pair = Pair()
    memory = pair.left.memory
    first = pair.left.send_echo(RIGHT, bytes(1000), pair.now)
    pair.left.send_echo(RIGHT, bytes(1000), pair.now)
    assert memory.charged > 2000
    for _ in range(3):
        pair.turn()
    assert first.replied
    assert (memory.charged, memory.flows) == (0, 0)
    gone = pair.left.send_echo(RIGHT, b"", pair.now)
    gone.fail(TooManyConnections("the end"))
    gone.close()
    assert (memory.charged, memory.flows) == (0, 0)


def test_floods_of_datagrams_stay_within_the_bound_and_honest_flows_go_on() -> None:
    """Into endpoints whose programs do not read, from many sources, with echo requests and fragments as well."""
    pair = Pair(left=SMALL)
    memory = pair.left.memory
    ((near, far),) = pair.connect(1)
    reading = pair.left.open_udp(RIGHT, 53)
    gc.collect()
    tracemalloc.start()
    try:
        stuck = [pair.left.open_udp() for _ in range(100)]
        for number in range(12_000):
            source = IPv4Address(0x0B000000 + number)
            payload = bytes(number % 1300)
            endpoint = stuck[number % len(stuck)]
            pair.left.receive_packet(udp_packet(source, 9, endpoint.local[1], payload), pair.now)
            fragment = build_packet(source.packed, LEFT.packed, 17, bytes(1000), identification=number)
            pair.left.receive_packet(fragment_packet(fragment, 600)[0], pair.now)
            assert memory.charged <= memory.maximum
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert memory.short
    assert sum(endpoint.dropped for endpoint in stuck) > 1000
    assert held < 1.3 * SMALL.memory_maximum
    with pytest.raises(TooManyConnections):
        pair.left.open_udp()
    with pytest.raises(TooManyConnections):
        pair.left.send_echo(RIGHT, b"", pair.now)
    far.send(b"honest", pair.now)
    for _ in range(5):
        pair.turn()
    assert b"".join(near.pieces()) == b"honest"
    assert reading.send(b"question")
    pair.left.receive_packet(udp_packet(RIGHT, 53, reading.local[1], bytes(500)), pair.now)
    assert reading.receive() == bytes(500)
    for endpoint in stuck:
        endpoint.close()
    assert not memory.pressure
    pair.left.open_udp()


def test_programs_that_send_datagrams_without_end_stay_within_the_bound() -> None:
    pair = Pair(left=SMALL)
    memory = pair.left.memory
    endpoints = [pair.left.open_udp(RIGHT, 53) for _ in range(100)]
    for _ in range(300):
        for endpoint in endpoints:
            endpoint.send(bytes(1000))
    assert memory.short
    assert memory.charged <= memory.maximum
    while pair.left.has_output():
        pair.left.packets_to_send(pair.now, BATCH)
    assert not memory.pressure
    assert all(endpoint.send(bytes(1000)) for endpoint in endpoints)
