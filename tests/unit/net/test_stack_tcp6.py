"""TCP over IPv6: what differs from IPv4, and that the rest does not."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import dpkt
import pytest

from sstpsocks.errors import (
    ConnectionLost,
    ConnectionRefused,
    DeniedByRule,
    HostUnreachable,
    NetworkUnreachable,
)
from sstpsocks.net.receive_run import receive_run
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.ip6_packets import (
    BUDGET,
    OTHER,
    OUR_LINK_LOCAL,
    OURS,
    PEER,
    exchange,
    icmp6_packet,
    make_stack,
    options_header,
    parse6,
    tcp6_packet,
)


def make_peer(*, mtu: int = 1400) -> Stack:
    stack = make_stack(mtu=mtu)
    stack.remove_address(OURS)
    stack.remove_address(OUR_LINK_LOCAL)
    stack.add_address(PEER, 64)
    return stack


def connected(*, mtu: int = 1400) -> tuple[Stack, Stack, TcpConnection, TcpConnection]:
    """Two stacks with a connection; the peer's MTU is always 1500."""
    stack, peer = make_stack(mtu=mtu), make_peer(mtu=1500)
    listener = peer.listen_tcp(80)
    near = stack.connect_tcp(PEER, 80, 0.0)
    exchange(stack, peer, 0.0)
    far = listener.accept()
    assert far is not None
    return stack, peer, near, far


def read(connection: TcpConnection, now: float = 0.0) -> bytes:
    data = b"".join(connection.pieces())
    connection.consume(len(data), now)
    return data


def sent_syn(stack: Stack) -> tuple[TcpConnection, bytes]:
    connection = stack.connect_tcp(PEER, 80, 0.0)
    [syn] = stack.packets_to_send(0.0, BUDGET)
    return connection, syn


def test_the_syn_tells_an_mss_of_the_mtu_less_60() -> None:
    """RFC 6691."""
    connection, syn = sent_syn(make_stack())
    parsed = parse6(syn)
    assert (parsed.nxt, parsed.hlim, parsed.fc) == (6, 64, 0)
    assert (IPv6Address(parsed.src), IPv6Address(parsed.dst)) == (OURS, PEER)
    assert (parsed.data.sport, parsed.data.dport) == (connection.local[1], 80)
    options = dict(dpkt.tcp.parse_opts(parsed.data.opts))
    assert options[dpkt.tcp.TCP_OPT_MSS] == struct.pack("!H", 1340)


def test_a_connection_keeps_one_flow_label_and_another_has_another() -> None:
    """RFC 6437 section 3."""
    stack, _, near, _ = connected()
    near.send(bytes(5000), 0.0)
    labels = {parse6(packet).flow for packet in stack.packets_to_send(0.0, BUDGET)}
    assert len(labels) == 1
    assert labels.isdisjoint({0, parse6(sent_syn(stack)[1]).flow})


def test_without_an_mss_option_segments_have_1220_octets() -> None:
    """RFC 9293 section 3.7.1 (MUST-15): 1220 for IPv6."""
    stack = make_stack()
    connection, _ = sent_syn(stack)
    answer = tcp6_packet(80, connection.local[1], seq=9, ack=connection.snd_nxt, flags=0x12)
    stack.receive_packet(answer, 0.1)
    connection.send(bytes(5000), 0.1)
    sizes = {len(packet) for packet in stack.packets_to_send(0.1, BUDGET)}
    assert max(sizes) == 1280


@pytest.mark.parametrize("size", [1, 1340, 200_000])
def test_data_goes_both_ways_and_the_connection_ends_in_order(size: int) -> None:
    stack, peer, near, far = connected()
    there, back = bytes(range(256)) * (size // 256 + 1), b"back" * size
    got_there, got_back = bytearray(), bytearray()
    sent_there = sent_back = 0
    now = 0.0
    while len(got_there) < len(there) or len(got_back) < len(back):
        sent_there += near.send(memoryview(there)[sent_there:], now)
        sent_back += far.send(memoryview(back)[sent_back:], now)
        exchange(stack, peer, now)
        got_there += read(far, now)
        got_back += read(near, now)
        now += 0.05
        stack.handle_timer(now)
        peer.handle_timer(now)
        assert now < 60.0
    near.shutdown(now)
    far.shutdown(now)
    exchange(stack, peer, now)
    assert (bytes(got_there), bytes(got_back)) == (there, back)
    assert near.eof
    assert far.eof
    assert stack.counters.tcp_retrans_segs == peer.counters.tcp_retrans_segs == 0


def test_full_segments_fill_the_smaller_mtu() -> None:
    for mtu in (1400, 1500):
        stack, _, near, _ = connected(mtu=mtu)
        near.send(bytes(9000), 0.0)
        assert max(map(len, stack.packets_to_send(0.0, BUDGET))) == mtu


def test_bulk_data_is_taken_by_the_receive_run() -> None:
    stack, peer, near, far = connected()
    far.send(bytes(13_000), 0.0)
    packets = peer.packets_to_send(0.0, BUDGET)
    assert len(packets) == 10
    spans, position = [], 0
    for packet in packets:
        spans.append((position, position + len(packet)))
        position += len(packet)

    def slow(data: bytes, start: int, end: int, now: float) -> None:
        raise AssertionError("the slow path was taken")

    assert receive_run(stack.connections, b"".join(packets), spans, 0.0, slow) == (10, position)
    assert near.readable == 13_000


def test_behind_an_extension_header_it_is_the_same_segment() -> None:
    stack, peer, near, far = connected()
    far.send(b"behind options", 0.0)
    [packet] = peer.packets_to_send(0.0, BUDGET)
    length = struct.pack("!H", len(packet) - 32)
    stack.receive_packet(
        packet[:4] + length + b"\x3c" + packet[7:40] + options_header(b"\1\4" + bytes(4), 6) + packet[40:], 0.0
    )
    assert read(near) == b"behind options"


def test_a_wrong_checksum_is_counted_and_dropped() -> None:
    stack, peer, near, far = connected()
    far.send(b"payload", 0.0)
    [packet] = peer.packets_to_send(0.0, BUDGET)
    for index in (8, 23, 41, 44, 60, 66):
        broken = bytearray(packet)
        broken[index] ^= 0x10
        stack.receive_packet(bytes(broken), 0.0)
    assert near.readable == 0
    assert stack.counters.tcp_in_errs + stack.counters.ip_in_addr_errors == 6


def test_a_closed_port_is_reset() -> None:
    stack, peer = make_stack(), make_peer()
    connection = stack.connect_tcp(PEER, 81, 0.0)
    exchange(stack, peer, 0.0)
    assert isinstance(connection.error, ConnectionRefused)
    stack.receive_packet(tcp6_packet(1, 9, seq=7, flags=2, payload=b"abc"), 0.0)
    [reset] = stack.packets_to_send(0.0, BUDGET)
    parsed = parse6(reset)
    assert (parsed.data.flags, parsed.data.seq, parsed.data.ack) == (0x14, 0, 11)
    assert parsed.dst == PEER.packed


def test_a_listener_takes_connections_of_both_versions_on_all_addresses() -> None:
    stack, peer = make_stack(), make_peer()
    listener = stack.listen_tcp(80)
    for address in (OURS, IPv4Address("10.9.0.2")):
        local = peer if address is OURS else Stack(IPv4Address("10.9.0.1"), mtu=1400, entropy=peer.entropy)
        connection = local.connect_tcp(address, 80, 0.0)
        exchange(local, stack, 0.0)
        accepted = listener.accept()
        assert connection.established
        assert accepted is not None
        assert accepted.local == (address, 80)
        assert accepted.remote == connection.local


@pytest.mark.parametrize("address", ["::", "::1", "ff02::1", "::ffff:10.0.0.1", str(OURS)])
def test_addresses_of_no_host_are_refused(address: str) -> None:
    with pytest.raises(DeniedByRule):
        make_stack().connect_tcp(IPv6Address(address), 80, 0.0)


def test_without_an_address_the_network_is_unreachable() -> None:
    stack = make_stack()
    stack.remove_address(OURS)
    with pytest.raises(NetworkUnreachable, match="no IPv6 address"):
        stack.connect_tcp(PEER, 80, 0.0)
    assert stack.connections == {}


def test_an_address_that_goes_takes_its_connections_along_without_a_word() -> None:
    """RFC 4862 section 5.5.4: an invalid address must not be used as a source."""
    stack, _, near, far = connected()
    endpoint = stack.open_udp(PEER, 53)
    near.send(b"unsent", 0.0)
    stack.take_dirty()
    stack.remove_address(OURS)
    assert isinstance(near.error, ConnectionLost)
    assert isinstance(endpoint.error, ConnectionLost)
    assert set(stack.take_dirty()) == {near, endpoint}
    assert stack.packets_to_send(0.0, BUDGET) == []
    assert stack.connections == {}
    assert stack.poll_at() is None
    far.send(b"late", 0.0)


# ICMPv6 errors


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        (1, 0, NetworkUnreachable),
        (1, 1, HostUnreachable),
        (1, 3, HostUnreachable),
        (1, 4, ConnectionRefused),
        (1, 5, HostUnreachable),
        (1, 6, NetworkUnreachable),
        (4, 1, ConnectionRefused),
    ],
)
def test_an_error_about_our_syn_fails_the_connection(kind: int, code: int, error: type[Exception]) -> None:
    stack = make_stack()
    connection, syn = sent_syn(stack)
    stack.receive_packet(icmp6_packet(kind, code, bytes(4) + syn, source=OTHER), 0.1)
    assert type(connection.error) is error
    assert stack.take_dirty() == [connection]
    assert stack.connections == {}


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (4, 0), (4, 2), (1, 0), (1, 4)])
def test_errors_that_pass_or_come_later_do_not_end_a_connection(kind: int, code: int) -> None:
    """RFC 5461; RFC 9293 section 3.9.2.2."""
    stack, _, near, _ = connected()
    near.send(b"data", 0.0)
    [packet] = stack.packets_to_send(0.0, BUDGET)
    stack.receive_packet(icmp6_packet(kind, code, bytes(4) + packet), 0.1)
    assert near.error is None
    assert near.state is TcpState.ESTABLISHED


def test_an_error_with_a_sequence_number_that_is_not_in_flight_changes_nothing() -> None:
    """RFC 5927 section 4.1."""
    stack = make_stack()
    connection, syn = sent_syn(stack)
    wrong = syn[:44] + struct.pack("!I", (connection.iss + 5000) & 0xFFFFFFFF) + syn[48:]
    stack.receive_packet(icmp6_packet(1, 0, bytes(4) + wrong), 0.1)
    assert connection.error is None
    assert stack.counters.icmp_in_unmatched == 1


# Path MTU discovery (RFC 8201)


def too_big(mtu: int, packet: bytes, destination: IPv6Address = OURS) -> bytes:
    return icmp6_packet(2, 0, struct.pack("!I", mtu) + packet[:1232], source=OTHER, destination=destination)


def full_segment(stack: Stack, connection: TcpConnection) -> bytes:
    connection.send(bytes(8000), 0.0)
    return stack.packets_to_send(0.0, BUDGET)[0]


def test_a_packet_too_big_makes_segments_smaller_at_once_and_for_later_connections() -> None:
    stack, _, near, _ = connected()
    packet = full_segment(stack, near)
    assert len(packet) == 1400
    stack.receive_packet(too_big(1300, packet), 0.1)
    again = stack.packets_to_send(0.1, BUDGET)
    assert max(map(len, again)) == 1300
    assert struct.unpack_from("!I", again[0], 44) == struct.unpack_from("!I", packet, 44), "from the first lost one on"
    later = stack.connect_tcp(PEER, 80, 0.2)
    assert later.path_mss == 1240
    syn = parse6(stack.packets_to_send(0.2, BUDGET)[-1])
    assert dict(dpkt.tcp.parse_opts(syn.data.opts))[dpkt.tcp.TCP_OPT_MSS] == struct.pack("!H", 1340), "ours stays"
    assert stack.connect_tcp(OTHER, 80, 0.2).path_mss == 1340


def test_what_was_learnt_is_forgotten_after_ten_minutes() -> None:
    stack, _, near, _ = connected()
    stack.receive_packet(too_big(1300, full_segment(stack, near)), 0.1)
    near.abort(0.2)
    assert stack.poll_at() == 600.1
    stack.handle_timer(600.1)
    assert stack.connect_tcp(PEER, 80, 601.0).path_mss == 1340


@pytest.mark.parametrize("mtu", [0, 68, 1279, 1400, 9000, 0xFFFFFFFF])
def test_impossible_reports_are_discarded(mtu: int) -> None:
    """RFC 8201 section 4: below 1280 "it must discard it"; and what fits was no reason to complain."""
    stack, _, near, _ = connected()
    stack.receive_packet(too_big(mtu, full_segment(stack, near)), 0.1)
    assert near.snd_mss + near.option_size == 1340
    assert stack.counters.icmp_in_unmatched == 1


def test_the_minimum_mtu_is_believed() -> None:
    stack, _, near, _ = connected()
    stack.receive_packet(too_big(1280, full_segment(stack, near)), 0.1)
    assert near.snd_mss + near.option_size == 1220


def test_a_report_about_nothing_in_flight_is_not_believed_for_any_connection() -> None:
    stack, _, near, _ = connected()
    packet = full_segment(stack, near)
    wrong = packet[:44] + struct.pack("!I", (near.snd_max + 1) & 0xFFFFFFFF) + packet[48:]
    stack.receive_packet(too_big(1280, wrong), 0.1)
    stack.receive_packet(too_big(1280, packet, destination=OUR_LINK_LOCAL), 0.1)
    assert near.snd_mss + near.option_size == 1340
    assert stack.connect_tcp(PEER, 80, 0.2).path_mss == 1340


def test_the_mtu_of_a_router_advertisement_bounds_what_is_sent() -> None:
    stack = make_stack()
    stack.ipv6_mtu = 1280
    assert stack.connect_tcp(PEER, 80, 0.0).path_mss == 1220
    assert stack.connect_tcp(IPv4Address("10.9.0.1"), 80, 0.0).path_mss == 1360
