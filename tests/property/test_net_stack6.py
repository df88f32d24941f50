"""Whatever IPv6 arrives at a stack of both versions, it never raises, answers only who asked, and keeps its word."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import ConnectionLost, RemoteProtocolError
from sstpsocks.net.ip6 import Ipv6Header, read_chain
from tests.helpers.ip6_packets import (
    ALL_NODES,
    BUDGET,
    OUR_LINK_LOCAL,
    OURS,
    PEER,
    PEER_LINK_LOCAL,
    fragment6,
    icmp6_packet,
    ip6_packet,
    make_stack,
    options_header,
    parse6,
    sum_with_pseudo_header,
    tcp6_packet,
    udp6,
    udp6_packet,
)
from tests.helpers.ip_packets import OURS as OURS_IPV4
from tests.helpers.ip_packets import udp_packet

SOLICITED_NODE = IPv6Address("ff02::1:ff00:2")
CHECKSUM_PLACES = {6: 16, 17: 6, 58: 2}


class Host:
    """A stack with one of everything alive, and packets that its flows would like."""

    def __init__(self) -> None:
        self.stack = make_stack()
        self.other = make_stack()
        self.other.remove_address(OURS)
        self.other.add_address(PEER, 64)
        self.other.listen_tcp(80)
        self.stack.listen_tcp(8080)
        self.advertisements = 0
        self.stack.on_router_advertisement = self.advertised
        self.udp = self.stack.open_udp(PEER, 53)
        self.any_udp = self.stack.open_udp(local_port=5353)
        self.dhcp = self.stack.open_udp(local_port=546, local_address=OUR_LINK_LOCAL, allow_multicast=True)
        self.echo = self.stack.send_echo(PEER, b"ping", 0.0)
        self.connection = self.stack.connect_tcp(PEER, 80, 0.0)
        self.udp.send(bytes(3000))
        self.sent = self.stack.packets_to_send(0.0, BUDGET)
        packets = self.sent
        for _ in range(4):
            for packet in packets:
                self.other.receive_packet(packet, 0.0)
            for packet in self.other.packets_to_send(0.0, BUDGET):
                if packet[6] == 6:
                    self.stack.receive_packet(packet, 0.0)
            packets = self.stack.packets_to_send(0.0, BUDGET)
        assert self.connection.established
        self.connection.send(b"request " * 50, 0.0)
        self.opening = self.stack.connect_tcp(PEER, 81, 0.0)
        self.sent += self.stack.packets_to_send(0.0, BUDGET)

    def advertised(self, message: bytes, source: IPv6Address, hop_limit: int, now: float) -> None:
        self.advertisements += 1
        if hop_limit != 255:
            raise RemoteProtocolError("from afar", layer="ipv6")

    def likely_packets(self) -> list[bytes]:
        """Packets that come close to every flow and every rule."""
        near, far = self.connection.local[1], self.connection.remote[1]
        rcv_nxt, snd_una = self.connection.rcv_nxt, self.connection.snd_una
        padding = b"\1\4" + bytes(4)
        solicitation = bytes(4) + OURS.packed + b"\1\1" + bytes(6)
        large = udp6(bytes(200), 53, self.udp.local[1])
        data = tcp6_packet(far, near, seq=rcv_nxt, ack=snd_una, flags=0x18, payload=b"x" * 99)
        return [
            data,
            ip6_packet(options_header(padding, 6) + data[40:], protocol=0),
            tcp6_packet(far, near, seq=rcv_nxt, ack=self.connection.snd_nxt, flags=0x11),
            tcp6_packet(far, near, seq=rcv_nxt, flags=0x04),
            tcp6_packet(far, near, seq=rcv_nxt, flags=0x02),
            tcp6_packet(81, self.opening.local[1], seq=9, ack=self.opening.snd_nxt, flags=0x12),
            tcp6_packet(4000, 8080, seq=5, flags=0x02, options=b"\2\4\5\0"),
            tcp6_packet(4000, 9, seq=5, flags=0x10),
            udp6_packet(b"answer", 53, self.udp.local[1]),
            udp6_packet(b"hello", 53, 5353),
            udp6_packet(b"advertise", 547, 546, source=PEER_LINK_LOCAL, destination=OUR_LINK_LOCAL),
            udp6_packet(b"nobody", 53, 9),
            udp6_packet(b"all", 53, 5353, destination=ALL_NODES),
            icmp6_packet(129, 0, struct.pack("!HH", self.echo.identifier, 1) + b"ping"),
            icmp6_packet(128, 0, b"\0\1\0\1data"),
            icmp6_packet(134, 0, bytes(12), source=PEER_LINK_LOCAL, destination=ALL_NODES, hop_limit=255),
            icmp6_packet(135, 0, solicitation, source=PEER_LINK_LOCAL, destination=SOLICITED_NODE, hop_limit=255),
            ip6_packet(fragment6(large[:104], offset=0, more=True), protocol=44),
            ip6_packet(fragment6(large[104:], offset=104, more=False), protocol=44),
            ip6_packet(
                options_header(padding, 43) + bytes((44, 0, 0, 0)) + bytes(4)
                + fragment6(large[:96], offset=0, more=True, identification=2), protocol=0,
            ),
            ip6_packet(fragment6(large[96:], offset=96, more=False, identification=2), protocol=44),
            ip6_packet(options_header(b"\xc2\4" + bytes(4), 60) + options_header(padding, 17) + large, protocol=0),
            ip6_packet(b"?", protocol=50),
            udp_packet(b"four", 53, 5353),
            *(
                icmp6_packet(kind, code, number + quote[:1200])
                for kind, code, number in ((1, 3, bytes(4)), (2, 0, b"\0\0\5\x14"), (3, 0, bytes(4)))
                for quote in self.sent
            ),
        ]  # fmt: skip


def repaired(packet: bytes) -> bytes:
    """The packet with version, length and upper-layer checksum put right where its chain can be walked."""
    if len(packet) < 40:
        return packet
    packet = bytes((0x60 | packet[0] & 0x0F,)) + packet[1:4] + struct.pack("!H", len(packet) - 40) + packet[6:]
    try:
        chain = read_chain(packet, 0, len(packet), Ipv6Header.parse(packet, 0, len(packet)))
    except RemoteProtocolError:
        return packet
    place = CHECKSUM_PLACES.get(chain.protocol)
    content = packet[chain.position :]
    if place is None or len(content) < place + 2:
        return packet
    content = content[:place] + b"\0\0" + content[place + 2 :]
    source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
    value = sum_with_pseudo_header(content, chain.protocol, source, destination)
    return packet[: chain.position] + content[:place] + struct.pack("!H", value) + content[place + 2 :]


@st.composite
def mutations(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], int, bool]:
    """Which packet, which octets become what, how much is cut off, and whether it is repaired."""
    changes = draw(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4))
    return draw(st.integers(0, 1000)), changes, draw(st.sampled_from([0, 0, 0, 1, 7, 20])), draw(st.booleans())


def check(host: Host, now: float) -> None:
    """What must hold whatever came in."""
    stack = host.stack
    for packet in stack.packets_to_send(now, BUDGET):
        assert len(packet) <= 1400
        if packet[0] >> 4 == 4:
            assert packet[12:16] == OURS_IPV4.packed
            continue
        parsed = parse6(packet)
        assert IPv6Address(parsed.src) in (OURS, OUR_LINK_LOCAL)
        destination = IPv6Address(parsed.dst)
        assert destination == ALL_NODES or not (destination.is_multicast or destination.is_unspecified)
        if destination == ALL_NODES:
            assert packet[40] == 136, "only a Neighbor Advertisement goes to all"
    dirty = stack.take_dirty()
    assert len(set(map(id, dirty))) == len(dirty)


@settings(deadline=None, max_examples=120)
@given(st.lists(mutations(), min_size=1, max_size=12))
def test_mutated_packets_never_raise(cases: list[tuple[int, list[tuple[int, int]], int, bool]]) -> None:
    host = Host()
    now = 1.0
    for which, changes, cut, repair in cases:
        likely = host.likely_packets()
        packet = bytearray(likely[which % len(likely)])
        for index, value in changes:
            packet[index % len(packet)] = value
        data = bytes(packet[: len(packet) - cut])
        host.stack.receive_packet(repaired(data) if repair else data, now)
        check(host, now)
        now += 0.3
    for _ in range(200):
        deadline = host.stack.poll_at()
        if deadline is None:
            break
        now = max(now, deadline)
        host.stack.handle_timer(now)
        check(host, now)
        following = host.stack.poll_at()
        assert following is None or following > now, "handle_timer() must move poll_at() forward"
    host.stack.abort_all(ConnectionLost("end"), now)
    assert host.stack.poll_at() is None
    assert host.stack.connections == {}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0, 6, 17, 43, 44, 58, 60]), st.binary(max_size=120)), max_size=6),
       st.sampled_from([OURS, OUR_LINK_LOCAL, ALL_NODES, SOLICITED_NODE]), st.booleans())  # fmt: skip
def test_random_contents_never_raise(packets: list[tuple[int, bytes]], destination: IPv6Address, repair: bool) -> None:
    host = Host()
    for protocol, content in packets:
        packet = ip6_packet(content, protocol=protocol, source=PEER_LINK_LOCAL, destination=destination)
        host.stack.receive_packet(repaired(packet) if repair else packet, 1.0)
        check(host, 1.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 1000)), max_size=10))
def test_a_batch_does_what_its_packets_do_one_by_one(parts: list[tuple[bytes, int]]) -> None:
    one_by_one, at_once = Host(), Host()
    data, spans = b"", []
    for gap, which in parts:
        likely = one_by_one.likely_packets()
        packet = likely[which % len(likely)]
        data += gap + packet
        spans.append((len(data) - len(packet), len(data)))
    for start, end in spans:
        one_by_one.stack.receive_packet(data[start:end], 1.0)
    at_once.stack.receive_batch(data, spans, 1.0)
    first, second = one_by_one.connection, at_once.connection
    assert (first.rcv_nxt, first.state, first.snd_mss) == (second.rcv_nxt, second.state, second.snd_mss)
    assert b"".join(first.pieces()) == b"".join(second.pieces())
    assert one_by_one.echo.replied == at_once.echo.replied
    assert one_by_one.advertisements == at_once.advertisements
    for name in ("udp", "any_udp", "dhcp"):
        assert getattr(one_by_one, name).receive() == getattr(at_once, name).receive()
    assert one_by_one.stack.counters == at_once.stack.counters


# The receive run over IPv6 against the slow path, which takes the same segments behind an extension header.

SEGMENTS = st.tuples(
    st.sampled_from([0, 0, 0, 0, 0, 100, -50]),
    st.sampled_from([0, 1, 100, 500, 1000]),
    st.sampled_from([0, 0, 0, 700, 1340, 5000, -10]),
    st.sampled_from([60_000, 60_000, 61_000, 500, 0]),
    st.sampled_from([0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x14, 0x12, 0x30, 0x00]),
)


def behind_padding(packet: bytes) -> bytes:
    header = options_header(b"\1\4" + bytes(4), 6)
    return packet[:4] + struct.pack("!H", len(packet) - 32) + b"\x3c" + packet[7:40] + header + packet[40:]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(SEGMENTS, min_size=1, max_size=12), min_size=1, max_size=5), st.booleans())
def test_the_receive_run_leaves_the_state_that_the_slow_path_leaves(
    batches: list[list[tuple[int, int, int, int, int]]], reads: bool
) -> None:
    stacks = [make_stack(), make_stack()]
    connections = [stack.connect_tcp(PEER, 80, 0.0) for stack in stacks]
    fast, slow = connections
    port, iss = fast.local[1], fast.iss
    for stack, connection in zip(stacks, connections, strict=True):
        stack.packets_to_send(0.0, BUDGET)
        answer = tcp6_packet(80, port, seq=100, ack=(iss + 1) % 2**32, flags=0x12, options=b"\2\4\5\x3c")
        stack.receive_packet(answer, 0.01)
        connection.send(bytes(20_000), 0.01)
        stack.packets_to_send(0.01, BUDGET)
    position, acked, now = 101, 1, 0.05
    for batch in batches:
        packets = []
        for skip, size, acknowledge, window, flags in batch:
            acked = max(acked + acknowledge, 1)
            seq, ack = max(position + skip, 101), (iss + acked) % 2**32
            packets.append(tcp6_packet(80, port, seq=seq, ack=ack, flags=flags, window=window, payload=bytes(size)))
            if not skip:
                position = seq + size
        spans, end = [], 3
        for packet in packets:
            spans.append((end, end + len(packet)))
            end += len(packet)
        stacks[0].receive_batch(b"..." + b"".join(packets), spans, now)
        for packet in packets:
            stacks[1].receive_packet(behind_padding(packet), now)
        assert (fast.state, fast.rcv_nxt, fast.readable) == (slow.state, slow.rcv_nxt, slow.readable)
        assert (fast.snd_una, fast.snd_wnd, fast.flight_size) == (slow.snd_una, slow.snd_wnd, slow.flight_size)
        if reads:
            for connection in connections:
                connection.consume(connection.readable, now)
        sent = [stack.packets_to_send(now, BUDGET) for stack in stacks]
        assert sent[0] == sent[1]
        now += 0.03
        for stack in stacks:
            stack.handle_timer(now)
