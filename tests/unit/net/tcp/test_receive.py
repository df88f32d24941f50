"""Receiving: RFC 9293 section 3.10.7.4, RFC 5961, RFC 5681 section 4.2, the offered window."""

from __future__ import annotations

import itertools

import pytest

from sstpsocks.errors import ConnectionLost, LocalProtocolError
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.segment import syn_options
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.tcp_peer import MSS, Peer, established, synchronized_states

SMALL = TcpConfig(receive_buffer_initial=4000, receive_buffer_maximum=4000)


def test_data_in_order_is_readable_and_acknowledged_every_second_segment() -> None:
    peer = established(TcpConfig(quick_acks=0))
    peer.send(".", 1, 1, b"one")
    peer.expect_nothing()
    assert peer.connection in peer.host.dirty
    peer.send("P.", 4, 1, b"two")
    peer.expect(".", 1, 7)
    assert b"".join(peer.connection.pieces()) == b"onetwo"
    assert peer.connection.readable == 6


def test_a_single_segment_is_acknowledged_after_40_ms() -> None:
    peer = established(TcpConfig(quick_acks=0))
    peer.send(".", 1, 1, b"one")
    assert peer.wait_and_expect(1, ".", 1, 4) == pytest.approx(0.04)
    peer.wait(100)
    peer.expect_nothing()


def test_the_first_sixteen_acknowledgements_are_not_delayed() -> None:
    peer = established()
    at_once = 0
    for number in range(40):
        peer.send(".", 1 + number, 1, b"x")
        sent = peer.take()
        if not sent:
            break
        at_once += 1
        peer.wait(0.001)
    assert at_once == 16
    peer.wait(0.1)
    assert [sent.ack for sent in peer.take()] == [18]


def test_a_batch_takes_one_of_the_quick_acknowledgements() -> None:
    peer = established(TcpConfig(quick_acks=2))
    peer.host.receive_packet(peer.packet(".", 1, 1, b"x"), peer.now)
    peer.host.receive_packet(peer.packet(".", 2, 1, b"x"), peer.now)
    peer.host.receive_packet(peer.packet(".", 3, 1, b"x"), peer.now)
    peer.expect(".", 1, 4)
    peer.wait(0.001)
    peer.send(".", 4, 1, b"x")
    peer.expect(".", 1, 5)
    peer.wait(0.001)
    peer.send(".", 5, 1, b"x")
    peer.expect_nothing()


def test_a_pause_brings_the_quick_acknowledgements_back() -> None:
    """Also where steady bulk had made ACKs rare."""
    peer = established(TcpConfig(receive_buffer_initial=1 << 20, quick_acks=1))
    for number in range(100):
        peer.send(".", 1 + 100 * number, 1, bytes(100))
    peer.take()
    peer.wait(10)
    peer.take()
    peer.send(".", 1 + 100 * 100, 1, bytes(100))
    peer.expect(".", 1, 1 + 100 * 101)
    peer.send(".", 1 + 100 * 101, 1, bytes(200))
    peer.expect_nothing()
    peer.send(".", 3 + 100 * 103 - 2, 1, bytes(100))
    peer.expect(".", 1, 1 + 100 * 104)


def test_a_program_that_answers_gets_the_acknowledgement_on_its_answer() -> None:
    peer = established()
    position = 1
    for number in range(5):
        peer.wait(1)
        peer.send("P.", 1 + 4 * number, position, b"ping")
        if not number:
            peer.expect(".", position, 5)
        else:
            peer.expect_nothing()
        peer.wait(0.005)
        peer.connection.send(b"pong", peer.now)
        peer.expect("P.", position, 5 + 4 * number, b"pong")
        position += 4


def test_data_of_ours_carries_the_acknowledgement() -> None:
    peer = established()
    peer.send(".", 1, 1, b"ping")
    peer.connection.send(b"pong", peer.now)
    peer.expect("P.", 1, 5, b"pong")
    peer.send(".", 5, 5)
    peer.wait(10)
    peer.expect_nothing()


def test_steady_bulk_is_acknowledged_every_eighth_segment_until_something_is_missing() -> None:
    peer = established(TcpConfig(receive_buffer_initial=1 << 20, quick_acks=0))
    acks = []
    for number in range(200):
        peer.send(".", 1 + 100 * number, 1, bytes(100))
        acks += [(number, sent.ack) for sent in peer.take()]
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(acks)]
    assert gaps[0] == 2
    assert gaps[-1] == 8
    peer.send(".", 1 + 100 * 201, 1, bytes(100))
    assert [sent.ack for sent in peer.take()] == [1 + 100 * 200]
    peer.send(".", 1 + 100 * 200, 1, bytes(100))
    peer.expect(".", 1, 1 + 100 * 202)
    peer.send(".", 1 + 100 * 202, 1, bytes(100))
    peer.send(".", 1 + 100 * 203, 1, bytes(100))
    peer.expect(".", 1, 1 + 100 * 204)


@pytest.mark.parametrize(("in_a_round_trip", "segments"), [(20, 2), (200, 8)])
def test_on_a_long_path_a_small_flight_is_acknowledged_every_second_segment(
    in_a_round_trip: int, segments: int
) -> None:
    peer = established(TcpConfig(receive_buffer_initial=0xFFFF, receive_buffer_maximum=0xFFFF, quick_acks=0))
    peer.connection.rtt.measured(0.1)
    peer.connection.rtt.smallest = 0.1
    size = peer.connection.snd_mss
    acks = []
    for number in range(8 * in_a_round_trip):
        peer.now += 0.1 / in_a_round_trip
        peer.send(".", 1 + size * number, 1, bytes(size))
        peer.read()
        acks += [number for _ in peer.take()]
    assert acks[-1] - acks[-2] == segments


def test_out_of_order_data_is_held_and_every_such_segment_acknowledged() -> None:
    """RFC 5681 section 4.2."""
    peer = established()
    peer.send(".", 7, 1, b"three")
    peer.expect(".", 1, 1)
    peer.send(".", 4, 1, b"two")
    peer.expect(".", 1, 1)
    assert peer.connection.readable == 0
    peer.send(".", 1, 1, b"one")
    peer.expect(".", 1, 12)
    assert peer.read() == b"onetwothree"


def test_overlapping_segments_give_each_octet_once() -> None:
    peer = established()
    peer.send(".", 4, 1, b"DEF")
    peer.send(".", 6, 1, b"FGH")
    peer.send(".", 2, 1, b"BCDEFGHI")
    peer.send(".", 1, 1, b"ABC")
    assert peer.read() == b"ABCDEFGHI"
    peer.send(".", 1, 1, b"ABCDEFGHIJ")
    assert peer.read() == b"J"
    assert [sent.ack for sent in peer.take()] == [11]


def test_an_old_duplicate_is_acknowledged_and_changes_nothing() -> None:
    peer = established()
    peer.send(".", 1, 1, b"data")
    peer.read()
    peer.take()
    peer.send(".", 1, 1, b"data")
    peer.expect(".", 1, 5)
    assert peer.connection.readable == 0


def test_what_repeats_the_last_octets_may_acknowledge_news() -> None:
    peer = established()
    peer.send(".", 1, 1, b"data")
    peer.connection.send(b"question", peer.now)
    peer.read()
    peer.take()
    peer.send(".", 1, 9, b"data")  # the data again; our question arrived before our acknowledgement
    peer.expect(".", 9, 5)
    assert peer.connection.flight_size == 0
    assert peer.connection.readable == 0


def test_what_repeats_older_octets_acknowledges_nothing() -> None:
    peer = established()
    peer.send(".", 1, 1, b"data")
    peer.send(".", 5, 1, b"more")
    peer.connection.send(b"question", peer.now)
    peer.read()
    peer.take()
    peer.send(".", 1, 9, b"data")
    assert peer.connection.flight_size == len(b"question")


@pytest.mark.parametrize("acknowledged", [0, 1, 10, 1 << 31])
def test_what_repeats_the_last_octets_is_no_duplicate_acknowledgement_and_no_wrong_one(acknowledged: int) -> None:
    peer = established()
    peer.send(".", 1, 1, b"data")
    peer.connection.send(b"question", peer.now)
    peer.read()
    peer.take()
    for _ in range(5):
        peer.send(".", 1, acknowledged, b"data")
    assert peer.connection.dupacks == 0
    assert peer.connection.flight_size == len(b"question")
    assert peer.connection.state is TcpState.ESTABLISHED


def test_a_segment_is_trimmed_to_the_window() -> None:
    peer = established(SMALL)
    peer.send("F.", 1, 1, bytes(5000))
    assert peer.connection.readable == 4000
    assert not peer.connection.fin_received
    sent = peer.expect(".", 1, 4001)
    assert sent.window == 0


def test_what_lies_outside_the_window_is_acknowledged_only() -> None:
    peer = established(SMALL)
    for seq in (4001, 100_000, 0x7FFFFF00):
        peer.send(".", seq, 1, b"x")
        peer.expect(".", 1, 1)
    assert not peer.connection.reassembly


def test_the_number_of_held_pieces_is_bounded() -> None:
    peer = established(TcpConfig(maximum_held_segments=10))
    for number in range(50):
        peer.send(".", 10 + 2 * number, 1, b"x")
    assert len(peer.connection.reassembly) == 10
    peer.send(".", 1, 1, bytes(200))
    assert peer.connection.readable == 200


def test_held_pieces_do_not_keep_the_chunk_they_came_in() -> None:
    peer = established()
    for number in range(100):
        peer.send(".", 1 + number, 1, b"x")
    assert len(peer.connection.rcv_pieces) < 30
    assert peer.connection.readable == 100
    peer.connection.consume(70, peer.now)
    assert peer.connection.readable == 30
    assert peer.read() == b"x" * 30


def test_consume_frees_any_number_of_octets() -> None:
    peer = established()
    for seq, data in ((1, b"abc"), (4, b"de"), (6, b"fghij")):
        peer.send(".", seq, 1, data)
    peer.connection.consume(4, peer.now)
    assert b"".join(peer.connection.pieces()) == b"efghij"
    peer.connection.consume(0, peer.now)
    peer.connection.consume(1, peer.now)
    assert [bytes(piece) for piece in peer.connection.pieces()] == [b"fghij"]
    for wrong in (-1, 6):
        with pytest.raises(LocalProtocolError):
            peer.connection.consume(wrong, peer.now)


def test_segments_without_ack_are_dropped() -> None:
    peer = established()
    peer.send("", 1, 0, b"data")
    peer.send("F", 1)
    peer.expect_nothing()
    assert peer.connection.readable == 0
    peer.expect_state(TcpState.ESTABLISHED)


def test_urgent_data_is_read_in_line() -> None:
    peer = established()
    peer.send("PU.", 1, 1, b"!urgent")
    assert peer.read() == b"!urgent"


# RFC 5961


@pytest.mark.parametrize("state", list(synchronized_states()))
def test_reset_with_the_exact_sequence_number_resets(state: str) -> None:
    peer = synchronized_states()[state]
    exact = 2 if state in ("CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT") else 1
    peer.send("R", exact)
    peer.expect_state(TcpState.CLOSED)
    assert not peer.host.flows
    assert peer.host.poll_at() is None
    if state in ("CLOSING", "LAST-ACK", "TIME-WAIT"):
        peer.expect_no_error()
    else:
        assert isinstance(peer.connection.error, ConnectionLost)
    peer.expect_nothing()


@pytest.mark.parametrize("state", list(synchronized_states()))
def test_reset_elsewhere_in_the_window_is_challenged(state: str) -> None:
    peer = synchronized_states()[state]
    before = peer.connection.state
    peer.send("R", 100)
    sent = peer.take()
    assert [(seen.flags, seen.payload) for seen in sent] == [(".", b"")]
    assert peer.connection.state is before


def test_reset_outside_the_window_is_ignored() -> None:
    peer = established()
    peer.send("R", 0x40000000)
    peer.send("R", 0)
    peer.expect_nothing()
    peer.expect_state(TcpState.ESTABLISHED)


@pytest.mark.parametrize("state", list(synchronized_states()))
@pytest.mark.parametrize("seq", [0, 2, 50, 0x40000000])
def test_syn_in_a_synchronized_state_is_challenged(state: str, seq: int) -> None:
    peer = synchronized_states()[state]
    before = peer.connection.state
    peer.send("S", seq)
    assert [sent.flags for sent in peer.take()] == ["."]
    assert peer.connection.state is before


def test_acknowledgement_of_what_was_never_sent_is_challenged_and_the_data_dropped() -> None:
    peer = established()
    for ack in (2, 100_000, 0x80000000):
        peer.send(".", 1, ack, b"forged")
        peer.expect(".", 1, 1)
    assert peer.connection.readable == 0
    # But one that is merely old comes with good data.
    peer.connection.send(b"12345", peer.now)
    peer.take()
    peer.send(".", 1, 6)
    peer.send(".", 1, 3, b"good")
    assert peer.read() == b"good"


def test_challenge_acks_are_limited_to_ten_in_five_seconds() -> None:
    peer = established()
    sent = 0
    for _ in range(100):
        peer.send("S", 1)
        sent += len(peer.take())
    assert sent == 10
    peer.wait(5)
    peer.send("S", 1)
    peer.expect(".", 1, 1)


def test_two_confused_ends_do_not_acknowledge_each_other_for_ever() -> None:
    peer = established()
    sent = 0
    for _ in range(100):
        peer.send(".", 0x40000000, 1)
        sent += len(peer.take())
    assert sent == 10


# The offered window


def test_a_full_buffer_closes_the_window_and_reading_opens_it() -> None:
    peer = established(SMALL)
    for number in range(4):
        peer.send(".", 1 + 1000 * number, 1, bytes(1000))
    assert [sent.window for sent in peer.take()] == [0]
    # RFC 9293 section 3.8.6.2.2: no silly windows.
    peer.connection.consume(900, peer.now)
    peer.expect_nothing()
    peer.connection.consume(1100, peer.now)
    assert peer.expect(".", 1, 4001).window == 2000


def test_a_window_probe_is_answered_and_its_octet_refused() -> None:
    peer = established(SMALL)
    peer.send(".", 1, 1, bytes(4000))
    peer.take()
    for _ in range(30):
        peer.send(".", 4001, 1, b"p")
        assert peer.expect(".", 1, 4001).window == 0
    assert peer.connection.readable == 4000


def test_a_closed_window_still_takes_acknowledgements_and_resets() -> None:
    peer = established(SMALL)
    peer.send(".", 1, 1, bytes(4000))
    peer.connection.send(b"out", peer.now)
    peer.take()
    peer.send(".", 4001, 4, b"p")
    assert peer.connection.unsent_and_unacknowledged == 0
    peer.send("R", 4001)
    peer.expect_state(TcpState.CLOSED)


def test_the_right_edge_never_moves_left() -> None:
    peer = established(TcpConfig(receive_buffer_initial=100_000), wind_shift=0)
    edge = 0
    position = 1
    for size in (1, 127, 128, 129, 1000, 3, 5, 50_001, 1):
        peer.send(".", position, 1, bytes(size))
        position += size
        peer.connection.ack_now = True
        peer.connection.host.mark_output(peer.connection)
        sent = peer.take()[-1]
        assert sent.ack + (sent.window << 7) >= edge
        edge = sent.ack + (sent.window << 7)
        assert edge <= 1 + 100_000 + 128 * 33


def test_single_octets_do_not_push_the_right_edge_without_end() -> None:
    peer = established(TcpConfig(receive_buffer_initial=100_000), wind_shift=0)
    for position in range(1, 2000):
        peer.send(".", position, 1, b"x")
        peer.send(".", position, 1, b"x")
        peer.take()
    edge = (peer.connection.rcv_adv - peer.connection.irs) & 0xFFFFFFFF
    assert edge <= 1 + 100_000 + 128 * 33


def fast_reader(peer: Peer, rounds: int) -> int:
    """Each 200 ms, twice the round-trip time, the peer fills the window and everything is read. Return what is next."""
    position = 1
    for _ in range(rounds):
        connection = peer.connection
        room = (connection.rcv_adv - connection.rcv_nxt) & 0xFFFFFFFF
        while room:
            size = min(room, 50_000)
            peer.send(".", position, 1, bytes(size))
            position += size
            room -= size
        peer.now += 0.2
        peer.read()
        peer.take()
    return position


def test_the_buffer_of_a_fast_reader_grows_to_its_maximum() -> None:
    peer = established(TcpConfig(), wind_shift=0)
    fast_reader(peer, 12)
    assert peer.connection.rcv_capacity == 16 * 1024 * 1024
    assert (peer.connection.rcv_adv - peer.connection.rcv_nxt) & 0xFFFFFFFF >= 16 * 1024 * 1024 - 256


def test_the_buffer_of_an_idle_connection_shrinks_back() -> None:
    peer = established(TcpConfig(), wind_shift=0)
    position = fast_reader(peer, 12)
    assert peer.connection.rcv_capacity == 16 * 1024 * 1024
    peer.now += 60
    peer.send(".", position, 1, b"late")
    peer.read()
    assert peer.connection.rcv_capacity == 256 * 1024


def test_the_buffer_of_a_slow_reader_stays() -> None:
    peer = established(TcpConfig(), wind_shift=0)
    position = 1
    for _ in range(50):
        peer.send(".", position, 1, bytes(20_000))
        position += 20_000
        peer.now += 0.2
        peer.read()
    assert peer.connection.rcv_capacity == 256 * 1024


def test_without_window_scaling_the_window_is_at_most_65535() -> None:
    peer = established(wind_shift=None)
    peer.send(".", 1, 1, bytes(1000))
    peer.send(".", 1001, 1, bytes(1000))
    assert peer.expect(".", 1, 2001).window == 65535


# Malformed input


def test_segments_with_impossible_lengths_are_counted_and_dropped() -> None:
    peer = established()
    packet = bytearray(peer.packet(".", 1, 1, b"data"))
    for offset in (0x00, 0x40, 0x70, 0xF0):
        packet[32] = offset
        peer.connection.receive_segment(bytes(packet), 20, len(packet), peer.now)
    peer.connection.receive_segment(bytes(packet), 20, 39, peer.now)
    assert peer.host.counters.tcp_in_errs == 5
    assert peer.connection.readable == 0


def test_options_on_data_segments_are_skipped() -> None:
    peer = established()
    timestamps = bytes((1, 1, 8, 10)) + bytes(8)
    peer.send(".", 1, 1, b"data", options=timestamps)
    peer.send(".", 5, 1, b"more", options=syn_options(100, 5))
    assert peer.read() == b"datamore"
    assert peer.connection.snd_mss == MSS
