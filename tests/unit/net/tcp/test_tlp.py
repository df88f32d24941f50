"""The tail loss probe: RFC 8985 section 7."""

from __future__ import annotations

import pytest

from sstpsocks.net.outer import OuterPath
from sstpsocks.net.tcp.tlp import MAX_ACK_DELAY
from tests.helpers.sack_peer import RTT, SackPeer
from tests.helpers.tcp_peer import MSS, established


def test_an_unanswered_tail_is_probed_after_two_round_trips() -> None:
    """Section 7.2: "PTO = 2 * SRTT"."""
    peer = SackPeer(3)
    peer.sent()
    before = peer.peer.now
    assert peer.wait(5) == [2]
    assert peer.peer.now - before == pytest.approx(2 * RTT)
    # Section 7.3: the retransmission timer starts anew with the probe.
    assert peer.wait(5) == [0]
    assert peer.peer.now - before == pytest.approx(2 * RTT + peer.connection.rtt.rto / 2)


def test_a_single_segment_gets_time_for_a_delayed_acknowledgement() -> None:
    peer = SackPeer(1)
    peer.connection.rtt.rto = 10.0
    peer.sent()
    before = peer.peer.now
    assert peer.wait(20) == [0]
    assert peer.peer.now - before == pytest.approx(2 * RTT + MAX_ACK_DELAY)


def test_a_probe_never_waits_longer_than_the_retransmission_timer() -> None:
    peer = SackPeer(1)
    peer.sent()
    before = peer.peer.now
    assert peer.wait(5) == [0]
    assert peer.peer.now - before == pytest.approx(0.3)
    assert peer.connection.congestion.cwnd == 10 * MSS
    # What comes next is a timeout.
    assert peer.wait(5) == [0]
    assert peer.connection.congestion.cwnd == MSS


def test_new_data_is_the_better_probe() -> None:
    """Section 7.3: "Transmit the lowest-sequence unsent segment of up to SMSS", whatever cwnd says."""
    peer = SackPeer(12)
    assert peer.sent() == list(range(10))
    assert peer.wait(5) == [10]
    assert not peer.connection.tlp_is_retrans


def test_new_data_beyond_the_offered_window_is_no_probe() -> None:
    peer = SackPeer(12, window=5 * MSS)
    assert peer.sent() == list(range(5))
    assert peer.wait(5) == [4]


def test_the_timer_starts_anew_with_new_data_and_with_acknowledgements() -> None:
    peer = SackPeer(2)
    peer.sent()
    peer.after(0.15).write(2)
    peer.sent()
    peer.after(0.15).ack(1)
    assert peer.sent() == []
    before = peer.peer.now
    srtt = peer.connection.rtt.srtt
    assert srtt is not None
    assert peer.wait(5) == [3]
    assert peer.peer.now - before == pytest.approx(2 * srtt)


def test_no_probe_in_recovery_or_when_something_was_selectively_acknowledged() -> None:
    peer = SackPeer(10)
    peer.sent()
    peer.after(RTT).ack(0, (1, 2))
    assert peer.connection.tlp_deadline is None
    peer.ack(0, (1, 10))
    assert peer.recovering()
    peer.sent()
    assert peer.connection.tlp_deadline is None


def test_one_probe_at_a_time() -> None:
    peer = SackPeer(3)
    peer.sent()
    assert peer.wait(5) == [2]
    peer.after(0.01).ack(1)
    assert peer.connection.tlp_deadline is None


def test_everything_acknowledged_stops_the_timer() -> None:
    peer = SackPeer(3)
    peer.sent()
    peer.after(RTT).ack(3)
    assert peer.connection.tlp_deadline is None
    assert peer.wait(100) == []


def test_a_probe_that_was_not_asked_for_yet_is_dropped_when_the_acknowledgement_comes() -> None:
    peer = SackPeer(3)
    peer.sent()
    peer.peer.wait(2 * RTT)
    assert peer.connection.tlp_due
    peer.ack(3)
    assert peer.sent() == []


def test_there_is_none_without_sack() -> None:
    peer = established()
    peer.connection.send(bytes(3 * MSS), peer.now)
    peer.take()
    assert peer.connection.tlp_deadline is None


# What the answer says: section 7.4.2


def probed() -> SackPeer:
    """Three segments in flight and the last one sent again."""
    peer = SackPeer(3)
    peer.sent()
    assert peer.wait(5) == [2]
    peer.after(RTT)
    return peer


def test_the_answer_to_a_probe_shows_what_was_lost_before_it() -> None:
    peer = probed()
    peer.ack(1, (2, 3))
    # RACK, for which the probe is the segment sent last, and long after the one that is missing.
    assert peer.sent() == [1]


def test_case_1_the_probe_was_a_duplicate() -> None:
    peer = probed()
    peer.ack(3)
    # Whether the last segment or only its acknowledgement was lost cannot be told yet.
    assert peer.probing()
    peer.ack(3, (2, 3))
    assert not peer.probing()
    assert peer.connection.congestion.cwnd >= 10 * MSS


def test_case_2_a_duplicate_acknowledgement_without_blocks() -> None:
    peer = probed()
    peer.write(1)
    assert peer.sent() == [3]
    peer.ack(3)
    peer.ack(3)
    assert not peer.probing()
    assert peer.connection.congestion.cwnd >= 10 * MSS


def test_case_3_the_probe_repaired_a_loss_and_congestion_control_hears_of_it() -> None:
    """Section 7.4.2: the sender "MUST assume that the original data segment, the TLP retransmission, or a corresponding
    ACK was lost for congestion control purposes".
    """
    peer = probed()
    peer.ack(3)
    cwnd = peer.connection.congestion.cwnd
    peer.write(1)
    peer.sent()
    peer.after(RTT).ack(4)
    assert not peer.probing()
    assert peer.connection.congestion.cwnd < cwnd


def test_a_probe_of_new_data_is_answered_like_any_data() -> None:
    peer = SackPeer(12)
    peer.sent()
    assert peer.wait(5) == [10]
    cwnd = peer.connection.congestion.cwnd
    peer.after(RTT).ack(11)
    assert not peer.probing()
    assert peer.connection.congestion.cwnd >= cwnd


def test_a_probe_waits_for_the_outer_connection() -> None:
    peer = SackPeer(3)
    outer = peer.peer.host.outer = OuterPath()
    peer.sent()
    assert peer.wait(0.25) == []
    assert outer.witness_wanted
    # The server answered an echo request sent after the data: it is not stalled.
    outer.answered_through = peer.peer.now
    assert peer.wait(1) == [2]
