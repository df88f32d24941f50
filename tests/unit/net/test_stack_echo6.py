"""Echo over IPv6, both ways (RFC 4443 section 4), and the errors that end a request."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    HostUnreachable,
    NetworkUnreachable,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.net.echo import IcmpEcho
from sstpsocks.net.stack import Stack
from tests.helpers.ip6_packets import (
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
    parse_icmp6,
)


def sent_request(stack: Stack, address: IPv6Address = PEER) -> tuple[IcmpEcho, bytes]:
    request = stack.send_echo(address, b"payload", 0.0)
    [packet] = stack.packets_to_send(0.0, BUDGET)
    return request, packet


def test_a_request_is_answered_with_all_its_data_from_the_address_it_went_to() -> None:
    stack = make_stack()
    for address, asker in ((OURS, OTHER), (OUR_LINK_LOCAL, PEER_LINK_LOCAL)):
        stack.receive_packet(icmp6_packet(128, 0, b"\1\2\3\4" + bytes(3000), source=asker, destination=address), 0.0)
        packets = stack.packets_to_send(0.0, BUDGET)
        assert len(packets) == 3
        assert all(packet[8:40] == address.packed + asker.packed for packet in packets)
        assert b"".join(packet[48:] for packet in packets)[4:] == b"\1\2\3\4" + bytes(3000)


def test_replies_are_limited() -> None:
    stack = make_stack(config=StackConfig(icmp_replies_per_second=3.0))
    for _ in range(9):
        stack.receive_packet(icmp6_packet(128, 0, bytes(4)), 0.0)
    assert len(stack.packets_to_send(0.0, BUDGET)) == 3
    assert stack.counters.icmp_out_limited == 6


def test_our_request_and_its_reply() -> None:
    stack = make_stack()
    request, packet = sent_request(stack)
    assert parse6(packet).hlim == 64
    kind, code, body = parse_icmp6(packet)
    assert (kind, code) == (128, 0)
    stack.receive_packet(icmp6_packet(129, 0, body, source=OTHER), 0.1)
    stack.receive_packet(icmp6_packet(129, 0, body[:-1] + b"?"), 0.1)
    stack.receive_packet(icmp6_packet(129, 0, b"\0"), 0.1)
    assert stack.take_dirty() == []
    assert (stack.counters.icmp_in_unmatched, stack.counters.icmp_in_errors) == (2, 1)
    stack.receive_packet(icmp6_packet(129, 0, body), 0.25)
    assert request.replied
    assert request.round_trip == 0.25
    assert stack.take_dirty() == [request]
    assert stack.poll_at() is None


def test_two_stacks_ping_each_other_over_their_link_local_addresses() -> None:
    left, right = make_stack(), make_stack()
    right.add_address(PEER_LINK_LOCAL, 64)
    right.remove_address(OUR_LINK_LOCAL)
    request = left.send_echo(PEER_LINK_LOCAL, bytes(4000), 0.0)
    exchange(left, right, 0.0)
    assert request.replied


def test_no_answer_is_a_time_out() -> None:
    stack = make_stack()
    request, _ = sent_request(stack)
    stack.handle_timer(stack.config.echo_timeout)
    assert isinstance(request.error, ConnectTimedOut)


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        (1, 0, NetworkUnreachable),
        (1, 1, HostUnreachable),
        (1, 2, HostUnreachable),
        (1, 3, HostUnreachable),
        (1, 4, ConnectionRefused),
        (1, 5, HostUnreachable),
        (1, 6, NetworkUnreachable),
        (1, 7, HostUnreachable),
        (3, 0, HostUnreachable),
        (3, 1, ConnectTimedOut),
        (4, 0, HostUnreachable),
        (4, 1, ConnectionRefused),
        (4, 2, HostUnreachable),
    ],
)
def test_an_error_ends_the_request(kind: int, code: int, error: type[Exception]) -> None:
    """RFC 4443 sections 3.1, 3.3 and 3.4."""
    stack = make_stack()
    request, packet = sent_request(stack)
    stack.receive_packet(icmp6_packet(kind, code, bytes(4) + packet, source=OTHER), 0.1)
    assert type(request.error) is error


def test_errors_about_something_else_are_not_believed() -> None:
    stack = make_stack()
    request, packet = sent_request(stack)
    quotes = [
        b"",
        packet[:47],
        b"\x45" + packet[1:],
        packet[:23] + b"\7" + packet[24:],
        packet[:39] + b"\7" + packet[40:],
        packet[:6] + b"\x3b" + packet[7:],
        packet[:40] + b"\x81" + packet[41:],
        packet[:44] + struct.pack("!H", request.identifier ^ 1) + packet[46:],
        packet[:6] + b"\x2c" + packet[7:40] + b"\x3a\0\0\x08\0\0\0\1" + packet[40:],
    ]
    for quote in quotes:
        stack.receive_packet(icmp6_packet(1, 0, bytes(4) + quote), 0.1)
    stack.receive_packet(icmp6_packet(1, 9, bytes(4) + packet), 0.1)
    stack.receive_packet(icmp6_packet(99, 0, bytes(4) + packet), 0.1)
    stack.receive_packet(icmp6_packet(1, 0, bytes(4) + packet, destination=OUR_LINK_LOCAL), 0.1)
    assert request.error is None
    counters = stack.counters
    assert counters.icmp_in_errors + counters.icmp_in_unmatched == len(quotes) + 3


def test_an_error_about_the_first_fragment_of_a_large_request_is_understood() -> None:
    stack = make_stack()
    request = stack.send_echo(PEER, bytes(3000), 0.0)
    first, *_ = stack.packets_to_send(0.0, BUDGET)
    stack.receive_packet(icmp6_packet(1, 3, bytes(4) + first[:1232]), 0.1)
    assert type(request.error) is HostUnreachable


def test_what_cannot_be_pinged() -> None:
    stack = make_stack()
    for address in ("::", "::1", "ff02::1", "::ffff:10.0.0.1", str(OURS), str(OUR_LINK_LOCAL)):
        with pytest.raises(DeniedByRule):
            stack.send_echo(IPv6Address(address), b"", 0.0)
    stack.remove_address(OURS)
    with pytest.raises(NetworkUnreachable, match="no IPv6 address"):
        stack.send_echo(PEER, b"", 0.0)
