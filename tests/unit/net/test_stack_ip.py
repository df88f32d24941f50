"""The stack as an IP host: what it takes, what it answers, what it keeps quiet about, and its timers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address

import dpkt
import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from tests.helpers.ip_packets import OTHER, OURS, PEER, icmp_packet, ip_packet, parse, tcp_packet, udp_packet

BUDGET = 1 << 20
SYN, RST, ACK, FIN = 2, 4, 16, 1


def make_stack(mtu: int = 1400, config: StackConfig | None = None) -> Stack:
    return Stack(OURS, mtu=mtu, entropy=SeededEntropy(7), config=config)


def answers(stack: Stack, packet: bytes, now: float = 0.0) -> list[dpkt.ip.IP]:
    stack.receive_packet(packet, now)
    return [parse(sent) for sent in stack.packets_to_send(now, BUDGET)]


def ping(
    payload: bytes = b"abc",
    *,
    source: IPv4Address = PEER,
    destination: IPv4Address = OURS,
    rest: bytes = b"\x12\x34\0\1",
) -> bytes:
    return icmp_packet(8, 0, rest, payload, source=source, destination=destination)


def test_an_mtu_below_68_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        make_stack(67)


def test_an_echo_request_is_answered_with_all_of_its_data() -> None:
    stack = make_stack()
    [reply] = answers(stack, ping(b"abc" * 100))
    assert (IPv4Address(reply.src), IPv4Address(reply.dst)) == (OURS, PEER)
    assert (reply.icmp.type, reply.icmp.code) == (0, 0)
    assert (reply.icmp.data.id, reply.icmp.data.seq, reply.icmp.data.data) == (0x1234, 1, b"abc" * 100)
    assert (stack.counters.icmp_in_msgs, stack.counters.icmp_out_msgs) == (1, 1)
    assert (stack.counters.ip_in_delivers, stack.counters.ip_out_transmits, stack.counters.ip_out_requests) == (1, 1, 1)
    assert not stack.has_output()


def test_an_echo_request_with_ip_options_and_octets_behind_it_is_answered() -> None:
    message = ping()[20:]
    packet = ip_packet(message, protocol=1, options=b"\x94\4\0\0") + b"padding"
    assert len(answers(make_stack(), packet)) == 1


def test_an_echo_request_in_fragments_is_answered_in_fragments() -> None:
    stack = make_stack(mtu=600)
    message = ping(bytes(range(250)) * 8)[20:]
    stack.receive_packet(ip_packet(message[:1000], protocol=1, more=True), 0.0)
    replies = answers(stack, ip_packet(message[1000:], protocol=1, offset=1000))
    assert len(replies) == 4
    assert all(reply.len <= 600 for reply in replies)
    assert len({reply.id for reply in replies}) == 1
    whole = b"".join(bytes(reply.data) for reply in replies)
    assert dpkt.in_cksum(whole) == 0
    assert whole[8:] == bytes(range(250)) * 8
    assert stack.counters.ip_out_frag_creates == 4
    assert stack.counters.ip_out_requests == 1


NOT_FOR_US = {
    "another host": ping(destination=OTHER),
    "limited broadcast": ping(destination=IPv4Address("255.255.255.255")),
    "multicast": ping(destination=IPv4Address("224.0.0.1")),
    "udp to another host": udp_packet(b"x", 1, 2, destination=OTHER),
    "tcp to another host": tcp_packet(1, 2, flags=SYN, destination=OTHER),
    "udp to a multicast group": udp_packet(b"x", 1, 2, destination=IPv4Address("239.1.1.1")),
    "from broadcast": ping(source=IPv4Address("255.255.255.255")),
    "from multicast": udp_packet(b"x", 1, 2, source=IPv4Address("224.0.0.9")),
    "from nowhere": tcp_packet(1, 2, flags=SYN, source=IPv4Address(0)),
    "from loopback": ping(source=IPv4Address("127.0.0.1")),
    "from ourselves": tcp_packet(1, 2, flags=SYN, source=OURS),
    "unknown protocol to another host": ip_packet(b"x", protocol=99, destination=OTHER),
    "fragment to another host": ip_packet(bytes(8), protocol=17, more=True, destination=OTHER),
}


@pytest.mark.parametrize("case", NOT_FOR_US)
def test_what_is_not_for_us_is_never_answered(case: str) -> None:
    stack = make_stack()
    assert answers(stack, NOT_FOR_US[case]) == []
    assert stack.counters.ip_in_addr_errors == 1
    assert stack.counters.ip_in_delivers == 0
    assert stack.poll_at() is None


def broken(packet: bytes, index: int) -> bytes:
    return packet[:index] + bytes((packet[index] ^ 0x01,)) + packet[index + 1 :]


@pytest.mark.parametrize(
    ("packet", "counter"),
    [
        (broken(ping(), 8), "ip_in_hdr_errors"),
        (b"\x50" + bytes(60), "ip_in_hdr_errors"),
        (b"", "ip_in_truncated_pkts"),
        (ping()[:-1], "ip_in_truncated_pkts"),
        (broken(ping(), 29), "icmp_in_errors"),
        (broken(udp_packet(b"xyz", 1, 2), 29), "udp_in_errors"),
        (broken(tcp_packet(1, 2, flags=SYN), 35), "tcp_in_errs"),
        (ip_packet(b"short", protocol=6), "tcp_in_errs"),
        (ip_packet(b"short", protocol=17), "udp_in_errors"),
        (ip_packet(b"short", protocol=1), "icmp_in_errors"),
        (ip_packet(b"1234567", protocol=17, more=True), "ip_in_hdr_errors"),
    ],
)
def test_broken_packets_are_counted_and_not_answered(packet: bytes, counter: str) -> None:
    stack = make_stack()
    assert answers(stack, packet) == []
    assert getattr(stack.counters, counter) == 1


def test_a_batch_is_taken_packet_by_packet_whatever_lies_between() -> None:
    stack = make_stack()
    first, second = ping(b"first"), ping(b"second")
    data = b"\xff\x03\x00\x21" + first + b"junk" + second + b"tail"
    start = 4 + len(first) + 4
    stack.receive_batch(data, [(4, 4 + len(first)), (start, start + len(second))], 0.0)
    replies = [parse(packet).icmp.data.data for packet in stack.packets_to_send(0.0, BUDGET)]
    assert replies == [b"first", b"second"]
    assert stack.counters.ip_in_receives == 2
    assert stack.counters.ip_in_octets == len(first) + len(second)


def test_a_datagram_to_a_closed_port_gets_port_unreachable_with_our_quote() -> None:
    packet = udp_packet(b"q" * 900, 5000, 6000, ttl=9)
    [error] = answers(make_stack(), packet)
    assert (error.icmp.type, error.icmp.code) == (3, 3)
    quoted = bytes(error)[28:]
    assert quoted == packet[: len(quoted)]
    assert len(bytes(error)) == 576, "RFC 1812: as much as fits into 576 octets"


def test_an_unknown_protocol_gets_protocol_unreachable() -> None:
    stack = make_stack()
    packet = ip_packet(b"what?", protocol=99)
    [error] = answers(stack, packet)
    assert (error.icmp.type, error.icmp.code) == (3, 2)
    assert bytes(error)[28:] == packet
    assert stack.counters.ip_in_unknown_protos == 1


def test_reassembly_that_times_out_is_reported_to_the_sender() -> None:
    stack = make_stack()
    first = ip_packet(bytes(800), protocol=17, more=True)
    assert answers(stack, first, 10.0) == []
    assert stack.poll_at() == 40.0
    stack.handle_timer(39.0)
    assert not stack.has_output()
    stack.handle_timer(40.0)
    [error] = [parse(packet) for packet in stack.packets_to_send(40.0, BUDGET)]
    assert (error.icmp.type, error.icmp.code) == (11, 1)
    assert bytes(error)[28:] == first[: 576 - 28]
    assert stack.poll_at() is None


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_is_sent_about_an_error(kind: int) -> None:
    """RFC 1122 section 3.2.2, here an ICMP error whose reassembly times out."""
    stack = make_stack()
    message = struct.pack("!BBHI", kind, 0, 0, 0) + bytes(792)
    stack.receive_packet(ip_packet(message, protocol=1, more=True), 0.0)
    stack.handle_timer(30.0)
    assert not stack.has_output()


def test_errors_and_echo_replies_are_limited_apart() -> None:
    config = StackConfig(icmp_errors_per_second=5.0, icmp_replies_per_second=8.0)
    stack = make_stack(config=config)
    for _ in range(100):
        stack.receive_packet(udp_packet(b"", 1, 2), 0.0)
        stack.receive_packet(ping(), 0.0)
    kinds = [parse(packet).icmp.type for packet in stack.packets_to_send(0.0, BUDGET)]
    assert (kinds.count(3), kinds.count(0)) == (5, 8)
    assert stack.counters.icmp_out_limited == 95 + 92
    assert len(answers(stack, ping(), 1.0)) == 1


def test_answers_that_nobody_takes_are_bounded() -> None:
    stack = make_stack()
    for port in range(20_000):
        stack.receive_packet(tcp_packet(1 + port, 80, flags=SYN), 0.0)
    waiting = sum(map(len, stack.packets_to_send(0.0, 1 << 30)))
    assert waiting <= 256 * 1024
    assert stack.counters.ip_out_discards > 0
    assert len(answers(stack, ping())) == 1


def test_a_segment_for_no_connection_is_reset() -> None:
    """RFC 9293 section 3.10.7.1."""
    stack = make_stack()
    [reset] = answers(stack, tcp_packet(4000, 80, seq=100, flags=SYN))
    assert (reset.tcp.sport, reset.tcp.dport) == (80, 4000)
    assert (reset.tcp.seq, reset.tcp.ack, reset.tcp.flags) == (0, 101, RST | ACK)
    [reset] = answers(stack, tcp_packet(4000, 80, seq=100, ack=777, flags=ACK, payload=b"data"))
    assert (reset.tcp.seq, reset.tcp.flags) == (777, RST)
    assert answers(stack, tcp_packet(4000, 80, seq=100, flags=RST)) == []
    assert stack.counters.tcp_out_rsts == 2


@pytest.mark.parametrize("kind", [0, 3, 5, 9, 10, 11, 13, 17, 200])
def test_icmp_that_concerns_nothing_is_dropped_silently(kind: int) -> None:
    stack = make_stack()
    quote = udp_packet(b"", 1, 2, source=OURS, destination=PEER)
    assert answers(stack, icmp_packet(kind, 0, bytes(4), quote)) == []
    assert stack.take_dirty() == []


class Ticker:
    """A flow that only has a timer."""

    has_urgent_output = False

    def __init__(self) -> None:
        self.fired: list[float] = []
        self.notify: Callable[[], None] | None = None

    def has_output(self) -> bool:
        return False

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        return []

    def handle_timer(self, now: float) -> None:
        self.fired.append(now)


def test_deadlines_call_the_flow_once_and_late_calls_do_no_harm() -> None:
    stack = make_stack()
    ticker = Ticker()
    stack.set_deadline(ticker, 5.0)
    assert stack.poll_at() == 5.0
    stack.handle_timer(4.0)
    assert ticker.fired == []
    stack.handle_timer(9.0)
    stack.handle_timer(9.0)
    assert ticker.fired == [9.0]
    assert stack.poll_at() is None


def test_the_earlier_of_flows_and_fragments_is_polled() -> None:
    stack = make_stack()
    stack.receive_packet(ip_packet(bytes(8), protocol=17, more=True), 0.0)
    assert stack.poll_at() == 30.0
    stack.set_deadline(Ticker(), 50.0)
    assert stack.poll_at() == 30.0
    stack.set_deadline(Ticker(), 3.0)
    assert stack.poll_at() == 3.0


def test_a_dirty_flow_is_returned_once_in_order() -> None:
    stack = make_stack()
    first, second = Ticker(), Ticker()
    for flow in (first, second, first):
        stack.mark_dirty(flow)
    assert stack.take_dirty() == [first, second]
    assert stack.take_dirty() == []
    stack.mark_dirty(first)
    assert stack.take_dirty() == [first]
