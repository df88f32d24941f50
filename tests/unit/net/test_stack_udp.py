"""UDP endpoints in a stack: ports, delivery, bounds, ICMP errors, fragments."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import (
    ConnectionLost,
    ConnectionRefused,
    DeniedByRule,
    HostUnreachable,
    LocalProtocolError,
    NetworkUnreachable,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.udp import UdpEndpoint
from tests.helpers.ip_packets import OTHER, OURS, PEER, icmp_packet, ip_packet, parse, udp_packet

BUDGET = 1 << 20


@pytest.fixture
def stack() -> Stack:
    return Stack(OURS, mtu=1400, entropy=SeededEntropy(3))


def sent_by(stack: Stack) -> list[bytes]:
    return stack.packets_to_send(0.0, BUDGET)


def unreachable(code: int, about: bytes, *, source: IPv4Address = PEER) -> bytes:
    return icmp_packet(3, code, bytes(4), about[:28], source=source)


def test_a_connected_endpoint_talks_to_its_peer_from_a_random_port(stack: Stack) -> None:
    endpoint = stack.open_udp(PEER, 53)
    assert endpoint.local[0] == OURS
    assert 1024 <= endpoint.local[1] <= 65535
    assert endpoint.remote == (PEER, 53)
    assert endpoint.send(b"question")
    [packet] = [parse(packet) for packet in sent_by(stack)]
    assert (IPv4Address(packet.src), IPv4Address(packet.dst)) == (OURS, PEER)
    assert (packet.udp.sport, packet.udp.dport, packet.udp.data) == (endpoint.local[1], 53, b"question")
    stack.receive_packet(udp_packet(b"answer", 53, endpoint.local[1]), 0.0)
    assert stack.take_dirty() == [endpoint]
    assert endpoint.receive() == b"answer"
    assert endpoint.receive() is None
    assert (stack.counters.udp_in_datagrams, stack.counters.udp_out_datagrams) == (1, 1)


def test_endpoints_get_different_random_ports(stack: Stack) -> None:
    ports = {stack.open_udp(PEER, 53).local[1] for _ in range(50)}
    assert len(ports) == 50
    assert max(ports) - min(ports) > 10_000


@pytest.mark.parametrize(("source", "port"), [(OTHER, 53), (PEER, 54)])
def test_a_connected_endpoint_hears_nobody_else(stack: Stack, source: IPv4Address, port: int) -> None:
    endpoint = stack.open_udp(PEER, 53)
    stack.receive_packet(udp_packet(b"forged", port, endpoint.local[1], source=source), 0.0)
    assert endpoint.receive() is None
    assert stack.take_dirty() == []
    assert stack.counters.udp_no_ports == 1


def test_an_open_endpoint_hears_all_and_answers_each(stack: Stack) -> None:
    endpoint = stack.open_udp(local_port=5353)
    stack.receive_packet(udp_packet(b"one", 1000, 5353), 0.0)
    stack.receive_packet(udp_packet(b"two", 2000, 5353, source=OTHER), 0.0)
    assert stack.take_dirty() == [endpoint]
    assert endpoint.receive_from() == (b"one", (PEER, 1000))
    assert endpoint.receive_from() == (b"two", (OTHER, 2000))
    assert endpoint.receive_from() is None
    endpoint.send_to(b"reply", (OTHER, 2000))
    [packet] = [parse(packet) for packet in sent_by(stack)]
    assert (IPv4Address(packet.dst), packet.udp.sport, packet.udp.dport) == (OTHER, 5353, 2000)


def test_a_connected_endpoint_is_preferred_to_an_open_one_on_the_same_port(stack: Stack) -> None:
    connected = stack.open_udp(PEER, 53, local_port=7000)
    unconnected = stack.open_udp(local_port=7000)
    stack.receive_packet(udp_packet(b"a", 53, 7000), 0.0)
    stack.receive_packet(udp_packet(b"b", 99, 7000), 0.0)
    assert connected.receive() == b"a"
    assert unconnected.receive() == b"b"


def test_wrong_use_is_a_local_error(stack: Stack) -> None:
    endpoint = stack.open_udp(local_port=7000)
    with pytest.raises(LocalProtocolError, match="in use"):
        stack.open_udp(local_port=7000)
    with pytest.raises(LocalProtocolError, match="no UDP port"):
        stack.open_udp(PEER, 0)
    with pytest.raises(LocalProtocolError, match="address and a port"):
        stack.open_udp(PEER)
    with pytest.raises(LocalProtocolError, match="not connected"):
        endpoint.send(b"")
    with pytest.raises(LocalProtocolError, match="65507"):
        endpoint.send_to(bytes(65508), (PEER, 1))
    with pytest.raises(DeniedByRule):
        endpoint.send_to(b"", (IPv4Address("255.255.255.255"), 1))
    with pytest.raises(DeniedByRule):
        stack.open_udp(IPv4Address("224.0.0.1"), 53)
    endpoint.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        endpoint.send_to(b"", (PEER, 1))


def test_the_receive_queue_is_bounded_by_datagrams_and_by_octets() -> None:
    config = StackConfig(udp_receive_datagrams=4, udp_receive_bytes=1000)
    stack = Stack(OURS, mtu=1400, entropy=SeededEntropy(3), config=config)
    endpoint = stack.open_udp(local_port=7000)
    for number in range(6):
        stack.receive_packet(udp_packet(b"%d" % number, 1, 7000), 0.0)
    assert endpoint.dropped == 2
    assert [endpoint.receive() for _ in range(5)] == [b"0", b"1", b"2", b"3", None]
    for _ in range(3):
        stack.receive_packet(udp_packet(bytes(400), 1, 7000), 0.0)
    assert endpoint.dropped == 3
    assert stack.counters.udp_in_errors == 3
    assert endpoint.receive() is not None
    stack.receive_packet(udp_packet(bytes(400), 1, 7000), 0.0)
    assert endpoint.dropped == 3


def test_the_send_queue_is_bounded_and_says_so() -> None:
    config = StackConfig(udp_send_bytes=5000)
    stack = Stack(OURS, mtu=1400, entropy=SeededEntropy(3), config=config)
    endpoint = stack.open_udp(PEER, 53)
    assert [endpoint.send(bytes(1000)) for _ in range(6)] == [True] * 4 + [False] * 2
    assert stack.counters.ip_out_discards == 2
    assert len(sent_by(stack)) == 4
    assert endpoint.send(bytes(1000))


def test_large_datagrams_travel_in_fragments_both_ways(stack: Stack) -> None:
    endpoint = stack.open_udp(PEER, 53, local_port=7000)
    payload = bytes(range(256)) * 20
    endpoint.send(payload)
    fragments = sent_by(stack)
    assert len(fragments) == 4
    mirror = Stack(PEER, mtu=1400, entropy=SeededEntropy(4))
    other_end = mirror.open_udp(local_port=53)
    for fragment in reversed(fragments):
        mirror.receive_packet(fragment, 0.0)
    assert other_end.receive_from() == (payload, (OURS, 7000))


@pytest.mark.parametrize(
    ("code", "error"),
    [(0, NetworkUnreachable), (1, HostUnreachable), (3, ConnectionRefused), (13, HostUnreachable)],
)
def test_icmp_errors_reach_the_connected_endpoint(stack: Stack, code: int, error: type[Exception]) -> None:
    endpoint = stack.open_udp(PEER, 53)
    endpoint.send(b"question")
    [packet] = sent_by(stack)
    stack.receive_packet(unreachable(code, packet, source=OTHER), 0.0)
    assert stack.take_dirty() == [endpoint]
    assert type(endpoint.error) is error
    assert not endpoint.closed
    endpoint.error = None
    assert endpoint.send(b"again")


def test_icmp_errors_about_what_was_never_sent_are_ignored(stack: Stack) -> None:
    endpoint = stack.open_udp(PEER, 53)
    unconnected = stack.open_udp(local_port=7000)
    port = endpoint.local[1]
    forged = [
        udp_packet(b"x", port, 53, source=OURS, destination=PEER),  # nothing was sent yet
        udp_packet(b"x", port, 54, source=OURS, destination=PEER),
        udp_packet(b"x", port ^ 1, 53, source=OURS, destination=PEER),
        udp_packet(b"x", port, 53, source=OTHER, destination=PEER),
        udp_packet(b"x", 7000, 53, source=OURS, destination=PEER),
    ]
    for about in forged[:1]:
        stack.receive_packet(unreachable(3, about), 0.0)
    endpoint.send(b"question")
    sent_by(stack)
    for about in forged[1:]:
        stack.receive_packet(unreachable(3, about), 0.0)
    assert endpoint.error is None
    assert unconnected.error is None
    assert stack.take_dirty() == []
    assert stack.counters.icmp_in_unmatched == len(forged)


def test_fragmentation_needed_is_no_error_for_udp(stack: Stack) -> None:
    endpoint = stack.open_udp(PEER, 53)
    endpoint.send(b"question")
    [packet] = sent_by(stack)
    stack.receive_packet(unreachable(4, packet), 0.0)
    assert endpoint.error is None


def test_a_closed_endpoint_frees_its_port_after_sending_what_waits(stack: Stack) -> None:
    endpoint = stack.open_udp(PEER, 53, local_port=7000)
    endpoint.send(b"last words")
    endpoint.close()
    endpoint.close()
    assert [parse(packet).udp.data for packet in sent_by(stack)] == [b"last words"]
    stack.receive_packet(udp_packet(b"late", 53, 7000), 0.0)
    assert endpoint.receive() is None
    assert isinstance(stack.open_udp(PEER, 53, local_port=7000), UdpEndpoint)


def test_when_the_tunnel_ends_every_endpoint_learns_why(stack: Stack) -> None:
    endpoints = [stack.open_udp(PEER, 53), stack.open_udp(local_port=7000)]
    endpoints[0].send(b"never sent")
    error = ConnectionLost("the tunnel went away")
    stack.abort_all(error, 1.0)
    assert stack.take_dirty() == endpoints
    assert all(endpoint.error is error and endpoint.closed for endpoint in endpoints)
    assert not stack.has_output()


def test_an_endpoint_with_little_to_send_passes_one_with_much(stack: Stack) -> None:
    bulk = stack.open_udp(PEER, 9)
    while bulk.send(bytes(1300)):
        pass
    stack.packets_to_send(0.0, 40_000)
    query = stack.open_udp(PEER, 53)
    query.send(b"question")
    assert parse(stack.packets_to_send(0.0, 2000)[0]).udp.dport == 53


def test_a_datagram_without_checksum_in_a_fragment_is_taken(stack: Stack) -> None:
    endpoint = stack.open_udp(local_port=7000)
    whole = udp_packet(bytes(1000), 1, 7000, checksum=0)[20:]
    stack.receive_packet(ip_packet(whole[:504], protocol=17, more=True), 0.0)
    stack.receive_packet(ip_packet(whole[504:], protocol=17, offset=504), 0.0)
    assert endpoint.receive() == bytes(1000)


BROADCAST = IPv4Address("255.255.255.255")


def test_a_broadcast_is_sent_and_heard_by_an_endpoint_that_wants_them(stack: Stack) -> None:
    endpoint = stack.open_udp(local_port=68, allow_broadcast=True)
    endpoint.send_to(b"anybody?", (BROADCAST, 67))
    [packet] = [parse(packet) for packet in sent_by(stack)]
    assert (IPv4Address(packet.src), IPv4Address(packet.dst)) == (OURS, BROADCAST)
    assert (packet.udp.sport, packet.udp.dport, packet.udp.data) == (68, 67, b"anybody?")
    stack.receive_packet(udp_packet(b"me", 67, 68, destination=BROADCAST), 0.0)
    stack.receive_packet(udp_packet(b"me, too", 67, 68, source=OTHER), 0.0)
    assert endpoint.receive_from() == (b"me", (PEER, 67))
    assert endpoint.receive_from() == (b"me, too", (OTHER, 67))


def test_nobody_else_sends_or_hears_broadcasts(stack: Stack) -> None:
    plain = stack.open_udp(local_port=68)
    wanting = stack.open_udp(local_port=5353, allow_broadcast=True)
    with pytest.raises(DeniedByRule):
        plain.send_to(b"", (BROADCAST, 67))
    for payload in (
        udp_packet(b"to the plain one", 67, 68, destination=BROADCAST),
        udp_packet(b"to nobody", 67, 69, destination=BROADCAST),
        udp_packet(b"from ourselves", 67, 5353, source=OURS, destination=BROADCAST),
        udp_packet(b"of the subnet", 67, 5353, destination=IPv4Address("10.9.0.255")),
        ip_packet(b"\0\x43\x14", protocol=17, destination=BROADCAST),
        ip_packet(b"\0\x43\x14\xe9\0\x08\0\0", protocol=17, destination=BROADCAST, more=True),
        ip_packet(b"\0\x43\x14\xe9\0\x08\0\0", protocol=6, destination=BROADCAST),
        icmp_packet(8, 0, b"\0\1\0\1", b"ping", destination=BROADCAST),
    ):
        stack.receive_packet(payload, 0.0)
    assert plain.receive() is None
    assert wanting.receive() is None
    assert stack.counters.ip_in_addr_errors == 8
    assert sent_by(stack) == [], "broadcasts are never answered"


def test_a_broken_broadcast_is_counted_and_not_answered(stack: Stack) -> None:
    endpoint = stack.open_udp(local_port=68, allow_broadcast=True)
    stack.receive_packet(udp_packet(b"broken", 67, 68, destination=BROADCAST, checksum=1), 0.0)
    assert endpoint.receive() is None
    assert stack.counters.udp_in_errors == 1
    assert sent_by(stack) == []
