"""The stack as an IPv6 host: what it takes, what it answers, what it never answers."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from tests.helpers.ip6_packets import (
    ALL_NODES,
    BUDGET,
    OTHER,
    OUR_LINK_LOCAL,
    OURS,
    PEER,
    PEER_LINK_LOCAL,
    UNSPECIFIED,
    fragment6,
    icmp6_packet,
    ip6_packet,
    make_stack,
    options_header,
    parse6,
    parse_icmp6,
    tcp6_packet,
    udp6,
    udp6_packet,
)
from tests.helpers.ip_packets import udp_packet

SOLICITED_NODE = IPv6Address("ff02::1:ff00:2")
ECHO = b"\x12\x34\x00\x01ping"


def answers(stack: Stack, *packets: bytes, now: float = 0.0) -> list[bytes]:
    for packet in packets:
        stack.receive_packet(packet, now)
    return stack.packets_to_send(now, BUDGET)


def error_about(stack: Stack, packet: bytes, kind: int, code: int, number: int = 0) -> None:
    """The one answer is this error, which quotes the packet."""
    [answer] = answers(stack, packet)
    assert parse_icmp6(answer) == (kind, code, struct.pack("!I", number) + packet[: 1280 - 48])
    assert answer[8:24] == OURS.packed
    assert answer[24:40] == packet[8:24]


# Addresses


def test_addresses_come_and_go() -> None:
    stack = make_stack()
    ipv4 = IPv4Address("10.9.0.2")
    assert list(stack.local_addresses) == [ipv4, OUR_LINK_LOCAL, OURS]
    stack.remove_address(OURS)
    stack.remove_address(OTHER)
    assert list(stack.local_addresses) == [ipv4, OUR_LINK_LOCAL]
    assert stack.source_for(PEER) is None
    assert stack.source_for(PEER_LINK_LOCAL) == OUR_LINK_LOCAL
    stack.add_address(OURS, 64, deprecated=True)
    stack.add_address(OTHER, 64)
    assert stack.source_for(PEER) == OTHER
    stack.add_address(OURS, 64)
    assert stack.source_for(PEER) == OURS
    assert "2001:db8::2" in repr(stack)


@pytest.mark.parametrize("address", ["::", "::1", "ff02::1", "::ffff:10.0.0.1"])
def test_what_no_host_can_have_is_refused(address: str) -> None:
    with pytest.raises(LocalProtocolError):
        make_stack().add_address(IPv6Address(address), 64)


def test_a_prefix_longer_than_an_address_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        make_stack().add_address(OTHER, 129)


def test_a_link_below_1280_octets_carries_no_ipv6() -> None:
    """RFC 8200 section 5."""
    stack = Stack(IPv4Address("10.9.0.2"), mtu=1279, entropy=SeededEntropy(1))
    with pytest.raises(LocalProtocolError, match="1280"):
        stack.add_address(OURS, 64)


def test_without_an_address_everything_is_dropped() -> None:
    stack = Stack(IPv4Address("10.9.0.2"), mtu=1400, entropy=SeededEntropy(1))
    assert answers(stack, icmp6_packet(128, 0, ECHO), icmp6_packet(128, 0, ECHO, destination=ALL_NODES)) == []
    assert stack.counters.ip_in_addr_errors == 2


# What is taken


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (PEER, OTHER),
        (PEER, IPv6Address("ff02::2")),
        (PEER, IPv6Address("ff0e::1")),
        (PEER, UNSPECIFIED),
        (OURS, OURS),
        (OUR_LINK_LOCAL, OURS),
        (IPv6Address("::1"), OURS),
        (IPv6Address("ff02::1"), OURS),
        (IPv6Address("::ffff:10.9.0.1"), OURS),
    ],
)
def test_packets_with_wrong_addresses_are_dropped_silently(source: IPv6Address, destination: IPv6Address) -> None:
    stack = make_stack()
    packets = [
        icmp6_packet(128, 0, ECHO, source=source, destination=destination),
        udp6_packet(b"?", 1, 2, source=source, destination=destination),
        tcp6_packet(1, 2, flags=2, source=source, destination=destination),
        ip6_packet(b"?", protocol=50, source=source, destination=destination),
        ip6_packet(options_header(b"\x80\4" + bytes(4), 59), protocol=0, source=source, destination=destination),
    ]
    assert answers(stack, *packets) == []
    assert stack.counters.ip_in_addr_errors == len(packets)


def test_broken_packets_are_counted() -> None:
    stack = make_stack()
    packet = udp6_packet(b"?", 1, 2)
    assert answers(stack, b"\x60", packet[:39], packet[:-1]) == []
    assert stack.counters.ip_in_truncated_pkts == 3
    assert answers(stack, ip6_packet(b"\x11", protocol=60), b"\x70" + packet[1:], b"") == []
    assert stack.counters.ip_in_hdr_errors == 2
    assert stack.counters.ip_in_truncated_pkts == 4


def test_octets_behind_the_packet_are_ignored() -> None:
    stack = make_stack()
    [answer] = answers(stack, icmp6_packet(128, 0, ECHO) + b"trailer")
    assert parse_icmp6(answer) == (129, 0, ECHO)


def test_no_next_header_is_taken_and_forgotten() -> None:
    stack = make_stack()
    assert answers(stack, ip6_packet(b"whatever", protocol=59)) == []
    assert stack.counters.ip_in_delivers == 1


def test_both_versions_in_one_batch() -> None:
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    packets = [udp6_packet(b"six", 9, 53), udp_packet(b"four", 9, 53), udp6_packet(b"sechs", 9, 53)]
    stack.receive_batch(b"".join(packets), [(0, 51), (51, 83), (83, 136)], 0.0)
    received = [endpoint.receive_from(), endpoint.receive_from(), endpoint.receive_from()]
    assert received == [(b"six", (PEER, 9)), (b"four", (IPv4Address("10.9.0.1"), 9)), (b"sechs", (PEER, 9))]
    assert stack.counters.ip_in_receives == 3


# Errors that we send (RFC 4443 section 3)


def test_an_unknown_protocol_is_told() -> None:
    """RFC 8200 section 4: Parameter Problem, code 1, pointing to the Next Header field."""
    error_about(make_stack(), ip6_packet(b"??", protocol=50), 4, 1, 6)
    error_about(make_stack(), ip6_packet(options_header(bytes(6), 50) + b"??", protocol=60), 4, 1, 40)


def test_an_unknown_option_is_told() -> None:
    error_about(make_stack(), ip6_packet(options_header(b"\xc2\4" + bytes(4), 59), protocol=0), 4, 2, 42)


def test_a_closed_udp_port_is_told_with_as_much_as_fits_1280() -> None:
    """RFC 4443 sections 3.1 and 2.4 (c)."""
    error_about(make_stack(), udp6_packet(b"?", 1, 2), 1, 4)
    stack = make_stack()
    packet = udp6_packet(bytes(1300), 1, 2)
    error_about(stack, packet, 1, 4)
    [answer] = answers(stack, packet)
    assert len(answer) == 1280


def test_errors_are_limited() -> None:
    """RFC 4443 section 2.4 (f)."""
    stack = make_stack(config=StackConfig(icmp_errors_per_second=5.0))
    assert len(answers(stack, *[udp6_packet(b"?", 1, 2)] * 50)) == 5
    assert stack.counters.icmp_out_limited == 45
    assert len(answers(stack, *[udp6_packet(b"?", 1, 2)] * 50, now=0.6)) == 3


@pytest.mark.parametrize(
    "packet",
    [
        icmp6_packet(1, 4, bytes(60)),
        icmp6_packet(99, 0, bytes(60)),
        icmp6_packet(137, 0, bytes(60)),
        ip6_packet(options_header(b"\x80\4" + bytes(4), 58) + b"\1\4", protocol=0),
        ip6_packet(options_header(b"\x80\4" + bytes(4), 58), protocol=0),
    ],
)
def test_errors_and_redirects_are_never_answered_with_an_error(packet: bytes) -> None:
    """RFC 4443 section 2.4 (e)."""
    assert answers(make_stack(), packet) == []


def test_an_option_in_a_multicast_packet_is_told_only_where_its_type_says_so() -> None:
    """RFC 8200 section 4.2, actions 10 and 11."""
    for kind, count in ((0x80, 1), (0xC0, 0)):
        stack = make_stack()
        header = options_header(bytes((kind, 4, 0, 0, 0, 0)), 59)
        sent = answers(stack, ip6_packet(header, protocol=60, destination=ALL_NODES))
        assert len(sent) == count
        assert all(packet[8:24] == OURS.packed for packet in sent)


def test_multicast_gets_no_other_answer() -> None:
    stack = make_stack()
    stack.open_udp(local_port=53)
    stack.listen_tcp(80)
    packets = [
        icmp6_packet(128, 0, ECHO, destination=ALL_NODES),
        udp6_packet(b"?", 1, 53, destination=ALL_NODES),
        udp6_packet(b"?", 1, 9, destination=ALL_NODES),
        tcp6_packet(1, 80, flags=2, destination=ALL_NODES),
        tcp6_packet(1, 9, flags=2, destination=ALL_NODES),
        ip6_packet(b"?", protocol=50, destination=ALL_NODES),
        ip6_packet(fragment6(bytes(8), offset=0, more=True), protocol=44, destination=ALL_NODES),
    ]
    assert answers(stack, *packets) == []
    assert stack.connections == {}
    assert stack.take_dirty() == []


def test_packets_from_nobody_get_no_answer() -> None:
    stack = make_stack()
    packets = [
        icmp6_packet(128, 0, ECHO, source=UNSPECIFIED),
        udp6_packet(b"?", 1, 9, source=UNSPECIFIED),
        tcp6_packet(1, 9, flags=2, source=UNSPECIFIED),
        ip6_packet(b"?", protocol=50, source=UNSPECIFIED),
        ip6_packet(options_header(b"\x80\4" + bytes(4), 59), protocol=0, source=UNSPECIFIED),
    ]
    assert answers(stack, *packets) == []


# Fragments


def test_fragments_become_a_datagram_in_any_order() -> None:
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    datagram = udp6(bytes(range(256)) * 10, 9, 53)
    cuts = [(0, 1000), (1000, 2000), (2000, len(datagram))]
    pieces = [
        ip6_packet(fragment6(datagram[start:end], offset=start, more=end < len(datagram)), protocol=44)
        for start, end in cuts
    ]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        assert answers(stack, *[pieces[index] for index in order]) == []
        assert endpoint.receive() == bytes(range(256)) * 10
    assert stack.counters.ip_reasm_oks == 3
    assert stack.poll_at() is None


def test_the_protocol_of_the_first_fragment_counts() -> None:
    """RFC 8200 section 4.5: "only the value from the Offset zero fragment packet is used for reassembly"."""
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    datagram = udp6(bytes(100), 9, 53)
    last = ip6_packet(fragment6(datagram[48:], offset=48, more=False, next_header=6), protocol=44)
    ahead = options_header(b"\1\4" + bytes(4), 44)
    first = ip6_packet(ahead + fragment6(datagram[:48], offset=0, more=True), protocol=60)
    assert answers(stack, last, first) == []
    assert endpoint.receive() == bytes(100)


def test_overlapping_fragments_are_discarded_altogether_and_silently() -> None:
    """RFC 5722 section 4."""
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    datagram = udp6(bytes(100), 9, 53)
    pieces = [
        ip6_packet(fragment6(datagram[:56], offset=0, more=True), protocol=44),
        ip6_packet(fragment6(datagram[48:], offset=48, more=False), protocol=44),
        ip6_packet(fragment6(datagram[56:], offset=56, more=False), protocol=44),
    ]
    assert answers(stack, *pieces) == []
    assert endpoint.receive() is None
    stack.handle_timer(100.0)
    assert stack.packets_to_send(100.0, BUDGET) == []
    assert stack.counters.ip_reasm_fails == 1


def test_an_incomplete_packet_is_told_when_its_beginning_came() -> None:
    """RFC 8200 section 4.5: Time Exceeded, code 1."""
    stack = make_stack()
    first = ip6_packet(fragment6(udp6(bytes(48), 1, 2), offset=0, more=True), protocol=44)
    later = ip6_packet(fragment6(bytes(8), offset=8, more=True, identification=2), protocol=44)
    assert answers(stack, first, later) == []
    deadline = stack.poll_at()
    assert deadline is not None
    stack.handle_timer(deadline)
    [answer] = stack.packets_to_send(deadline, BUDGET)
    assert parse_icmp6(answer) == (3, 1, bytes(4) + first)
    assert stack.poll_at() is None


def test_a_fragment_inside_a_fragment_is_refused() -> None:
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    inner = fragment6(udp6(b"matryoshka..", 9, 53), offset=0, more=False)
    pieces = [
        ip6_packet(fragment6(inner[:16], offset=0, more=True, next_header=44), protocol=44),
        ip6_packet(fragment6(inner[16:], offset=16, more=False, next_header=44), protocol=44),
    ]
    [answer] = answers(stack, *pieces)
    assert parse_icmp6(answer)[:2] == (4, 1)
    assert endpoint.receive() is None


def test_a_first_fragment_that_makes_the_packet_too_long_after_all_is_dropped() -> None:
    stack = make_stack()
    last = ip6_packet(fragment6(bytes(7), offset=65528, more=False), protocol=44)
    pieces = [ip6_packet(fragment6(bytes(8176), offset=8176 * n, more=True), protocol=44) for n in range(1, 8)]
    rest = ip6_packet(fragment6(bytes(65528 - 8 * 8176), offset=8 * 8176, more=True), protocol=44)
    ahead = options_header(b"\1\4" + bytes(4), 44)
    first = ip6_packet(ahead + fragment6(bytes(8176), offset=0, more=True), protocol=60)
    assert answers(stack, *pieces, rest, last, first) == []
    assert stack.counters.ip_in_hdr_errors == 1


# Neighbors and routers (RFC 4861)


def solicitation(
    target: IPv6Address,
    *,
    source: IPv6Address = PEER_LINK_LOCAL,
    destination: IPv6Address = SOLICITED_NODE,
    hop_limit: int = 255,
    code: int = 0,
    options: bytes = b"",
) -> bytes:
    body = bytes(4) + target.packed + options
    return icmp6_packet(135, code, body, source=source, destination=destination, hop_limit=hop_limit)


@pytest.mark.parametrize("destination", [SOLICITED_NODE, OURS, OUR_LINK_LOCAL])
def test_a_neighbor_that_asks_for_us_is_answered(destination: IPv6Address) -> None:
    stack = make_stack()
    [answer] = answers(stack, solicitation(OURS, destination=destination))
    parsed = parse6(answer)
    assert parsed.hlim == 255
    assert (IPv6Address(parsed.src), IPv6Address(parsed.dst)) == (OURS, PEER_LINK_LOCAL)
    assert parse_icmp6(answer) == (136, 0, b"\x60\0\0\0" + OURS.packed), "solicited, override, no router"


def test_who_wants_to_take_our_address_is_told_so_with_all_others() -> None:
    """RFC 4862 section 5.4.3, RFC 4861 section 7.2.4."""
    stack = make_stack()
    [answer] = answers(stack, solicitation(OURS, source=UNSPECIFIED))
    assert IPv6Address(answer[24:40]) == ALL_NODES
    assert parse_icmp6(answer) == (136, 0, b"\x20\0\0\0" + OURS.packed)


@pytest.mark.parametrize(
    "packet",
    [
        solicitation(PEER),
        solicitation(OURS, hop_limit=254),
        solicitation(OURS, code=1),
        solicitation(IPv6Address("ff02::2")),
        solicitation(OURS, options=b"\1\0" + bytes(6)),
        solicitation(OURS, options=b"\1\2" + bytes(6)),
        solicitation(OURS, options=b"\1"),
        solicitation(OURS, source=UNSPECIFIED, destination=OURS),
        solicitation(OURS, source=UNSPECIFIED, options=b"\1\1" + bytes(6)),
        icmp6_packet(135, 0, bytes(4), source=PEER_LINK_LOCAL, destination=OURS, hop_limit=255),
    ],
)
def test_other_solicitations_get_no_answer(packet: bytes) -> None:
    """RFC 4861 section 7.1.1."""
    assert answers(make_stack(), packet) == []


def test_an_unknown_option_of_a_solicitation_is_ignored() -> None:
    assert len(answers(make_stack(), solicitation(OURS, options=b"\x0e\1" + bytes(6)))) == 1


def test_router_advertisements_are_passed_up() -> None:
    stack = make_stack()
    heard: list[tuple[bytes, IPv6Address, int, float]] = []
    packet = icmp6_packet(134, 0, bytes(12), source=PEER_LINK_LOCAL, destination=ALL_NODES, hop_limit=255)
    assert answers(stack, packet) == [], "nobody listens yet"
    stack.on_router_advertisement = lambda *advertisement: heard.append(advertisement)
    assert answers(stack, packet, now=3.0) == []
    assert heard == [(packet[40:], PEER_LINK_LOCAL, 255, 3.0)]
    broken = packet[:-1] + bytes((packet[-1] ^ 1,))
    answers(stack, broken)
    assert len(heard) == 1
    assert stack.counters.icmp_in_errors == 1


def test_a_router_advertisement_that_is_refused_is_counted() -> None:
    stack = make_stack()

    def refuse(message: bytes, source: IPv6Address, hop_limit: int, now: float) -> None:
        raise RemoteProtocolError("not like this", layer="ipv6")

    stack.on_router_advertisement = refuse
    answers(stack, icmp6_packet(134, 0, bytes(12), source=PEER_LINK_LOCAL))
    assert stack.counters.icmp_in_errors == 1


def test_messages_of_others_go_out_as_they_are() -> None:
    stack = make_stack()
    stack.send_icmp6(OUR_LINK_LOCAL, IPv6Address("ff02::2"), 133, 0, bytes(4))
    stack.send_icmp6(OURS, PEER, 200, 3, b"body", hop_limit=9)
    first, second = stack.packets_to_send(0.0, BUDGET)
    assert (parse6(first).hlim, parse_icmp6(first)) == (255, (133, 0, bytes(4)))
    assert (parse6(second).hlim, parse_icmp6(second)) == (9, (200, 3, b"body"))


def test_all_ends_with_the_tunnel() -> None:
    stack = make_stack()
    answers(stack, ip6_packet(fragment6(bytes(8), offset=8, more=True), protocol=44))
    stack.send_echo(PEER, b"", 0.0)
    stack.abort_all(LocalProtocolError("over"), 1.0)
    assert stack.poll_at() is None
    assert stack.packets_to_send(1.0, BUDGET) == []
