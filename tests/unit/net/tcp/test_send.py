"""Sending: cutting, windows, silly windows, window probes, the send buffer."""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost
from sstpsocks.net.tcp.config import TcpConfig
from tests.helpers.tcp_peer import MSS, established, fin_wait_1


def test_what_a_program_writes_goes_out_at_once() -> None:
    """The Nagle algorithm is off."""
    peer = established()
    for number, letter in enumerate(b"abc"):
        peer.connection.send(bytes((letter,)), peer.now)
        peer.expect("P.", 1 + number, 1, bytes((letter,)))


def test_data_is_cut_at_the_mss_and_pushed_at_the_end() -> None:
    peer = established()
    data = bytes(number & 0xFF for number in range(2500))
    peer.connection.send(data, peer.now)
    sent = peer.take()
    assert [(segment.flags, len(segment.payload)) for segment in sent] == [(".", MSS), (".", MSS), ("P.", 500)]
    assert b"".join(segment.payload for segment in sent) == data


def test_packets_are_built_only_as_far_as_asked_for() -> None:
    peer = established()
    peer.connection.send(bytes(8 * MSS), peer.now)
    assert peer.connection.next_packets(peer.now, 0) == []
    assert len(peer.connection.next_packets(peer.now, 1)) == 1
    assert len(peer.connection.next_packets(peer.now, 3000)) == 3
    assert peer.connection.has_output()
    assert len(peer.connection.next_packets(peer.now, 1 << 20)) == 4
    assert not peer.connection.has_output()


def test_the_first_flight_is_ten_segments() -> None:
    peer = established()
    peer.connection.send(bytes(30 * MSS), peer.now)
    assert len(peer.take()) == 10
    peer.send(".", 1, 1 + 10 * MSS)
    assert len(peer.take()) == 20


def test_the_peers_window_is_respected_and_its_updates_used() -> None:
    peer = established(window=2500)
    peer.connection.send(bytes(5000), peer.now)
    # 500 octets would fit, but that would be a silly window.
    assert [len(sent.payload) for sent in peer.take()] == [MSS, MSS]
    peer.send(".", 1, 1, window=3000)
    assert [len(sent.payload) for sent in peer.take()] == [MSS]
    peer.send(".", 1, 3001, window=5000)
    assert [len(sent.payload) for sent in peer.take()] == [MSS, MSS]


def test_half_of_the_largest_window_is_worth_sending() -> None:
    """RFC 9293 section 3.8.6.2.1, Fs = 1/2: peers with buffers below one segment."""
    peer = established(window=600)
    peer.connection.send(bytes(5000), peer.now)
    assert [len(sent.payload) for sent in peer.take()] == [600]
    peer.send(".", 1, 601, window=299)
    peer.expect_nothing()
    peer.send(".", 1, 601, window=300)
    assert [len(sent.payload) for sent in peer.take()] == [300]


def test_old_segments_do_not_change_the_window() -> None:
    """SND.WL1 and SND.WL2."""
    peer = established()
    peer.connection.send(b"1234", peer.now)
    peer.take()
    peer.send(".", 1, 5, b"abc", window=5000)
    assert peer.connection.snd_wnd == 5000
    peer.send(".", 1, 3, window=9000)
    assert peer.connection.snd_wnd == 5000
    peer.send(".", 4, 5, window=7000)
    assert peer.connection.snd_wnd == 7000


def test_a_closed_window_is_probed_with_one_octet_for_ever_while_answered() -> None:
    peer = established(window=0)
    peer.connection.send(b"waiting", peer.now)
    peer.expect_nothing()
    times = []
    for _ in range(200):
        times.append(peer.wait_and_expect(100, ".", 1, 1, b"w"))
        peer.send(".", 1, 1, window=0)
        peer.expect_nothing()
    assert times[:4] == pytest.approx([0.3, 0.6, 1.2, 2.4])
    assert max(times) == pytest.approx(60)
    assert sum(times) > 3 * 3600
    peer.send(".", 1, 1, window=1000)
    peer.expect("P.", 1, 1, b"waiting")


def test_a_probe_that_is_accepted_moves_on() -> None:
    peer = established(window=0)
    peer.connection.send(b"waiting", peer.now)
    peer.wait_and_expect(1, ".", 1, 1, b"w")
    peer.send(".", 1, 2, window=0)
    peer.wait_and_expect(1, ".", 2, 1, b"a")
    peer.send(".", 1, 3, window=1000)
    peer.expect("P.", 3, 1, b"iting")


def test_probes_that_nobody_answers_end_the_connection() -> None:
    peer = established(TcpConfig(user_timeout=100), window=0)
    peer.connection.send(b"waiting", peer.now)
    begin = peer.now
    while peer.connection.error is None:
        peer.wait(1)
        peer.take()
        assert peer.now < begin + 300
    assert peer.now - begin >= 100
    assert isinstance(peer.connection.error, ConnectionLost)


def test_probes_are_no_sign_of_congestion() -> None:
    peer = established(window=0)
    cwnd = peer.connection.congestion.cwnd
    peer.connection.send(b"waiting", peer.now)
    for _ in range(10):
        peer.wait(100)
        peer.take()
        for _ in range(4):
            peer.send(".", 1, 1, window=0)
    assert peer.connection.congestion.cwnd == cwnd
    assert not peer.connection.in_recovery
    assert peer.connection.rtt.rto == pytest.approx(0.3)


def test_a_window_too_small_to_be_worth_it_is_used_after_a_while() -> None:
    """RFC 9293 section 3.8.6.2.1: the override timeout."""
    peer = established()
    peer.connection.send(bytes(4000), peer.now)
    peer.take()
    peer.send(".", 1, 4001, window=10)
    peer.connection.send(bytes(100), peer.now)
    peer.expect_nothing()
    peer.wait_and_expect(1, ".", 4001, 1, bytes(10))


def test_a_window_that_shrinks_under_data_in_flight_is_survived() -> None:
    peer = established()
    peer.connection.send(bytes(5 * MSS), peer.now)
    peer.take()
    peer.send(".", 1, 1001, window=0)
    peer.wait(10)
    [probe] = peer.take()
    assert (probe.seq, len(probe.payload)) == (1001, 1)
    peer.send(".", 1, 1001, window=0)
    peer.wait(10)
    [probe] = peer.take()
    assert (probe.seq, len(probe.payload)) == (1001, 1)
    peer.send(".", 1, 1001, window=60_000)
    assert sum(len(sent.payload) for sent in peer.take()) == 4 * MSS


def test_a_fin_goes_into_a_closed_window() -> None:
    peer = established(window=0)
    peer.connection.shutdown(peer.now)
    peer.expect("F.", 1, 1)
    peer.wait_and_expect(1, "F.", 1, 1)


def test_the_send_buffer_is_bounded_and_tells_when_there_is_room() -> None:
    peer = established(TcpConfig(send_buffer_initial=10_000, send_buffer_maximum=10_000))
    peer.take()
    peer.host.dirty.clear()
    assert peer.connection.send_room() == 10_000
    assert peer.connection.send(bytes(8000), peer.now) == 8000
    assert peer.connection.send(memoryview(bytes(8000)), peer.now) == 2000
    assert peer.connection.send(b"x", peer.now) == 0
    assert peer.connection.unsent_and_unacknowledged == 10_000
    peer.take()
    peer.send(".", 1, 1001)
    assert peer.host.dirty == []
    peer.send(".", 1, 3001)
    assert peer.host.dirty == [peer.connection]
    assert peer.connection.send_room() == 3000


def test_a_write_that_fills_the_buffer_exactly_also_waits_for_room() -> None:
    peer = established(TcpConfig(send_buffer_initial=10_000, send_buffer_maximum=10_000))
    peer.connection.send(bytes(10_000), peer.now)
    peer.take()
    peer.host.dirty.clear()
    peer.send(".", 1, 5001)
    assert peer.host.dirty == [peer.connection]


def test_the_send_buffer_grows_with_the_congestion_window() -> None:
    peer = established(TcpConfig(send_buffer_initial=20_000, send_buffer_maximum=50_000))
    position = 1
    for _ in range(6):
        position += peer.connection.send(bytes(peer.connection.send_room()), peer.now)
        while peer.connection.unsent_and_unacknowledged:
            peer.take()
            peer.send(".", 1, 1 + ((peer.connection.snd_max - peer.connection.iss - 1) & 0xFFFFFFFF))
    assert peer.connection.send_room() == 50_000


def test_room_that_a_loss_took_away_again_is_told_of_once_more() -> None:
    """The owner is told of room, but comes to ask only after duplicate ACKs have halved the congestion window."""
    peer = established(TcpConfig(send_buffer_initial=10_000, send_buffer_maximum=50_000))
    connection = peer.connection
    acknowledged = 1
    while connection.send_room() < 50_000:
        acknowledged += connection.send(bytes(connection.send_room()), peer.now)
        while connection.unsent_and_unacknowledged:
            peer.take()
            peer.send(".", 1, 1 + ((connection.snd_max - connection.iss - 1) & 0xFFFFFFFF))
    connection.send(bytes(50_000), peer.now)
    peer.take()
    peer.host.dirty.clear()
    peer.send(".", 1, acknowledged + 13_000)
    assert peer.host.dirty == [connection]
    for _ in range(3):
        peer.send(".", 1, acknowledged + 13_000)
    assert connection.send_room() == 0
    peer.host.dirty.clear()
    while connection.unsent_and_unacknowledged:
        peer.take()
        peer.send(".", 1, 1 + ((connection.snd_max - connection.iss - 1) & 0xFFFFFFFF))
    assert peer.host.dirty == [connection]


def test_sending_nothing_is_nothing() -> None:
    peer = established()
    assert peer.connection.send(b"", peer.now) == 0
    peer.expect_nothing()


def test_an_orphan_does_not_probe_for_ever() -> None:
    peer = established(window=0)
    peer.connection.send(b"waiting", peer.now)
    peer.connection.detach(peer.now)
    for _ in range(9):
        peer.wait(100)
        peer.take()
        if peer.host.flows:
            peer.send(".", 1, 1, window=0)
    assert not peer.host.flows


def test_late_and_early_timers_do_no_harm() -> None:
    peer = fin_wait_1()
    for _ in range(10):
        peer.connection.handle_timer(peer.now)
    peer.expect_nothing()
    peer.now += 10_000
    peer.host.handle_timer(peer.now)
    assert peer.connection.error is not None
    peer.connection.handle_timer(peer.now)
    assert peer.host.poll_at() is None


def test_acknowledgements_stay_inside_a_window_that_shrank() -> None:
    peer = established(window=3000)
    peer.connection.send(bytes(3000), peer.now)
    assert [sent.seq for sent in peer.take()] == [1, 1001, 2001]
    # Short of memory, the peer drops all but the first segment and closes its window.
    peer.send(".", 1, 1001, window=0)
    peer.send("P.", 1, 1001, b"data", window=0)
    peer.wait_and_expect(0.1, ".", 1001, 5)
    # With 3001 the peer would not have taken it, nor this:
    peer.connection.abort(peer.now)
    peer.expect("R.", 1001, 5)
