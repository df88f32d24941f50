"""Whatever arrives, a stack with live flows never raises, answers only who asked, and keeps its promises."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import dpkt
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConnectionLost
from sstpsocks.net.stack import Stack
from tests.helpers.ip_packets import OURS, PEER, icmp_packet, ip_packet, parse, tcp_packet, udp_packet

BUDGET = 1 << 20


class Host:
    """A stack with one of everything alive, and packets that its flows would like."""

    def __init__(self) -> None:
        self.stack = Stack(OURS, mtu=1400, entropy=SeededEntropy(11))
        self.other = Stack(PEER, mtu=1400, entropy=SeededEntropy(12))
        self.other.listen_tcp(80)
        self.stack.listen_tcp(8080)
        self.udp = self.stack.open_udp(PEER, 53)
        self.open_udp = self.stack.open_udp(local_port=5353)
        self.echo = self.stack.send_echo(PEER, b"ping", 0.0)
        self.connection = self.stack.connect_tcp(PEER, 80, 0.0)
        self.udp.send(b"question")
        self.sent = self.stack.packets_to_send(0.0, BUDGET)
        self.carry(self.sent)
        self.connection.send(b"request " * 50, 0.0)
        self.opening = self.stack.connect_tcp(PEER, 81, 0.0)
        self.sent += self.stack.packets_to_send(0.0, BUDGET)

    def carry(self, packets: list[bytes]) -> None:
        for _ in range(4):
            for packet in packets:
                self.other.receive_packet(packet, 0.0)
            for packet in self.other.packets_to_send(0.0, BUDGET):
                if packet[9] == 6:
                    self.stack.receive_packet(packet, 0.0)
            packets = [packet for packet in self.stack.packets_to_send(0.0, BUDGET) if packet[9] == 6]

    def likely_packets(self) -> list[bytes]:
        """Packets that come close to every flow."""
        near, far = self.connection.local[1], self.connection.remote[1]
        quotes = [packet[:60] for packet in self.sent]
        return [
            tcp_packet(
                far, near, seq=self.connection.rcv_nxt, ack=self.connection.snd_una, flags=0x18, payload=b"x" * 99
            ),
            tcp_packet(far, near, seq=self.connection.rcv_nxt, ack=self.connection.snd_nxt, flags=0x11),
            tcp_packet(far, near, seq=self.connection.rcv_nxt, flags=0x04),
            tcp_packet(far, near, seq=self.connection.rcv_nxt, flags=0x02),
            tcp_packet(81, self.opening.local[1], seq=9, ack=self.opening.snd_nxt, flags=0x12),
            tcp_packet(4000, 8080, seq=5, flags=0x02),
            tcp_packet(4000, 9, seq=5, flags=0x10),
            udp_packet(b"answer", 53, self.udp.local[1]),
            udp_packet(b"hello", 53, 5353, checksum=0),
            udp_packet(b"nobody", 53, 9),
            icmp_packet(0, 0, struct.pack("!HH", self.echo.identifier, 1), b"ping"),
            icmp_packet(8, 0, b"\0\1\0\1", b"data"),
            ip_packet(bytes(64), protocol=17, more=True),
            ip_packet(bytes(64), protocol=17, offset=64),
            ip_packet(b"?", protocol=50),
            *(
                icmp_packet(kind, code, b"\0\0\2\0", quote)
                for kind, code in ((3, 1), (3, 4), (11, 0))
                for quote in quotes
            ),
        ]


def repaired(packet: bytes) -> bytes:
    """The packet with lengths and checksums put right where that is possible, so that it gets past the first checks."""
    if len(packet) < 20:
        return packet
    header = max((packet[0] & 0x0F) * 4, 20)
    if len(packet) < header:
        return packet
    packet = bytes((0x40 | header // 4, packet[1])) + struct.pack("!H", len(packet)) + packet[4:]
    packet = packet[:10] + b"\0\0" + packet[12:]
    packet = packet[:10] + struct.pack("!H", dpkt.in_cksum(packet[:header])) + packet[12:]
    protocol, body = packet[9], packet[header:]
    place = {1: 2, 6: 16, 17: 6}.get(protocol)
    if place is None or len(body) < place + 2:
        return packet
    body = body[:place] + b"\0\0" + body[place + 2 :]
    pseudo = b"" if protocol == 1 else packet[12:20] + struct.pack("!BBH", 0, protocol, len(body))
    return packet[:header] + body[:place] + struct.pack("!H", dpkt.in_cksum(pseudo + body)) + body[place + 2 :]


@st.composite
def mutations(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], int, bool]:
    """Which packet, which octets become what, how much is cut off, and whether it is repaired."""
    changes = draw(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=5))
    return draw(st.integers(0, 1000)), changes, draw(st.sampled_from([0, 0, 0, 1, 7, 20])), draw(st.booleans())


def check(host: Host, now: float) -> None:
    """What must hold whatever came in."""
    stack = host.stack
    for packet in stack.packets_to_send(now, BUDGET):
        parsed = parse(packet)
        assert IPv4Address(parsed.src) == OURS
        assert parsed.dst[0] not in (0, 127)
        assert parsed.dst[0] < 224
        assert len(packet) <= 1400
    dirty = stack.take_dirty()
    assert len(set(map(id, dirty))) == len(dirty)


@settings(deadline=None, max_examples=150)
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


@settings(deadline=None, max_examples=150)
@given(st.lists(st.binary(max_size=90), max_size=6), st.booleans())
def test_random_packets_never_raise(packets: list[bytes], addressed: bool) -> None:
    host = Host()
    for packet in packets:
        if addressed and len(packet) >= 20:
            packet = repaired(packet[:12] + PEER.packed + OURS.packed + packet[20:])
        host.stack.receive_packet(packet, 1.0)
        check(host, 1.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 1000)), max_size=8))
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
    assert at_once.connection.rcv_nxt == one_by_one.connection.rcv_nxt
    assert at_once.connection.state is one_by_one.connection.state
    assert b"".join(at_once.connection.pieces()) == b"".join(one_by_one.connection.pieces())
    assert at_once.echo.replied == one_by_one.echo.replied
    assert at_once.udp.receive() == one_by_one.udp.receive()
    assert at_once.stack.counters.ip_in_delivers == one_by_one.stack.counters.ip_in_delivers
    assert at_once.stack.counters.tcp_in_segs == one_by_one.stack.counters.tcp_in_segs
