"""Passive open: RFC 9293 section 3.10.7.2 and a bounded backlog."""

from __future__ import annotations

from ipaddress import IPv4Address

import dpkt

from sstpsocks.net.tcp.builder import PacketBuilder
from sstpsocks.net.tcp.listener import TcpListener
from sstpsocks.net.tcp.segment import ACK, FIN, PSH, RST, SYN, syn_options
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.tcp_host import TcpTestHost

CLIENT = IPv4Address("10.0.0.9")


class Clients:
    """Many clients of one listener, each by its port."""

    def __init__(self, backlog: int = 128) -> None:
        self.host = TcpTestHost("10.0.0.1")
        self.listener: TcpListener = self.host.listen(80, backlog)
        self.now = 5.0

    def send(self, port: int, flags: int, seq: int, ack: int = 0, payload: bytes = b"") -> None:
        builder = PacketBuilder(CLIENT.packed, port, self.host.address.packed, 80)
        options = syn_options(1000, 2) if flags & SYN else b""
        self.host.receive_packet(builder.build(seq, ack, flags, 30_000, payload, options), self.now)

    def take(self) -> list[dpkt.tcp.TCP]:
        return [dpkt.ip.IP(packet).data for packet in self.host.packets_to_send(self.now)]

    def connect(self, port: int) -> int:
        """Complete a handshake and return our ISS."""
        self.send(port, SYN, 100)
        [answer] = self.take()
        self.send(port, ACK, 101, answer.seq + 1 & 0xFFFFFFFF)
        return int(answer.seq)


def test_a_connection_is_accepted_when_its_handshake_is_complete() -> None:
    clients = Clients()
    clients.send(4000, SYN, 100)
    assert clients.listener.accept() is None
    [answer] = clients.take()
    assert answer.flags == SYN | ACK
    assert answer.ack == 101
    assert dict(dpkt.tcp.parse_opts(answer.opts))[2] == (1360).to_bytes(2, "big")
    clients.send(4000, ACK | PSH, 101, (answer.seq + 1) & 0xFFFFFFFF, b"GET /")
    assert clients.listener in clients.host.dirty
    connection = clients.listener.accept()
    assert connection is not None
    assert connection.state is TcpState.ESTABLISHED
    assert connection.remote == (CLIENT, 4000)
    assert connection.snd_wind_shift == 2
    assert connection.snd_wnd == 30_000 << 2
    assert b"".join(connection.pieces()) == b"GET /"
    assert clients.listener.accept() is None
    assert clients.host.counters.tcp_passive_opens == 1


def test_window_scale_is_not_offered_to_who_did_not() -> None:
    clients = Clients()
    builder = PacketBuilder(CLIENT.packed, 4000, clients.host.address.packed, 80)
    clients.host.receive_packet(builder.build(1, 0, SYN, 1000), clients.now)
    [answer] = clients.take()
    assert 3 not in dict(dpkt.tcp.parse_opts(answer.opts))


def test_connections_are_accepted_in_order() -> None:
    clients = Clients()
    for port in (4002, 4000, 4001):
        clients.connect(port)
    accepted = [clients.listener.accept() for _ in range(3)]
    assert [connection.remote[1] for connection in accepted if connection] == [4002, 4000, 4001]


def test_ack_in_listen_gets_a_reset_and_the_rest_nothing() -> None:
    clients = Clients()
    clients.send(4000, ACK, 100, 777)
    [answer] = clients.take()
    assert (answer.flags, answer.seq) == (RST, 777)
    clients.send(4000, RST, 100)
    clients.send(4000, FIN, 100)
    clients.send(4000, 0, 100, payload=b"data")
    assert clients.take() == []
    assert not clients.host.flows


def test_a_full_backlog_drops_syns_until_there_is_room() -> None:
    clients = Clients(backlog=2)
    clients.connect(4000)
    clients.connect(4001)
    clients.send(4002, SYN, 100)
    assert clients.take() == []
    assert clients.host.counters.tcp_listen_drops == 1
    assert clients.listener.accept() is not None
    clients.send(4002, SYN, 100)
    [answer] = clients.take()
    assert answer.flags == SYN | ACK


def test_a_reset_in_syn_received_returns_to_listen() -> None:
    clients = Clients(backlog=1)
    clients.send(4000, SYN, 100)
    clients.take()
    clients.send(4000, RST, 101)
    assert not clients.host.flows
    assert clients.listener.accept() is None
    clients.connect(4001)
    assert clients.listener.accept() is not None


def test_a_connection_that_dies_before_accept_is_not_handed_out() -> None:
    clients = Clients(backlog=1)
    clients.connect(4000)
    clients.send(4000, RST, 101)
    assert clients.listener.accept() is None
    clients.connect(4001)
    assert clients.listener.accept() is not None


def test_a_handshake_that_is_never_completed_is_given_up() -> None:
    clients = Clients(backlog=1)
    clients.send(4000, SYN, 100)
    for _ in range(100):
        clients.take()
        clients.now += 1
        clients.host.handle_timer(clients.now)
    assert not clients.host.flows
    clients.connect(4001)
    assert clients.listener.accept() is not None


def test_close_resets_what_nobody_accepted() -> None:
    clients = Clients()
    clients.connect(4000)
    kept = clients.listener.accept()
    assert kept is not None
    clients.connect(4001)
    clients.send(4002, SYN, 100)
    clients.take()
    clients.listener.close(clients.now)
    assert sorted((answer.dport, answer.flags) for answer in clients.take()) == [(4001, RST | ACK), (4002, RST | ACK)]
    assert kept.state is TcpState.ESTABLISHED
    assert clients.listener.accept() is None
    clients.send(4003, SYN, 100)
    assert clients.take() == []
