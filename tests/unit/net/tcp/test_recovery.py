"""Retransmission: RFC 6298, RFC 5681, RFC 6582, RFC 3042."""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost
from sstpsocks.net.icmp import IcmpErrorKind
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.congestion import NewReno, initial_window
from sstpsocks.net.tcp.rtt import RttEstimator
from tests.helpers.tcp_peer import MSS, Peer, established

NO_WINDOW_LIMIT = 60_000


def sending(segments: int, window: int = NO_WINDOW_LIMIT) -> Peer:
    """Established, with this many full segments just sent (at most 10)."""
    peer = established(window=window)
    peer.connection.send(bytes(segments * MSS), peer.now)
    assert [sent.seq for sent in peer.take()] == [1 + MSS * number for number in range(segments)]
    return peer


def ack(peer: Peer, segments: int) -> None:
    peer.send(".", 1, 1 + segments * MSS)


def sequence_numbers(peer: Peer) -> list[int]:
    """What is sent now, in segments from the start of the data."""
    return [(sent.seq - 1) // MSS for sent in peer.take()]


# The timer


def test_unacknowledged_data_is_sent_again_after_rto_which_doubles() -> None:
    peer = established()
    peer.connection.send(bytes(500), peer.now)
    peer.take()
    # The handshake measured 100 ms: SRTT + max(4 * RTTVAR, 200 ms).
    assert peer.wait_and_expect(10, "P.", 1, 1, bytes(500)) == pytest.approx(0.3)
    assert peer.wait_and_expect(10, "P.", 1, 1, bytes(500)) == pytest.approx(0.6)
    assert peer.wait_and_expect(10, "P.", 1, 1, bytes(500)) == pytest.approx(1.2)
    assert peer.host.counters.tcp_retrans_segs == 3
    assert peer.connection.retransmissions == 3


def test_the_timer_stops_when_everything_is_acknowledged() -> None:
    """RFC 6298 (5.2)."""
    peer = sending(2)
    ack(peer, 2)
    peer.wait(100)
    peer.expect_nothing()
    assert peer.connection.unsent_and_unacknowledged == 0


def test_the_timer_restarts_with_each_acknowledgement_of_new_data() -> None:
    """RFC 6298 (5.3)."""
    peer = sending(2)
    peer.wait(0.25)
    ack(peer, 1)
    peer.wait(0.25)
    peer.expect_nothing()
    peer.wait(0.3)
    assert sequence_numbers(peer) == [1]


def test_the_clock_starts_when_the_packet_is_asked_for() -> None:
    peer = established()
    peer.connection.send(b"data", peer.now)
    peer.now += 5
    peer.host.handle_timer(peer.now)
    peer.expect("P.", 1, 1, b"data")
    assert peer.wait_and_expect(10, "P.", 1, 1, b"data") == pytest.approx(0.3)


def test_a_retransmission_that_was_not_asked_for_yet_is_dropped_when_the_ack_comes() -> None:
    peer = sending(1)
    peer.wait(0.3)
    assert peer.connection.has_output()
    ack(peer, 1)
    assert not peer.connection.has_output()
    peer.expect_nothing()


def test_after_a_timeout_everything_is_sent_again_in_slow_start() -> None:
    peer = sending(10)
    peer.wait(1)
    assert sequence_numbers(peer) == [0]
    assert peer.connection.congestion.cwnd == MSS
    ack(peer, 1)
    assert sequence_numbers(peer) == [1, 2]
    ack(peer, 3)
    assert sequence_numbers(peer) == [3, 4, 5]
    # What had arrived the first time is not sent again.
    ack(peer, 10)
    assert sequence_numbers(peer) == []
    assert peer.connection.flight_size == 0


def test_retransmitted_segments_are_not_measured() -> None:
    """Karn's algorithm."""
    peer = sending(1)
    before = peer.connection.rtt.srtt
    peer.wait(0.3)
    peer.take()
    peer.now += 5
    ack(peer, 1)
    assert peer.connection.rtt.srtt == before


def test_new_data_is_measured_once_per_round_trip() -> None:
    peer = sending(10)
    peer.now += 0.1
    ack(peer, 1)
    peer.now += 0.1
    ack(peer, 10)
    assert peer.connection.rtt.srtt == pytest.approx(0.1)
    assert peer.connection.timed_end is None


def test_nothing_acknowledged_for_the_user_timeout_ends_the_connection() -> None:
    peer = established(TcpConfig(user_timeout=100))
    peer.connection.send(b"data", peer.now)
    begin = peer.now
    while peer.connection.error is None:
        peer.take()
        peer.wait(1)
        assert peer.now < begin + 200
    assert peer.now >= begin + 100
    assert isinstance(peer.connection.error, ConnectionLost)
    assert not peer.host.flows


# Fast retransmit and fast recovery


def test_limited_transmit_sends_new_data_on_the_first_two_duplicate_acks() -> None:
    """RFC 3042."""
    peer = established()
    peer.connection.send(bytes(20 * MSS), peer.now)
    assert sequence_numbers(peer) == list(range(10))
    ack(peer, 0)
    assert sequence_numbers(peer) == [10]
    ack(peer, 0)
    assert sequence_numbers(peer) == [11]


def test_third_duplicate_ack_retransmits_and_halves() -> None:
    peer = established(TcpConfig(congestion_control="newreno"))
    peer.connection.send(bytes(30 * MSS), peer.now)
    peer.take()
    ack(peer, 0)
    ack(peer, 0)
    peer.take()
    ack(peer, 0)
    assert sequence_numbers(peer) == [0]
    assert peer.connection.recover == peer.connection.snd_max
    assert peer.connection.congestion.ssthresh == 6 * MSS
    # Each further one proves that a segment left: after 12 - 6 - 3 of them there is room for a new one.
    for _ in range(3):
        ack(peer, 0)
        assert sequence_numbers(peer) == []
    ack(peer, 0)
    assert sequence_numbers(peer) == [12]
    # A full acknowledgement ends it.
    ack(peer, 13)
    assert not peer.connection.in_recovery
    assert peer.connection.congestion.cwnd <= 6 * MSS


def test_a_partial_ack_retransmits_the_next_hole() -> None:
    """RFC 6582 section 3.2 step 3."""
    peer = sending(10)
    for _ in range(3):
        ack(peer, 0)
    assert sequence_numbers(peer) == [0]
    ack(peer, 4)
    assert sequence_numbers(peer) == [4]
    assert peer.connection.in_recovery
    ack(peer, 7)
    assert sequence_numbers(peer) == [7]
    ack(peer, 10)
    assert not peer.connection.in_recovery


def test_duplicate_acks_after_a_timeout_do_not_start_fast_retransmit() -> None:
    """RFC 6582 section 3.2 step 2: not before the acknowledgement covers more than recover."""
    peer = sending(10)
    peer.wait(1)
    peer.take()
    for _ in range(5):
        ack(peer, 0)
    assert sequence_numbers(peer) == []
    ack(peer, 10)
    for _ in range(5):
        ack(peer, 10)
    assert not peer.connection.in_recovery


def test_fast_retransmit_works_again_after_a_recovery() -> None:
    peer = sending(10)
    for _ in range(3):
        ack(peer, 0)
    peer.take()
    ack(peer, 10)
    peer.connection.send(bytes(10 * MSS), peer.now)
    assert sequence_numbers(peer)[0] == 10
    for _ in range(3):
        ack(peer, 10)
    assert 10 in sequence_numbers(peer)
    assert peer.connection.in_recovery


@pytest.mark.parametrize("difference", ["data", "window", "nothing outstanding"])
def test_what_is_not_a_duplicate_ack(difference: str) -> None:
    """RFC 5681 section 2."""
    peer = sending(10)
    if difference == "nothing outstanding":
        ack(peer, 10)
    for number in range(5):
        if difference == "data":
            peer.send(".", 1 + number, 1, b"x")
        elif difference == "window":
            peer.send(".", 1, 1, window=NO_WINDOW_LIMIT + number + 1)
        else:
            ack(peer, 10)
    assert peer.connection.dupacks == 0
    assert not peer.connection.in_recovery
    assert all(sent.payload == b"" for sent in peer.take())


def test_a_timeout_in_recovery_does_not_raise_ssthresh() -> None:
    peer = sending(10)
    for _ in range(3):
        ack(peer, 0)
    peer.take()
    threshold = peer.connection.congestion.ssthresh
    peer.wait(2)
    peer.take()
    assert not peer.connection.in_recovery
    assert peer.connection.congestion.ssthresh == threshold


# ICMP


def test_fragmentation_needed_sends_again_in_smaller_segments_without_slowing_down() -> None:
    peer = sending(5)
    cwnd = peer.connection.congestion.cwnd
    peer.connection.on_icmp_error(
        IcmpErrorKind.FRAGMENTATION_NEEDED, (peer.connection.iss + 1 + MSS) & 0xFFFFFFFF, peer.now, 840
    )
    sent = peer.take()
    assert [segment.seq for segment in sent] == [1, 801, 1601, 2401, 3201, 4001, 4801]
    assert peer.connection.congestion.cwnd == cwnd


@pytest.mark.parametrize(("mtu", "mss"), [(0, 536), (300, 536), (576, 536), (1040, MSS), (9000, MSS)])
def test_the_mss_is_lowered_within_reason_only(mtu: int, mss: int) -> None:
    """RFC 5927 section 7."""
    peer = sending(2)
    peer.connection.on_icmp_error(
        IcmpErrorKind.FRAGMENTATION_NEEDED, (peer.connection.iss + 1) & 0xFFFFFFFF, peer.now, mtu
    )
    assert peer.connection.snd_mss == mss


def test_icmp_that_quotes_nothing_in_flight_is_ignored() -> None:
    peer = sending(2)
    for seq in (0, 1 + 2 * MSS, 0x80000000):
        peer.connection.on_icmp_error(
            IcmpErrorKind.FRAGMENTATION_NEEDED, (peer.connection.iss + seq) & 0xFFFFFFFF, peer.now, 576
        )
    assert peer.connection.snd_mss == MSS


# The parts by themselves


def test_rto_by_rfc_6298() -> None:
    estimator = RttEstimator(1.0, 0.2, 60.0)
    assert estimator.rto == 1.0
    estimator.measured(0.5)
    assert (estimator.srtt, estimator.rttvar, estimator.rto) == (0.5, 0.25, 1.5)
    estimator.measured(0.1)
    assert estimator.rttvar == pytest.approx(0.75 * 0.25 + 0.25 * 0.4)
    assert estimator.srtt == pytest.approx(0.875 * 0.5 + 0.125 * 0.1)
    for _ in range(200):
        estimator.measured(0.1)
    assert estimator.rto == pytest.approx(0.3, abs=0.001)
    for _ in range(20):
        estimator.back_off()
    assert estimator.rto == 60.0


def test_a_backed_off_rto_comes_down_with_a_measurement_and_at_first_also_without() -> None:
    estimator = RttEstimator(1.0, 0.2, 60.0)
    estimator.measured(0.1)
    for _ in range(5):
        estimator.back_off()
    estimator.progressed()
    assert estimator.rto == 1.0
    for _ in range(8):
        estimator.back_off()
        estimator.progressed()
    # The path may really have become this slow: from here on only a measurement counts.
    estimator.back_off()
    estimator.progressed()
    assert estimator.rto > 1.0
    estimator.measured(0.1)
    assert estimator.rto < 0.5


@pytest.mark.parametrize(("mss", "window"), [(536, 5360), (1360, 13600), (1460, 14600), (4000, 14600), (9000, 18000)])
def test_initial_window_of_rfc_6928(mss: int, window: int) -> None:
    assert initial_window(mss) == window


def test_slow_start_doubles_and_congestion_avoidance_adds_one_segment_per_window() -> None:
    reno = NewReno(1000)
    reno.acknowledged(10_000, 10_000, 0.0, None)
    assert reno.cwnd == 20_000
    reno.loss_detected(20_000, 0.0)
    assert (reno.cwnd, reno.ssthresh) == (10_000, 10_000)
    for _ in range(9):
        reno.acknowledged(1000, 10_000, 0.0, None)
    assert reno.cwnd == 10_000
    reno.acknowledged(1000, 10_000, 0.0, None)
    assert reno.cwnd == 11_000


def test_a_window_that_is_not_used_does_not_grow() -> None:
    reno = NewReno(1000)
    reno.acknowledged(1000, 1000, 0.0, None)
    assert reno.cwnd == 10_000
    reno.loss_detected(20_000, 0.0)
    for _ in range(100):
        reno.acknowledged(1000, 1000, 0.0, None)
    assert reno.cwnd == 10_000


def test_an_idle_connection_starts_again_from_the_initial_window() -> None:
    """RFC 5681 section 4.1."""
    peer = sending(10)
    ack(peer, 10)
    assert peer.connection.congestion.cwnd == 20 * MSS
    peer.now += 10
    peer.connection.send(bytes(30 * MSS), peer.now)
    assert len(peer.take()) == 10
