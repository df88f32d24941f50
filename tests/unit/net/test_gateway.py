"""A stack that stands in for everybody: what programs behind the link are answered, and dpkt reads it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import dpkt
import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    HostUnreachable,
    NameNotFound,
    NetworkUnreachable,
    SstpsocksError,
    TunnelDown,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.net.gateway import MAX_EVENTS, DatagramArrived, EchoArrived, Gateway, Opening
from tests.helpers.ip6_packets import icmp6_packet, parse6, tcp6_packet, udp6_packet
from tests.helpers.ip_packets import icmp_packet, ip_packet, parse, tcp_packet, udp_packet

OWN, OWN6 = IPv4Address("192.0.0.1"), IPv6Address("64:ff9b:1::1")
PROGRAM, PROGRAM6 = IPv4Address("192.0.0.2"), IPv6Address("64:ff9b:1::2")
TARGET, TARGET6 = IPv4Address("10.20.30.40"), IPv6Address("2001:db8:5::5")
BUDGET = 1 << 20
SYN, RST, ACK = 0x02, 0x04, 0x10


def make_gateway(config: StackConfig | None = None) -> Gateway:
    return Gateway(OWN, OWN6, entropy=SeededEntropy("gateway"), config=config)


@pytest.fixture
def gateway() -> Gateway:
    return make_gateway()


def sent(gateway: Gateway) -> list[dpkt.ip.IP]:
    return [parse(packet) for packet in gateway.packets_to_send(0.0, BUDGET)]


def sent6(gateway: Gateway) -> list[dpkt.ip6.IP6]:
    return [parse6(packet) for packet in gateway.packets_to_send(0.0, BUDGET)]


def from_program(payload: bytes, sport: int, dport: int, target: IPv4Address = TARGET, ttl: int = 64) -> bytes:
    return udp_packet(payload, sport, dport, source=PROGRAM, destination=target, ttl=ttl)


def syn(port: int = 80, sport: int = 5000, target: IPv4Address = TARGET, seq: int = 99) -> bytes:
    return tcp_packet(sport, port, seq=seq, flags=SYN, source=PROGRAM, destination=target)


def opening(gateway: Gateway, packet: bytes | None = None) -> Opening:
    gateway.receive_packet(packet if packet is not None else syn(), 0.0)
    event = gateway.next_event()
    assert isinstance(event, Opening)
    return event


# TCP


def test_a_syn_for_anybody_is_the_owners_to_decide_and_is_not_answered_before(gateway: Gateway) -> None:
    begun = opening(gateway)
    assert (begun.remote, begun.target) == ((PROGRAM, 5000), (TARGET, 80))
    assert sent(gateway) == []
    assert gateway.connections == {}


def test_accepted_it_is_answered_from_the_targets_address(gateway: Gateway) -> None:
    connection = gateway.accept(opening(gateway), 0.0)
    assert connection is not None
    [answer] = sent(gateway)
    assert (ip_address(answer.src), ip_address(answer.dst)) == (TARGET, PROGRAM)
    assert (answer.tcp.sport, answer.tcp.dport, answer.tcp.flags, answer.tcp.ack) == (80, 5000, SYN | ACK, 100)
    handshake = tcp_packet(
        5000, 80, seq=100, ack=answer.tcp.seq + 1, flags=ACK, payload=b"hello", source=PROGRAM, destination=TARGET
    )
    gateway.receive_packet(handshake, 0.0)
    assert connection.established
    assert b"".join(connection.pieces()) == b"hello"


def test_the_segments_to_programs_may_be_as_large_as_ip_allows(gateway: Gateway) -> None:
    gateway.accept(opening(gateway), 0.0)
    [answer] = sent(gateway)
    options = dict(dpkt.tcp.parse_opts(answer.tcp.opts))
    assert struct.unpack("!H", options[dpkt.tcp.TCP_OPT_MSS]) == (65495,)


def test_a_syn_that_is_sent_again_while_the_target_is_dialled_is_no_second_one(gateway: Gateway) -> None:
    first = opening(gateway)
    gateway.receive_packet(syn(), 1.0)
    assert gateway.next_event() is None
    assert gateway.accept(first, 1.0) is not None
    assert gateway.accept(first, 1.0) is None


def test_a_refused_connection_is_reset_by_the_target(gateway: Gateway) -> None:
    gateway.refuse(opening(gateway), ConnectionRefused("no"))
    [reset] = sent(gateway)
    assert (ip_address(reset.src), reset.tcp.sport, reset.tcp.dport) == (TARGET, 80, 5000)
    assert (reset.tcp.flags & RST, reset.tcp.ack) == (RST, 100)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NetworkUnreachable("x"), 0), (TunnelDown("x"), 0), (HostUnreachable("x"), 1), (NameNotFound("x"), 1),
        (DeniedByRule("x"), 13),
    ],
)  # fmt: skip
def test_why_a_target_is_not_reached_is_said_by_icmp(gateway: Gateway, error: SstpsocksError, code: int) -> None:
    gateway.refuse(opening(gateway), error)
    [packet] = sent(gateway)
    assert (ip_address(packet.src), ip_address(packet.dst)) == (OWN, PROGRAM)
    assert (packet.icmp.type, packet.icmp.code) == (3, code)
    quote = packet.icmp.data.data
    assert (ip_address(quote.src), ip_address(quote.dst)) == (PROGRAM, TARGET)
    assert (quote.tcp.sport, quote.tcp.dport, quote.tcp.seq) == (5000, 80, 99)


def test_who_does_not_answer_is_silent_here_too_and_may_be_tried_again(gateway: Gateway) -> None:
    gateway.refuse(opening(gateway), ConnectTimedOut("nobody"))
    assert sent(gateway) == []
    opening(gateway)


def test_a_segment_of_no_connection_is_reset(gateway: Gateway) -> None:
    gateway.receive_packet(tcp_packet(5, 6, ack=77, flags=ACK, source=PROGRAM, destination=TARGET), 0.0)
    [reset] = sent(gateway)
    assert (ip_address(reset.src), reset.tcp.flags & RST, reset.tcp.seq) == (TARGET, RST, 77)


def test_a_port_of_the_gateway_does_not_listen_at_other_addresses(gateway: Gateway) -> None:
    gateway.listen_tcp(53)
    assert opening(gateway, syn(port=53)).target == (TARGET, 53)
    gateway.receive_packet(syn(port=53, target=OWN), 0.0)
    assert gateway.next_event() is None
    [answer] = sent(gateway)
    assert (ip_address(answer.src), answer.tcp.flags) == (OWN, SYN | ACK)


def test_openings_are_bounded_and_what_is_beyond_is_tried_again() -> None:
    gateway = make_gateway(StackConfig(max_half_open=2))
    begun = [opening(gateway, syn(sport=sport)) for sport in (1, 2)]
    gateway.receive_packet(syn(sport=3), 0.0)
    assert gateway.next_event() is None
    assert sent(gateway) == []
    gateway.refuse(begun[0], ConnectTimedOut("nobody"))
    opening(gateway, syn(sport=3))


def test_connections_are_bounded() -> None:
    gateway = make_gateway(StackConfig(max_connections=1))
    gateway.accept(opening(gateway), 0.0)
    sent(gateway)
    gateway.receive_packet(syn(sport=2), 0.0)
    assert gateway.next_event() is None
    assert sent(gateway) == []


def test_a_port_that_is_used_again_after_time_wait_is_the_owners_to_decide_again(gateway: Gateway) -> None:
    connection = gateway.accept(opening(gateway), 0.0)
    assert connection is not None
    [answer] = sent(gateway)
    ours = answer.tcp.seq + 1

    def segment(flags: int, seq: int, ack: int) -> bytes:
        return tcp_packet(5000, 80, seq=seq, ack=ack, flags=flags, source=PROGRAM, destination=TARGET)

    gateway.receive_packet(segment(ACK, 100, ours), 0.0)
    connection.shutdown(0.0)
    sent(gateway)
    gateway.receive_packet(segment(ACK | 1, 100, ours + 1), 0.0)
    sent(gateway)
    assert connection.state.value == "TIME-WAIT"
    assert opening(gateway, syn(seq=100_000)).target == (TARGET, 80)


# UDP


def test_a_datagram_for_anybody_is_the_owners(gateway: Gateway) -> None:
    gateway.receive_packet(from_program(b"question", 4000, 53), 0.0)
    assert gateway.next_event() == DatagramArrived((PROGRAM, 4000), (TARGET, 53), b"question")
    assert gateway.next_event() is None


def test_the_answer_comes_from_whom_it_says(gateway: Gateway) -> None:
    assert gateway.send_datagram(b"answer", (TARGET, 53), (PROGRAM, 4000))
    [packet] = sent(gateway)
    assert (ip_address(packet.src), ip_address(packet.dst)) == (TARGET, PROGRAM)
    assert (packet.udp.sport, packet.udp.dport, packet.udp.data) == (53, 4000, b"answer")


def test_a_datagram_larger_than_the_link_is_not_cut(gateway: Gateway) -> None:
    assert gateway.send_datagram(bytes(60_000), (TARGET, 53), (PROGRAM, 4000))
    [packet] = sent(gateway)
    assert len(packet.udp.data) == 60_000


def test_fragments_of_a_program_become_one_datagram(gateway: Gateway) -> None:
    whole = from_program(bytes(range(256)) * 10, 4000, 53)[20:]
    for offset in range(0, len(whole), 1024):
        piece = whole[offset : offset + 1024]
        more = offset + 1024 < len(whole)
        packet = ip_packet(piece, protocol=17, offset=offset, more=more, source=PROGRAM, destination=TARGET)
        gateway.receive_packet(packet, 0.0)
    event = gateway.next_event()
    assert isinstance(event, DatagramArrived)
    assert event.payload == bytes(range(256)) * 10


@pytest.mark.parametrize(
    ("error", "code", "teller"), [(ConnectionRefused("x"), 3, TARGET), (HostUnreachable("x"), 1, OWN)]
)
def test_a_datagram_that_is_refused_is_told_to_the_socket_that_sent_it(
    gateway: Gateway, error: SstpsocksError, code: int, teller: IPv4Address
) -> None:
    gateway.refuse_datagram((PROGRAM, 4000), (TARGET, 9), error)
    [packet] = sent(gateway)
    assert (ip_address(packet.src), packet.icmp.type, packet.icmp.code) == (teller, 3, code)
    quote = packet.icmp.data.data
    assert (ip_address(quote.dst), quote.udp.sport, quote.udp.dport) == (TARGET, 4000, 9)


def test_the_gateways_own_port_is_an_endpoint_as_of_any_stack(gateway: Gateway) -> None:
    endpoint = gateway.open_udp(local_port=53)
    gateway.receive_packet(from_program(b"question", 4000, 53, OWN), 0.0)
    assert gateway.next_event() is None
    assert endpoint.receive_from() == (b"question", (PROGRAM, 4000))
    gateway.receive_packet(from_program(b"question", 4000, 54, OWN), 0.0)
    [packet] = sent(gateway)
    assert (packet.icmp.type, packet.icmp.code) == (3, 3)


def test_events_that_nobody_takes_are_bounded(gateway: Gateway) -> None:
    for number in range(MAX_EVENTS + 5):
        gateway.receive_packet(from_program(b"", 1 + number % 60_000, 53), 0.0)
    assert gateway.counters.ip_in_discards == 5


# ICMP, and what is for nobody


def test_an_echo_request_is_the_owners_and_its_reply_gives_everything_back(gateway: Gateway) -> None:
    request = icmp_packet(8, 0, b"\x12\x34\x00\x07", b"some data", source=PROGRAM, destination=TARGET)
    gateway.receive_packet(request, 0.0)
    event = gateway.next_event()
    assert isinstance(event, EchoArrived)
    assert event.payload == b"some data"
    assert sent(gateway) == []
    gateway.answer_echo(event)
    [reply] = sent(gateway)
    assert (ip_address(reply.src), reply.icmp.type) == (TARGET, 0)
    assert (reply.icmp.data.id, reply.icmp.data.seq, reply.icmp.data.data) == (0x1234, 7, b"some data")


def test_an_echo_request_without_an_answer_is_told_why(gateway: Gateway) -> None:
    request = icmp_packet(8, 0, b"\x12\x34\x00\x07", b"data", source=PROGRAM, destination=TARGET)
    gateway.receive_packet(request, 0.0)
    event = gateway.next_event()
    assert isinstance(event, EchoArrived)
    gateway.refuse_echo(event, ConnectTimedOut("nobody"))
    assert sent(gateway) == []
    gateway.refuse_echo(event, HostUnreachable("gone"))
    [packet] = sent(gateway)
    assert (packet.icmp.type, packet.icmp.code, packet.icmp.data.data.icmp.data.id) == (3, 1, 0x1234)


def test_the_gateway_answers_echo_requests_for_itself(gateway: Gateway) -> None:
    gateway.receive_packet(icmp_packet(8, 0, bytes(4), b"me", source=PROGRAM, destination=OWN), 0.0)
    assert gateway.next_event() is None
    assert [packet.icmp.type for packet in sent(gateway)] == [0]


def test_what_may_make_one_hop_ends_here_as_at_any_router(gateway: Gateway) -> None:
    gateway.receive_packet(from_program(b"probe", 4000, 33434, ttl=1), 0.0)
    assert gateway.next_event() is None
    [packet] = sent(gateway)
    assert (ip_address(packet.src), packet.icmp.type, packet.icmp.code) == (OWN, 11, 0)


@pytest.mark.parametrize("target", ["224.0.0.251", "255.255.255.255", "0.0.0.1", "127.0.0.1", "240.0.0.1"])
def test_nothing_goes_to_what_is_no_single_host(gateway: Gateway, target: str) -> None:
    gateway.receive_packet(from_program(b"x", 5353, 5353, IPv4Address(target)), 0.0)
    gateway.receive_packet(syn(target=IPv4Address(target)), 0.0)
    assert gateway.next_event() is None
    assert sent(gateway) == []


def test_an_unknown_protocol_is_refused(gateway: Gateway) -> None:
    gateway.receive_packet(ip_packet(b"gre", protocol=47, source=PROGRAM, destination=TARGET), 0.0)
    assert [(packet.icmp.type, packet.icmp.code) for packet in sent(gateway)] == [(3, 2)]


def test_the_end_leaves_nothing_waiting(gateway: Gateway) -> None:
    begun = opening(gateway)
    gateway.receive_packet(from_program(b"x", 1, 2), 0.0)
    gateway.close(TunnelDown("over"), 0.0)
    assert gateway.next_event() is None
    assert gateway.accept(begun, 0.0) is None
    assert (gateway.openings, sent(gateway)) == (0, [])


# IPv6


def test_ipv6_connections_datagrams_and_echoes_are_the_owners_too(gateway: Gateway) -> None:
    gateway.receive_packet(tcp6_packet(5000, 80, seq=9, flags=SYN, source=PROGRAM6, destination=TARGET6), 0.0)
    begun = gateway.next_event()
    assert isinstance(begun, Opening)
    gateway.accept(begun, 0.0)
    [answer] = sent6(gateway)
    assert (ip_address(answer.src), answer.data.flags) == (TARGET6, SYN | ACK)
    gateway.receive_packet(udp6_packet(b"q", 4000, 53, source=PROGRAM6, destination=TARGET6), 0.0)
    assert gateway.next_event() == DatagramArrived((PROGRAM6, 4000), (TARGET6, 53), b"q")
    gateway.send_datagram(b"a", (TARGET6, 53), (PROGRAM6, 4000))
    [datagram] = sent6(gateway)
    assert (ip_address(datagram.src), datagram.data.data) == (TARGET6, b"a")
    gateway.receive_packet(icmp6_packet(128, 0, b"\0\1\0\2echo", source=PROGRAM6, destination=TARGET6), 0.0)
    event = gateway.next_event()
    assert isinstance(event, EchoArrived)
    gateway.answer_echo(event)
    [reply] = sent6(gateway)
    assert (ip_address(reply.src), reply.data.type, bytes(reply.data.data)) == (TARGET6, 129, b"\0\1\0\2echo")


@pytest.mark.parametrize(
    ("error", "code", "teller"),
    [
        (NetworkUnreachable("x"), 0, OWN6), (DeniedByRule("x"), 1, OWN6), (HostUnreachable("x"), 3, OWN6),
        (ConnectionRefused("x"), 4, TARGET6),
    ],
)  # fmt: skip
def test_ipv6_errors_have_codes_of_their_own(
    gateway: Gateway, error: SstpsocksError, code: int, teller: IPv6Address
) -> None:
    gateway.refuse_datagram((PROGRAM6, 4000), (TARGET6, 9), error)
    [packet] = sent6(gateway)
    assert (ip_address(packet.src), packet.data.type, packet.data.code) == (teller, 1, code)


def test_an_ipv6_packet_with_one_hop_left_ends_here(gateway: Gateway) -> None:
    packet = icmp6_packet(128, 0, b"\0\1\0\2", source=PROGRAM6, destination=TARGET6, hop_limit=1)
    gateway.receive_packet(packet, 0.0)
    assert gateway.next_event() is None
    [answer] = sent6(gateway)
    assert (ip_address(answer.src), answer.data.type) == (OWN6, 3)


def test_router_solicitations_and_groups_are_passed_over(gateway: Gateway) -> None:
    everybody = IPv6Address("ff02::2")
    source = IPv6Address("fe80::9")
    gateway.receive_packet(icmp6_packet(133, 0, bytes(4), source=source, destination=everybody, hop_limit=255), 0.0)
    gateway.receive_packet(udp6_packet(b"x", 5353, 5353, source=source, destination=IPv6Address("ff02::fb")), 0.0)
    assert gateway.next_event() is None
    assert sent6(gateway) == []
