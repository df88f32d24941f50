"""Recoveries that were not necessary are taken back: by D-SACK (RFC 3708), by the first acknowledgements after a
timeout (F-RTO, RFC 5682) and by timestamps (Eifel, RFC 3522).
"""

from __future__ import annotations

from tests.helpers.sack_peer import RTT, SackPeer
from tests.helpers.tcp_peer import MSS


def undone(peer: SackPeer) -> int:
    return peer.peer.host.counters.tcp_recoveries_undone


# D-SACK


def test_when_every_retransmission_was_a_duplicate_the_window_comes_back() -> None:
    peer = SackPeer(30)
    peer.sent()
    cwnd = peer.connection.congestion.cwnd
    peer.after(RTT).ack(0, (1, 10))
    assert peer.sent()[0] == 0
    assert peer.connection.congestion.cwnd < cwnd
    peer.after(0.01).ack(10)
    assert undone(peer) == 0
    peer.after(RTT).ack(12, (0, 1))
    assert undone(peer) == 1
    assert peer.connection.congestion.cwnd >= cwnd
    assert peer.connection.congestion.ssthresh == 1 << 30


def test_one_duplicate_of_two_retransmissions_proves_nothing() -> None:
    peer = SackPeer(30)
    peer.sent()
    peer.after(RTT).ack(0, (2, 10))
    assert peer.sent()[:2] == [0, 1]
    peer.after(0.01).ack(1, (2, 10))
    peer.after(RTT).ack(10, (0, 1))
    assert undone(peer) == 0
    peer.ack(10, (1, 2))
    assert undone(peer) == 1


def test_a_duplicate_of_an_earlier_recovery_does_not_count() -> None:
    peer = SackPeer(60)
    peer.sent()
    peer.after(RTT).ack(0, (1, 10))
    peer.sent()
    peer.after(RTT).ack(20 - 6)
    assert not peer.recovering()
    first = peer.board.high_ack // MSS
    peer.sent()
    peer.after(RTT).ack(first, (first + 1, first + 5))
    assert peer.recovering()
    assert first in peer.sent()
    peer.ack(first, (0, 1), (first + 1, first + 5))
    assert undone(peer) == 0


def test_what_seemed_lost_is_not_sent_again_after_all() -> None:
    peer = SackPeer(10)
    peer.sent()
    # Six in a row seem lost, the window lets half of what arrives out again.
    peer.after(RTT).ack(0, (6, 10))
    again = peer.sent()
    assert 0 < len(again) < 6
    # They were only late, and arrive before what was sent again.
    peer.after(0.001).ack(0, (0, len(again)), (0, len(again)), (6, 10))
    assert peer.board.lost == 0
    assert undone(peer) == 1


# F-RTO


def timed_out(segments: int) -> SackPeer:
    """Ten segments in flight, no answer to them nor to the probe; the first was sent again."""
    peer = SackPeer(segments)
    assert peer.sent() == list(range(10))
    probe = peer.wait(5)
    assert len(probe) == 1
    assert peer.wait(5) == [0]
    assert peer.connection.congestion.cwnd == MSS
    return peer


def test_a_spurious_timeout_is_noticed_by_data_that_was_not_sent_again() -> None:
    """RFC 5682 section 3.1, branch (3.b)."""
    peer = timed_out(30)
    # The acknowledgements come after all, one for each segment.
    peer.after(0.01).ack(1)
    # Step 2: new data instead of what seems lost.
    assert min(peer.sent()) >= 10
    peer.ack(2)
    assert undone(peer) == 1
    assert not peer.connection.rto_recovery
    assert peer.connection.congestion.cwnd >= 10 * MSS
    assert peer.board.lost == 0
    assert all(number >= 10 for number in peer.sent())
    assert peer.connection.timeouts == 0


def test_a_real_timeout_sends_again_what_is_lost() -> None:
    """Branch (3.a): the next acknowledgement does not acknowledge anything that was out before the timeout."""
    peer = timed_out(30)
    peer.after(RTT).ack(1)
    new = peer.sent()
    assert min(new) >= 10
    # The new data arrives, nothing else does.
    peer.after(RTT).ack(1, (new[0], new[0] + 1))
    assert peer.connection.rto_recovery
    assert peer.connection.congestion.cwnd <= 3 * MSS
    assert peer.sent()[0] == 1
    assert undone(peer) == 0


def test_without_new_data_the_timeout_is_taken_at_its_word() -> None:
    """Step (2.b): "continue with slow-start retransmissions"."""
    peer = timed_out(10)
    peer.after(RTT).ack(1)
    assert peer.sent() == [1, 2]


def test_an_acknowledgement_of_everything_ends_the_matter() -> None:
    """Step (2.a)."""
    peer = timed_out(10)
    peer.after(RTT).ack(10)
    assert not peer.connection.rto_recovery
    assert peer.sent() == []


def test_a_second_timeout_in_a_row_is_not_questioned() -> None:
    peer = timed_out(30)
    assert peer.wait(5) == [0]
    peer.after(0.01).ack(1)
    # In smaller segments: two timeouts may be a black hole.
    assert set(peer.sent()) == {1, 2}


def test_a_timeout_is_also_taken_back_by_a_dsack() -> None:
    peer = timed_out(10)
    peer.after(RTT).ack(10)
    cwnd = peer.connection.congestion.cwnd
    peer.ack(10, (0, 1))
    assert undone(peer) == 1
    assert peer.connection.congestion.cwnd > cwnd
    # A late round trip is no reordering.
    assert not peer.reordering_seen()


# Eifel


def with_timestamps() -> tuple[SackPeer, int]:
    """Fast recovery under way; return also the timestamp of what was sent first."""
    peer = SackPeer(30, timestamps=True)
    assert peer.sent() == list(range(10))
    original = peer.peer.tsecr
    peer.after(RTT).ack(0, (1, 10))
    assert peer.sent()[0] == 0
    assert peer.recovering()
    return peer, original


def test_the_echo_of_the_original_takes_fast_recovery_back_at_once() -> None:
    """RFC 3522 section 3.2 step 5."""
    peer, original = with_timestamps()
    peer.peer.tsecr = original
    peer.after(0.01).ack(10)
    assert undone(peer) == 1
    assert not peer.recovering()
    assert peer.connection.congestion.cwnd >= 10 * MSS
    assert peer.reordering_seen()


def test_the_echo_of_the_retransmission_does_not() -> None:
    peer, _ = with_timestamps()
    peer.after(RTT).ack(10)
    assert undone(peer) == 0
    assert not peer.reordering_seen()


def test_only_the_first_acknowledgement_of_new_data_counts() -> None:
    """Step 4: what comes later may echo anything."""
    peer, original = with_timestamps()
    peer.after(RTT).ack(9)
    peer.peer.tsecr = original
    peer.ack(10)
    assert undone(peer) == 0


def test_the_echo_of_the_original_takes_a_timeout_back_at_once() -> None:
    peer = SackPeer(10, timestamps=True)
    peer.sent()
    original = peer.peer.tsecr
    peer.wait(5)
    assert peer.wait(5) == [0]
    assert peer.connection.congestion.cwnd == MSS
    peer.peer.tsecr = original
    peer.after(0.01).ack(3)
    assert undone(peer) == 1
    assert not peer.connection.rto_recovery
    assert peer.connection.congestion.cwnd >= 10 * MSS
    assert peer.sent() == []
