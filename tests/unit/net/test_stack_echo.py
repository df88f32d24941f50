"""Our own echo requests: reply, errors, time-out, end of the tunnel."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConnectionLost, ConnectTimedOut, DeniedByRule, HostUnreachable, LocalProtocolError
from sstpsocks.net.echo import IcmpEcho
from sstpsocks.net.stack import Stack
from tests.helpers.ip_packets import OTHER, OURS, PEER, icmp_packet, parse


@pytest.fixture
def stack() -> Stack:
    return Stack(OURS, mtu=1400, entropy=SeededEntropy(3))


def send(stack: Stack, payload: bytes = b"ping", now: float = 0.0) -> tuple[IcmpEcho, bytes]:
    request = stack.send_echo(PEER, payload, now)
    [packet] = stack.packets_to_send(now, 1 << 20)
    return request, packet


def reply_to(packet: bytes, *, source: IPv4Address = PEER, payload: bytes = b"ping", sequence: int = 0) -> bytes:
    rest = packet[24:26] + struct.pack("!H", int.from_bytes(packet[26:28], "big") + sequence)
    return icmp_packet(0, 0, rest, payload, source=source)


def test_the_reply_ends_the_request_and_gives_the_round_trip(stack: Stack) -> None:
    request, packet = send(stack, now=10.0)
    parsed = parse(packet)
    assert (IPv4Address(parsed.dst), parsed.icmp.type, parsed.icmp.data.data) == (PEER, 8, b"ping")
    assert parsed.icmp.data.id == request.identifier
    stack.receive_packet(reply_to(packet), 10.25)
    assert stack.take_dirty() == [request]
    assert request.replied
    assert request.round_trip == pytest.approx(0.25)
    assert request.error is None
    assert stack.poll_at() is None


def test_other_replies_do_not_count(stack: Stack) -> None:
    request, packet = send(stack)
    stack.receive_packet(reply_to(packet, source=OTHER), 0.1)
    stack.receive_packet(reply_to(packet, payload=b"pong"), 0.1)
    stack.receive_packet(reply_to(packet, sequence=1), 0.1)
    assert stack.take_dirty() == []
    assert stack.counters.icmp_in_unmatched == 3
    stack.receive_packet(reply_to(packet), 0.2)
    assert request.replied
    stack.receive_packet(reply_to(packet), 0.3)
    assert stack.counters.icmp_in_unmatched == 4


def test_an_icmp_error_about_it_ends_the_request(stack: Stack) -> None:
    request, packet = send(stack)
    stack.receive_packet(icmp_packet(3, 1, bytes(4), packet[:28], source=OTHER), 0.1)
    assert stack.take_dirty() == [request]
    assert isinstance(request.error, HostUnreachable)
    assert not request.replied


def test_an_icmp_error_about_another_request_does_not(stack: Stack) -> None:
    request, packet = send(stack)
    wrong_sequence = packet[:27] + bytes((packet[27] ^ 1,))
    wrong_identifier = packet[:24] + bytes((packet[24] ^ 1,)) + packet[25:28]
    a_reply = packet[:20] + b"\0" + packet[21:28]
    for about in (wrong_sequence, wrong_identifier, a_reply):
        stack.receive_packet(icmp_packet(3, 1, bytes(4), about), 0.1)
    assert request.error is None
    assert stack.counters.icmp_in_unmatched == 3


def test_without_a_reply_it_times_out(stack: Stack) -> None:
    request, packet = send(stack, now=5.0)
    assert stack.poll_at() == 15.0
    stack.handle_timer(14.0)
    assert stack.take_dirty() == []
    stack.handle_timer(15.0)
    assert isinstance(request.error, ConnectTimedOut)
    assert stack.take_dirty() == [request]
    assert stack.poll_at() is None
    stack.receive_packet(reply_to(packet), 16.0)
    assert not request.replied


def test_a_closed_request_is_forgotten_and_never_sent(stack: Stack) -> None:
    request = stack.send_echo(PEER, b"", 0.0)
    request.close()
    assert stack.packets_to_send(0.0, 1 << 20) == []
    assert stack.poll_at() is None
    assert not stack.has_output()


def test_when_the_tunnel_ends_the_request_learns_why(stack: Stack) -> None:
    request, _ = send(stack)
    error = ConnectionLost("gone")
    stack.abort_all(error, 1.0)
    assert request.error is error
    assert stack.take_dirty() == [request]
    assert stack.poll_at() is None


def test_a_large_request_is_fragmented_and_answered_by_another_stack(stack: Stack) -> None:
    payload = bytes(range(250)) * 16
    peer = Stack(PEER, mtu=600, entropy=SeededEntropy(5))
    request = stack.send_echo(PEER, payload, 0.0)
    for packet in stack.packets_to_send(0.0, 1 << 20):
        peer.receive_packet(packet, 0.0)
    replies = peer.packets_to_send(0.0, 1 << 20)
    assert len(replies) > 5
    for packet in replies:
        stack.receive_packet(packet, 0.1)
    assert request.replied


def test_requests_have_different_identifiers_and_only_go_to_hosts(stack: Stack) -> None:
    identifiers = {stack.send_echo(PEER, b"", 0.0).identifier for _ in range(100)}
    assert len(identifiers) == 100
    with pytest.raises(DeniedByRule):
        stack.send_echo(IPv4Address("224.0.0.1"), b"", 0.0)


def test_one_that_must_not_be_fragmented_says_so_and_fits_the_link(stack: Stack) -> None:
    stack.send_echo(PEER, bytes(1372), 0.0, dont_fragment=True)
    [packet] = stack.packets_to_send(0.0, 1 << 20)
    assert (len(packet), parse(packet).df) == (1400, 1)
    with pytest.raises(LocalProtocolError, match="larger than the MTU of 1400"):
        stack.send_echo(PEER, bytes(1373), 0.0, dont_fragment=True)


def test_one_larger_than_the_link_is_fragmented_otherwise(stack: Stack) -> None:
    stack.send_echo(PEER, bytes(1373), 0.0)
    packets = stack.packets_to_send(0.0, 1 << 20)
    assert [parse(packet).df for packet in packets] == [0, 0]
