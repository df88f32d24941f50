"""UDP over IPv6: addresses, groups, checksums, errors and path MTU."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from sstpsocks.errors import (
    ConnectionRefused,
    DeniedByRule,
    HostUnreachable,
    LocalProtocolError,
    NetworkUnreachable,
)
from sstpsocks.net.stack import Stack
from tests.helpers.ip6_packets import (
    ALL_NODES,
    BUDGET,
    OTHER,
    OUR_LINK_LOCAL,
    OURS,
    PEER,
    PEER_LINK_LOCAL,
    exchange,
    icmp6_packet,
    make_stack,
    parse6,
    udp6_packet,
)
from tests.helpers.ip_packets import udp_packet

DHCP_SERVERS = IPv6Address("ff02::1:2")


def sent(stack: Stack) -> list[tuple[str, int, str, int, bytes]]:
    found = []
    for packet in stack.packets_to_send(0.0, BUDGET):
        parsed = parse6(packet)
        source, destination = str(IPv6Address(parsed.src)), str(IPv6Address(parsed.dst))
        found.append((source, parsed.data.sport, destination, parsed.data.dport, bytes(parsed.data.data)))
    return found


def test_a_connected_endpoint_talks_to_its_peer_only() -> None:
    stack = make_stack()
    endpoint = stack.open_udp(PEER, 53, local_port=1053)
    assert endpoint.local == (OURS, 1053)
    assert endpoint.send(b"question")
    assert sent(stack) == [(str(OURS), 1053, str(PEER), 53, b"question")]
    stack.receive_packet(udp6_packet(b"answer", 53, 1053), 0.0)
    assert endpoint.receive() == b"answer"
    for packet in (udp6_packet(b"no", 54, 1053), udp6_packet(b"no", 53, 1053, source=OTHER)):
        stack.receive_packet(packet, 0.0)
    assert endpoint.receive() is None
    assert stack.counters.udp_no_ports == 2


def test_a_datagram_without_a_checksum_is_discarded() -> None:
    """RFC 8200 section 8.1."""
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    stack.receive_packet(udp6_packet(b"?", 9, 53, checksum=0), 0.0)
    assert endpoint.receive() is None
    assert stack.counters.udp_in_errors == 1


def test_a_port_of_all_addresses_speaks_both_versions() -> None:
    stack = make_stack()
    endpoint = stack.open_udp(local_port=53)
    for packet in (
        udp6_packet(b"global", 9, 53),
        udp6_packet(b"local", 9, 53, source=PEER_LINK_LOCAL, destination=OUR_LINK_LOCAL),
        udp_packet(b"four", 9, 53),
    ):
        stack.receive_packet(packet, 0.0)
    while (received := endpoint.receive_from()) is not None:
        endpoint.send_to(received[0].upper(), received[1])
    packets = stack.packets_to_send(0.0, BUDGET)
    assert [packet[8:24] for packet in packets[:2]] == [OURS.packed, OUR_LINK_LOCAL.packed]
    assert [packet[0] >> 4 for packet in packets] == [6, 6, 4]
    assert [packet[-4:] for packet in packets] == [b"OBAL", b"OCAL", b"FOUR"]


def test_an_endpoint_of_one_address_hears_nothing_else() -> None:
    stack = make_stack()
    bound = stack.open_udp(local_port=546, local_address=OUR_LINK_LOCAL)
    stack.receive_packet(udp6_packet(b"no", 9, 546), 0.0)
    stack.receive_packet(udp_packet(b"no", 9, 546), 0.0)
    stack.receive_packet(udp6_packet(b"yes", 9, 546, source=PEER_LINK_LOCAL, destination=OUR_LINK_LOCAL), 0.0)
    assert bound.receive_from() == (b"yes", (PEER_LINK_LOCAL, 9))
    assert bound.receive_from() is None
    everything = stack.open_udp(local_port=547)
    stack.receive_packet(udp6_packet(b"all", 9, 547), 0.0)
    assert everything.receive() == b"all"
    with pytest.raises(LocalProtocolError, match="in use"):
        stack.open_udp(local_port=546, local_address=OUR_LINK_LOCAL)
    with pytest.raises(LocalProtocolError, match="no address of ours"):
        stack.open_udp(local_port=546, local_address=PEER)
    with pytest.raises(LocalProtocolError, match="cannot be reached"):
        stack.open_udp(IPv4Address("10.9.0.1"), 53, local_address=OURS)
    with pytest.raises(NetworkUnreachable):
        bound.send_to(b"?", (IPv4Address("10.9.0.1"), 53))
    bound.close()
    stack.open_udp(local_port=546, local_address=OUR_LINK_LOCAL)


def test_a_dhcp_client_asks_a_group_and_hears_who_answers() -> None:
    stack = make_stack()
    unconnected = stack.open_udp(local_port=546, local_address=OUR_LINK_LOCAL, allow_multicast=True)
    unconnected.send_to(b"solicit", (DHCP_SERVERS, 547))
    assert sent(stack) == [(str(OUR_LINK_LOCAL), 546, str(DHCP_SERVERS), 547, b"solicit")]
    stack.receive_packet(udp6_packet(b"advertise", 547, 546, source=PEER_LINK_LOCAL, destination=OUR_LINK_LOCAL), 0.0)
    assert unconnected.receive_from() == (b"advertise", (PEER_LINK_LOCAL, 547))
    unconnected.close()
    connected = stack.open_udp(DHCP_SERVERS, 547, local_port=546, allow_multicast=True)
    connected.send(b"request")
    assert sent(stack) == [(str(OUR_LINK_LOCAL), 546, str(DHCP_SERVERS), 547, b"request")]
    stack.receive_packet(udp6_packet(b"reply", 547, 546, source=PEER_LINK_LOCAL, destination=OUR_LINK_LOCAL), 0.0)
    assert connected.receive() == b"reply"
    connected.close()
    assert stack.open_udp(local_port=546).local[1] == 546


def test_groups_only_by_permission() -> None:
    stack = make_stack()
    with pytest.raises(DeniedByRule):
        stack.open_udp(DHCP_SERVERS, 547)
    with pytest.raises(DeniedByRule):
        stack.open_udp().send_to(b"?", (ALL_NODES, 1))
    with pytest.raises(DeniedByRule):
        stack.open_udp(allow_multicast=True).send_to(b"?", (IPv4Address("224.0.0.1"), 1))


def test_without_an_address_nothing_is_sent() -> None:
    stack = make_stack()
    endpoint = stack.open_udp()
    endpoint.send_to(b"queued", (PEER, 53))
    stack.remove_address(OURS)
    assert stack.packets_to_send(0.0, BUDGET) == []
    assert stack.counters.ip_out_discards == 1
    with pytest.raises(NetworkUnreachable):
        endpoint.send_to(b"?", (PEER, 53))
    with pytest.raises(NetworkUnreachable):
        stack.open_udp(PEER, 53)


@pytest.mark.parametrize(("code", "error"), [(4, ConnectionRefused), (3, HostUnreachable), (0, NetworkUnreachable)])
def test_an_error_is_told_to_the_program(code: int, error: type[Exception]) -> None:
    """RFC 1122 section 4.1.3.3."""
    stack = make_stack()
    endpoint = stack.open_udp(PEER, 53)
    quote = udp6_packet(b"question", endpoint.local[1], 53, source=OURS, destination=PEER)
    stack.receive_packet(icmp6_packet(1, code, bytes(4) + quote), 0.0)
    assert stack.take_dirty() == [], "nothing was sent yet"
    endpoint.send(b"question")
    [packet] = stack.packets_to_send(0.0, BUDGET)
    stack.receive_packet(icmp6_packet(1, code, bytes(4) + packet), 0.0)
    assert type(endpoint.error) is error
    assert stack.take_dirty() == [endpoint]


@pytest.mark.parametrize("connected", [True, False])
def test_a_packet_too_big_makes_smaller_fragments(connected: bool) -> None:
    """RFC 8201 section 5.3: the source fragments, since no router does."""
    stack, peer = make_stack(), make_stack()
    peer.remove_address(OURS)
    peer.add_address(PEER, 64)
    listening = peer.open_udp(local_port=53)
    endpoint = stack.open_udp(PEER, 53) if connected else stack.open_udp()

    def send() -> list[bytes]:
        endpoint.send_to(bytes(1340), (PEER, 53))
        return stack.packets_to_send(0.0, BUDGET)

    [packet] = send()
    assert len(packet) == 1388
    stack.receive_packet(icmp6_packet(2, 0, struct.pack("!I", 1300) + packet[:1232], source=OTHER), 0.0)
    assert endpoint.error is None
    pieces = send()
    assert [len(piece) for piece in pieces] == [1296, 148]
    for piece in reversed(pieces):
        peer.receive_packet(piece, 0.0)
    assert listening.receive() == bytes(1340)
    assert stack.counters.ip_out_frag_creates == 2


def test_large_datagrams_cross_in_fragments_with_identifications_of_their_own() -> None:
    """RFC 7739: not to be guessed."""
    stack, peer = make_stack(), make_stack()
    peer.remove_address(OURS)
    peer.add_address(PEER, 64)
    listening = peer.open_udp(local_port=53)
    endpoint = stack.open_udp(PEER, 53)
    identifications = set()
    for _ in range(3):
        endpoint.send(bytes(20_000))
        packets = stack.packets_to_send(0.0, BUDGET)
        assert max(map(len, packets)) <= 1400
        identifications |= {packet[44:48] for packet in packets}
        for packet in packets:
            peer.receive_packet(packet, 0.0)
        assert listening.receive() == bytes(20_000)
    assert len(identifications) == 3
    exchange(stack, peer, 0.0)
