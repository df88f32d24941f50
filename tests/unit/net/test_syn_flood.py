"""Listeners under a flood of SYNs, and new connections where old ones are in TIME-WAIT (RFC 6191)."""

from __future__ import annotations

from ipaddress import IPv4Address

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.builder import PacketBuilder
from sstpsocks.net.tcp.segment import ACK, FIN, RST, SYN, Segment, parse_segment, syn_options
from sstpsocks.net.tcp.tcb import TcpState

OURS = IPv4Address("10.9.0.1")
PEER = IPv4Address("10.9.0.2")


class Net:
    """A stack that listens on port 80, and peers of any address."""

    def __init__(self, backlog: int = 16) -> None:
        self.stack = Stack(OURS, mtu=1400, entropy=SeededEntropy("listener"))
        self.listener = self.stack.listen_tcp(80, backlog=backlog)
        self.now = 10.0

    def send(
        self,
        flags: int,
        seq: int,
        ack: int = 0,
        *,
        source: IPv4Address = PEER,
        port: int = 4000,
        tsval: int | None = None,
    ) -> list[Segment]:
        """Have a segment arrive and return what is answered."""
        builder = PacketBuilder(source.packed, port, OURS.packed, 80)
        stamps = None if tsval is None else (tsval, 0)
        if flags & SYN:
            packet = builder.build(seq, 0, flags, 60_000, options=syn_options(1000, None, timestamps=stamps))
        elif tsval is not None:
            packet = builder.build_with_timestamps(seq, ack, flags, 60_000, tsval, 0)
        else:
            packet = builder.build(seq, ack, flags, 60_000)
        self.stack.receive_packet(packet, self.now)
        answers = [parse_segment(packet, 20, len(packet)) for packet in self.stack.packets_to_send(self.now, 1 << 20)]
        return [answer for answer in answers if answer is not None]

    def to_time_wait(self, *, tsval: int | None = None) -> None:
        """Accept a connection that we close first, to its end."""
        [answer] = self.send(SYN, 100, tsval=tsval)
        self.send(ACK, 101, answer.seq + 1, tsval=tsval)
        connection = self.listener.accept()
        assert connection is not None
        connection.shutdown(self.now)
        self.stack.packets_to_send(self.now, 1 << 20)
        self.send(FIN | ACK, 101, answer.seq + 2, tsval=tsval)
        assert connection.state is TcpState.TIME_WAIT


def test_a_flood_holds_no_more_than_the_backlog_and_honest_peers_come_through() -> None:
    net = Net(backlog=16)
    for number in range(5000):
        net.now += 0.001
        net.send(SYN, number, source=IPv4Address(0x0B000000 + number))
        assert len(net.stack.connections) <= 16 + 1 + number // 500
        if number % 500 == 250:
            [answer] = net.send(SYN, 7, port=5000 + number)
            assert answer.flags == SYN | ACK
            # Ten SYNs of the flood arrive in the honest peer's round-trip time.
            for extra in range(10):
                net.send(SYN, 1, source=IPv4Address(0x0C000000 + number + extra))
            net.send(ACK, 8, answer.seq + 1, port=5000 + number)
            assert net.listener.accept() is not None
    counters = net.stack.counters
    assert counters.tcp_half_open_drops > 4900
    assert net.stack.memory.flows <= 16 + 10


def test_connections_that_are_established_never_make_room() -> None:
    net = Net(backlog=4)
    for port in range(4000, 4004):
        [answer] = net.send(SYN, 100, port=port)
        net.send(ACK, 101, answer.seq + 1, port=port)
    assert net.send(SYN, 100, port=5000) == []
    assert net.stack.counters.tcp_listen_drops == 1
    assert all(net.listener.accept() is not None for _ in range(4))


def test_a_higher_sequence_number_begins_anew_in_time_wait() -> None:
    net = Net()
    net.to_time_wait()
    [answer] = net.send(SYN, 200)
    assert answer.flags == SYN | ACK
    net.send(ACK, 201, answer.seq + 1)
    assert net.listener.accept() is not None


def test_a_lower_sequence_number_is_an_old_duplicate() -> None:
    net = Net()
    net.to_time_wait()
    [answer] = net.send(SYN, 50)
    assert answer.flags == ACK


def test_a_higher_timestamp_decides_before_sequence_numbers_do() -> None:
    net = Net()
    net.to_time_wait(tsval=1000)
    [answer] = net.send(SYN, 50, tsval=1001)
    assert answer.flags == SYN | ACK


def test_an_older_timestamp_is_an_old_duplicate() -> None:
    net = Net()
    net.to_time_wait(tsval=1000)
    assert [answer.flags for answer in net.send(SYN, 200, tsval=999)] == [ACK]


def test_at_an_equal_timestamp_the_sequence_number_decides() -> None:
    for seq, flags in ((50, ACK), (200, SYN | ACK)):
        net = Net()
        net.to_time_wait(tsval=1000)
        assert [answer.flags for answer in net.send(SYN, seq, tsval=1000)] == [flags]


def test_without_a_listener_time_wait_stays() -> None:
    net = Net()
    net.to_time_wait()
    net.listener.close(net.now)
    assert [answer.flags for answer in net.send(SYN, 200)] == [ACK]


def test_other_segments_do_not_begin_anything() -> None:
    net = Net()
    net.to_time_wait()
    net.send(RST | SYN, 200)
    assert net.listener.accept() is None
