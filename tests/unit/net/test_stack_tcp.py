"""What the stack does for TCP: ports, demultiplexing, ICMP errors, resets, output and timers of many connections."""

from __future__ import annotations

import struct
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
    TooManyConnections,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.ip_packets import OTHER, OURS, PEER, icmp_packet, parse, tcp_packet

BUDGET = 1 << 20
SYN, RST, ACK = 2, 4, 16


def make_stack(address: IPv4Address = OURS, config: StackConfig | None = None, seed: int = 3) -> Stack:
    return Stack(address, mtu=1400, entropy=SeededEntropy(seed), config=config)


def exchange(first: Stack, second: Stack, now: float) -> None:
    """Carry packets between two stacks until both are quiet."""
    for _ in range(100):
        moved = False
        for source, destination in ((first, second), (second, first)):
            for packet in source.packets_to_send(now, BUDGET):
                parse(packet)
                destination.receive_packet(packet, now)
                moved = True
        if not moved:
            return
    raise AssertionError("the stacks never fell quiet")


def pair() -> tuple[Stack, Stack, TcpConnection, TcpConnection]:
    """Two stacks with one connection between them."""
    client, server = make_stack(), make_stack(PEER, seed=4)
    listener = server.listen_tcp(80)
    near = client.connect_tcp(PEER, 80, 0.0)
    exchange(client, server, 0.0)
    far = listener.accept()
    assert far is not None
    client.take_dirty()
    server.take_dirty()
    return client, server, near, far


def test_a_connection_opens_sends_and_is_forgotten_when_closed() -> None:
    client, server, near, far = pair()
    assert near.established
    assert far.remote == near.local
    near.send(b"question", 1.0)
    exchange(client, server, 1.0)
    assert server.take_dirty() == [far]
    assert b"".join(far.pieces()) == b"question"
    far.consume(8, 1.0)
    near.shutdown(1.0)
    far.shutdown(1.0)
    exchange(client, server, 1.0)
    assert near.fin_received
    for now in range(2, 200):
        client.handle_timer(float(now))
        server.handle_timer(float(now))
        exchange(client, server, float(now))
    assert client.connections == {}
    assert server.connections == {}
    assert client.poll_at() is None
    assert server.poll_at() is None
    assert client.counters.tcp_active_opens == 1
    assert server.counters.tcp_passive_opens == 1


def test_the_local_port_is_hard_to_guess_and_never_one_that_is_taken() -> None:
    stack = make_stack()
    ports = {stack.connect_tcp(PEER, 80 + number, 0.0).local[1] for number in range(200)}
    assert len(ports) > 190
    assert max(ports) - min(ports) > 30_000


def test_wrong_targets_are_refused_before_anything_is_sent() -> None:
    stack = make_stack()
    for address in ("255.255.255.255", "224.0.0.1", "127.0.0.1", str(OURS)):
        with pytest.raises(DeniedByRule):
            stack.connect_tcp(IPv4Address(address), 80, 0.0)
    for port in (0, -1, 65536):
        with pytest.raises(LocalProtocolError):
            stack.connect_tcp(PEER, port, 0.0)
    assert not stack.has_output()
    assert stack.connections == {}


def test_the_number_of_connections_is_bounded() -> None:
    stack = make_stack(config=StackConfig(max_connections=3))
    for _ in range(3):
        connection = stack.connect_tcp(PEER, 80, 0.0)
    with pytest.raises(TooManyConnections):
        stack.connect_tcp(PEER, 80, 0.0)
    connection.abort(0.0)
    stack.connect_tcp(PEER, 80, 0.0)


def test_connections_in_time_wait_make_room_for_new_ones() -> None:
    config = StackConfig(max_connections=8)
    near, far = make_stack(config=config), make_stack(PEER, config=StackConfig())
    listener = far.listen_tcp(80)
    now = 0.0

    def exchange() -> None:
        for _ in range(6):
            for here, there in ((near, far), (far, near)):
                for packet in here.packets_to_send(now, BUDGET):
                    there.receive_packet(packet, now)

    for _ in range(40):
        now += 0.05
        connection = near.connect_tcp(PEER, 80, now)
        exchange()
        connection.detach(now)
        exchange()
        peer = listener.accept()
        assert peer is not None
        peer.detach(now)
        exchange()
        assert connection.state in (TcpState.TIME_WAIT, TcpState.CLOSED)
    assert len(near.connections) <= 8
    # Established ones are not ended for anybody.
    for _ in range(20):
        now += 0.2
        if len(near.connections) == 8 and all(c.state is TcpState.ESTABLISHED for c in near.connections.values()):
            break
        near.connect_tcp(PEER, 80, now)
        exchange()
    with pytest.raises(TooManyConnections):
        near.connect_tcp(PEER, 80, now + 1)
    assert all(connection.established for connection in near.connections.values())


def test_a_port_can_be_listened_on_once_until_the_listener_closes() -> None:
    stack = make_stack()
    listener = stack.listen_tcp(80)
    with pytest.raises(LocalProtocolError, match="in use"):
        stack.listen_tcp(80)
    with pytest.raises(LocalProtocolError, match="no TCP port"):
        stack.listen_tcp(65536)
    assert stack.listen_tcp(0).port != 0
    listener.close()
    stack.receive_packet(tcp_packet(4000, 80, flags=SYN), 0.0)
    [reset] = stack.packets_to_send(0.0, BUDGET)
    assert parse(reset).tcp.flags == RST | ACK
    stack.listen_tcp(80)


def test_a_reset_from_the_other_stack_refuses_the_connection() -> None:
    client, server = make_stack(), make_stack(PEER)
    connection = client.connect_tcp(PEER, 81, 0.0)
    exchange(client, server, 0.0)
    assert client.take_dirty() == [connection]
    assert isinstance(connection.error, ConnectionRefused)
    assert client.connections == {}


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [(3, 0, NetworkUnreachable), (3, 1, HostUnreachable), (3, 3, ConnectionRefused), (3, 13, HostUnreachable)],
)
def test_an_icmp_error_about_our_syn_fails_the_connection(kind: int, code: int, error: type[Exception]) -> None:
    stack = make_stack()
    connection = stack.connect_tcp(PEER, 80, 0.0)
    [syn] = stack.packets_to_send(0.0, BUDGET)
    stack.receive_packet(icmp_packet(kind, code, bytes(4), syn[:28], source=OTHER), 0.1)
    assert stack.take_dirty() == [connection]
    assert type(connection.error) is error
    assert stack.connections == {}
    assert stack.poll_at() is None


def test_an_icmp_error_with_another_sequence_number_or_port_changes_nothing() -> None:
    """RFC 5927: the quote must be of something in flight."""
    stack = make_stack()
    connection = stack.connect_tcp(PEER, 80, 0.0)
    [syn] = stack.packets_to_send(0.0, BUDGET)
    wrong_sequence = syn[:24] + struct.pack("!I", (connection.iss + 5000) & 0xFFFFFFFF)
    wrong_port = syn[:20] + struct.pack("!H", connection.local[1] ^ 1) + syn[22:28]
    wrong_source = syn[:12] + OTHER.packed + syn[16:28]
    for quote in (wrong_sequence, wrong_port, wrong_source):
        stack.receive_packet(icmp_packet(3, 1, bytes(4), quote), 0.1)
    assert connection.error is None
    assert connection.state is TcpState.SYN_SENT
    assert stack.counters.icmp_in_unmatched == 3


def test_icmp_errors_do_not_end_an_established_connection() -> None:
    """RFC 5461: they are soft there."""
    client, _, near, _ = pair()
    near.send(b"data", 1.0)
    [segment] = client.packets_to_send(1.0, BUDGET)
    for code in (0, 1, 2, 3, 13):
        client.receive_packet(icmp_packet(3, code, bytes(4), segment[:28]), 1.1)
    assert near.error is None
    assert near.state is TcpState.ESTABLISHED


def test_fragmentation_needed_makes_the_segments_smaller() -> None:
    client, server, near, far = pair()
    near.send(bytes(20_000), 1.0)
    packets = client.packets_to_send(1.0, BUDGET)
    assert max(map(len, packets)) == 1400
    report = icmp_packet(3, 4, struct.pack("!HH", 0, 1000), packets[0][:28], source=OTHER)
    client.receive_packet(report, 1.1)
    again = client.packets_to_send(1.1, BUDGET)
    assert again
    assert max(map(len, again)) <= 1000
    for packet in again:
        server.receive_packet(packet, 1.2)
    exchange(client, server, 1.2)
    assert far.readable == 20_000


def test_when_the_tunnel_ends_every_connection_learns_why_and_nothing_is_sent() -> None:
    client, _, near, _ = pair()
    opening = client.connect_tcp(OTHER, 80, 1.0)
    near.send(b"never sent", 1.0)
    listener = client.listen_tcp(8080)
    error = ConnectionLost("the tunnel went away")
    client.abort_all(error, 2.0)
    dirty = client.take_dirty()
    assert near in dirty
    assert opening in dirty
    assert near.error is error
    assert opening.error is error
    assert client.connections == {}
    assert not client.has_output()
    assert client.packets_to_send(2.0, BUDGET) == []
    assert client.poll_at() is None
    assert listener.accept() is None


def test_a_request_passes_two_uploads() -> None:
    client, server = make_stack(), make_stack(PEER, seed=4)
    server.listen_tcp(80)
    uploads = [client.connect_tcp(PEER, 80, 0.0) for _ in range(2)]
    exchange(client, server, 0.0)
    for upload in uploads:
        upload.send(bytes(200_000), 1.0)
    client.packets_to_send(1.0, 3000)
    request = client.connect_tcp(PEER, 80, 1.0)
    first = parse(client.packets_to_send(1.0, 3000)[0])
    assert first.tcp.sport == request.local[1]
    assert first.tcp.flags == SYN


def test_ten_thousand_idle_connections_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = make_stack()
    for number in range(10_000):
        stack.connect_tcp(IPv4Address("10.20.0.1") + number, 80, 0.0)
    assert len(stack.packets_to_send(0.0, BUDGET)) == 10_000
    looked_at: list[object] = []

    def count(self: TcpConnection, *arguments: object) -> bool:
        looked_at.append(self)
        return False

    monkeypatch.setattr(TcpConnection, "has_output", count)
    monkeypatch.setattr(TcpConnection, "handle_timer", count)
    for step in range(50):
        now = 0.001 * step
        stack.receive_packet(tcp_packet(5, 6, flags=ACK, ack=1), now)
        stack.handle_timer(now)
        assert len(stack.packets_to_send(now, BUDGET)) == 1
        assert stack.poll_at() is not None
    assert looked_at == []
