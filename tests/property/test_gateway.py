"""Whatever programs send, a gateway never raises, answers nobody else, and keeps its bounds and its promises."""

from __future__ import annotations

import struct
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    HostUnreachable,
    NetworkUnreachable,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.net.gateway import DatagramArrived, EchoArrived, Gateway, Opening
from tests.helpers.ip6_packets import icmp6_packet, parse6, tcp6_packet, udp6_packet
from tests.helpers.ip_packets import icmp_packet, ip_packet, parse, tcp_packet, udp_packet

OWN, OWN6 = IPv4Address("192.0.0.1"), IPv6Address("64:ff9b:1::1")
PROGRAM, PROGRAM6 = IPv4Address("192.0.0.2"), IPv6Address("64:ff9b:1::2")
TARGETS = (IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), OWN)
TARGET6 = IPv6Address("2001:db8::9")
ERRORS = [kind("x") for kind in (ConnectionRefused, HostUnreachable, NetworkUnreachable, DeniedByRule, ConnectTimedOut)]
MOST = 8


def likely_packets() -> list[bytes]:
    """What programs send, and what comes close to it."""
    packets: list[bytes] = []
    for target in TARGETS:
        tcp = partial(tcp_packet, source=PROGRAM, destination=target)
        udp = partial(udp_packet, source=PROGRAM, destination=target)
        icmp = partial(icmp_packet, source=PROGRAM, destination=target)
        ip = partial(ip_packet, source=PROGRAM, destination=target)
        packets += [
            *(tcp(5000 + n, 80, seq=9, flags=2) for n in range(3)),
            tcp(5000, 80, seq=10, ack=1, flags=0x10, payload=b"data"),
            tcp(5000, 80, seq=10, flags=0x04),
            tcp(5000, 80, seq=10, ack=1, flags=0x11),
            tcp(0, 80, flags=2),
            udp(b"question", 4000, 53),
            udp(b"", 4000, 0),
            udp(b"probe", 4000, 33434, ttl=1),
            icmp(8, 0, b"\0\1\0\2", b"echo"),
            icmp(3, 3, bytes(4), udp_packet(b"x", 53, 4000, source=target, destination=PROGRAM)),
            ip(bytes(64), protocol=17, more=True),
            ip(struct.pack("!HHHH", 1, 2, 72, 0) + bytes(64), protocol=17, offset=64),
            ip(b"?", protocol=47),
        ]
    tcp6 = partial(tcp6_packet, source=PROGRAM6, destination=TARGET6)
    icmp6 = partial(icmp6_packet, source=PROGRAM6, destination=TARGET6)
    return [
        *packets,
        tcp6(5000, 80, seq=9, flags=2),
        tcp6(5000, 80, seq=10, ack=1, flags=0x10),
        udp6_packet(b"question", 4000, 53, source=PROGRAM6, destination=TARGET6),
        icmp6(128, 0, b"\0\1\0\2echo"),
        icmp6(128, 0, b""),
        icmp6(1, 4, bytes(60)),
        icmp6_packet(133, 0, bytes(4), source=PROGRAM6, destination=IPv6Address("ff02::2"), hop_limit=255),
    ]


LIKELY = likely_packets()


class Owner:
    """A gateway and an owner that decides as it is told."""

    def __init__(self) -> None:
        config = StackConfig(max_connections=MOST, max_half_open=MOST)
        self.gateway = Gateway(OWN, OWN6, entropy=SeededEntropy("property"), config=config)
        self.gateway.listen_tcp(80)
        self.waiting: list[Opening] = []
        self.asked: set[object] = set()
        self.senders = {PROGRAM.packed, PROGRAM6.packed}

    def take(self, packet: bytes, now: float) -> None:
        # Damage that a checksum does not tell makes another sender.
        self.senders.add(packet[12:16] if packet[:1] < b"\x60" else packet[8:24])
        self.gateway.receive_packet(packet, now)
        while (event := self.gateway.next_event()) is not None:
            if isinstance(event, Opening):
                assert event.key not in {other.key for other in self.waiting}
                self.waiting.append(event)
                self.asked.add(event.target[0].packed)
            elif isinstance(event, DatagramArrived):
                assert 0 < event.source[1] < 65536
                assert 0 < event.target[1] < 65536
                self.gateway.refuse_datagram(event.source, event.target, ERRORS[event.source[1] % len(ERRORS)])
                self.gateway.send_datagram(event.payload, event.target, event.source)
            else:
                assert isinstance(event, EchoArrived)
                self.gateway.answer_echo(event)

    def decide(self, which: int, now: float) -> None:
        if self.waiting:
            opening = self.waiting.pop(which % len(self.waiting))
            if which % 2:
                self.gateway.refuse(opening, ERRORS[which % len(ERRORS)])
            else:
                assert self.gateway.accept(opening, now) is not None

    def check(self, now: float) -> None:
        assert len(self.waiting) == self.gateway.openings <= MOST
        assert len(self.gateway.connections) <= 2 * MOST  # those that were begun when there was room
        for packet in self.gateway.packets_to_send(now, 1 << 20):
            receiver = parse(packet).dst if packet[0] >> 4 == 4 else parse6(packet).dst
            assert receiver in self.senders


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("likely"), st.integers(0, len(LIKELY) - 1)),
            st.tuples(st.just("decide"), st.integers(0, 60)),
            st.tuples(st.just("time"), st.integers(0, 60)),
        ),
        max_size=40,
    )
)
def test_an_owner_that_decides_late_and_at_random_finds_everything_in_order(steps: list[tuple[str, int]]) -> None:
    owner, now = Owner(), 0.0
    for kind, number in steps:
        if kind == "likely":
            owner.take(LIKELY[number], now)
        elif kind == "decide":
            owner.decide(number, now)
        else:
            now += number
            owner.gateway.handle_timer(now)
        owner.check(now)
    owner.gateway.close(ConnectionLost("over"), now)
    assert owner.gateway.memory.flows == 0
    assert (owner.gateway.openings, owner.gateway.connections) == (0, {})


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, len(LIKELY) - 1),
    st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=4),
    st.integers(0, 200),
)
def test_damaged_packets_do_nothing_but_count(which: int, damage: list[tuple[int, int]], cut: int) -> None:
    owner = Owner()
    packet = bytearray(LIKELY[which])
    for position, octet in damage:
        packet[position % len(packet)] = octet
    owner.take(bytes(packet[: max(len(packet) - cut, 0)] if cut > 100 else packet), 0.0)
    owner.check(0.0)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_noise_is_counted(noise: bytes) -> None:
    owner = Owner()
    owner.take(noise, 0.0)
    owner.check(0.0)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(LIKELY) - 1), max_size=12))
def test_a_batch_does_what_its_packets_do_one_by_one(which: list[int]) -> None:
    one_by_one, at_once = Owner(), Owner()
    data, spans = b"", []
    for index in which:
        spans.append((len(data), len(data) + len(LIKELY[index])))
        data += LIKELY[index]
        one_by_one.gateway.receive_packet(LIKELY[index], 0.0)
    at_once.gateway.receive_batch(data, spans, 0.0)
    events = []
    for owner in (one_by_one, at_once):
        found: list[object] = []
        while (event := owner.gateway.next_event()) is not None:
            found.append(event.key if isinstance(event, Opening) else event)
        events.append(found)
    assert events[0] == events[1]
    assert one_by_one.gateway.packets_to_send(0.0, 1 << 20) == at_once.gateway.packets_to_send(0.0, 1 << 20)
