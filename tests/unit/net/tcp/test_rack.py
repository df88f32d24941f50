"""RACK: losses told by time (RFC 8985 sections 5 and 6), and the scoreboard's part in them (RFC 6675)."""

from __future__ import annotations

import pytest

from sstpsocks.net.icmp import IcmpErrorKind
from sstpsocks.net.tcp.rack import Rack
from sstpsocks.net.tcp.scoreboard import Scoreboard
from tests.helpers.sack_peer import RTT, SackPeer
from tests.helpers.tcp_peer import MSS


def in_flight(segments: int = 10) -> SackPeer:
    """``segments`` in flight, and a round trip later."""
    peer = SackPeer(segments)
    assert peer.sent() == list(range(segments))
    return peer.after(RTT)


# What is lost


def test_three_segments_behind_a_hole_are_enough_while_no_reordering_was_seen() -> None:
    """RFC 8985 section 6.2 step 4: RACK.reo_wnd is 0 when "RACK.segs_sacked >= DupThresh"."""
    peer = in_flight()
    peer.ack(0, (1, 2))
    peer.ack(0, (1, 3))
    assert peer.sent() == []
    peer.ack(0, (1, 4))
    assert peer.sent() == [0]
    assert peer.recovering()
    assert peer.connection.recover == peer.connection.snd_max


def test_a_single_segment_behind_a_hole_is_enough_after_the_reordering_window() -> None:
    """RFC 8985 section 6.2 step 5: the timer of what is not lost yet."""
    peer = in_flight(2)
    peer.ack(0, (1, 2))
    assert peer.sent() == []
    assert peer.connection.rack_deadline == pytest.approx(peer.peer.now + RTT / 4)
    assert peer.wait(RTT) == [0]


def test_a_hole_that_is_filled_in_time_was_only_reordering() -> None:
    peer = in_flight(4)
    peer.ack(0, (1, 2))
    peer.after(RTT / 8).ack(4)
    assert peer.connection.rack_deadline is None
    assert peer.reordering_seen()
    assert peer.peer.host.counters.tcp_retrans_segs == 0


def test_once_reordering_was_seen_three_segments_are_not_enough() -> None:
    peer = in_flight(4)
    peer.ack(0, (1, 2))
    peer.ack(4)
    peer.write(10)
    peer.sent()
    peer.after(RTT).ack(4, (5, 10))
    assert peer.sent() == []
    assert peer.wait(RTT) == [4]


def test_every_hole_is_found_at_once() -> None:
    peer = in_flight()
    peer.ack(0, (1, 2), (3, 4), (5, 7))
    # PRR lets half of what arrives out again; the rest follows with further acknowledgements.
    assert peer.sent() == [0, 2]
    peer.ack(0, (5, 10), (1, 2), (3, 4))
    assert peer.sent() == [4]


def test_a_lost_retransmission_is_sent_again_when_something_sent_later_arrives() -> None:
    """RFC 8985 section 1 counts lost retransmissions among what duplicate ACKs cannot find."""
    peer = SackPeer(30)
    assert peer.sent() == list(range(10))
    peer.after(RTT).ack(0, (1, 10))
    assert peer.sent() == [0, 10, 11, 12, 13]
    # What was sent behind the retransmission arrives, the retransmission does not.
    peer.after(RTT).ack(0, (1, 14))
    assert peer.sent()[0] == 0


def test_limited_transmit_sends_new_data_for_the_first_segments_that_arrive() -> None:
    """RFC 3042, in RFC 6675's words of pipe."""
    peer = SackPeer(30)
    peer.sent()
    peer.after(RTT).ack(0, (1, 2))
    assert peer.sent() == [10]
    peer.ack(0, (1, 3))
    assert peer.sent() == [11]


def test_acknowledgements_without_blocks_prove_nothing_about_losses() -> None:
    peer = in_flight()
    for _ in range(5):
        peer.ack(0)
    assert peer.sent() == []


# Recovery


def test_recovery_ends_when_everything_is_acknowledged_that_was_out() -> None:
    peer = SackPeer(20)
    peer.sent()
    peer.after(RTT).ack(0, (1, 10))
    peer.sent()
    threshold = peer.connection.congestion.ssthresh
    assert threshold == 5 * MSS
    peer.after(RTT).ack(9)
    assert peer.recovering()
    peer.ack(10)
    assert not peer.recovering()
    assert peer.connection.congestion.cwnd == threshold


def test_one_recovery_reduces_the_window_once() -> None:
    peer = in_flight()
    peer.ack(0, (1, 2), (3, 4), (5, 7))
    threshold = peer.connection.congestion.ssthresh
    peer.ack(0, (9, 10), (1, 2), (3, 4), (5, 7))
    peer.ack(2, (9, 10), (3, 4), (5, 7))
    assert peer.connection.congestion.ssthresh == threshold


def test_the_rescue_retransmission_asks_for_the_end_of_the_window_once() -> None:
    """RFC 6675 section 4, NextSeg() rule (4): HighACK passed RescueRxt, and there is nothing else to send."""
    peer = in_flight()
    peer.ack(0, (1, 6))
    assert peer.sent() == [0]
    # The first retransmission arrives; segments 6 to 9 are not heard of.
    peer.after(0.01).ack(6)
    assert peer.recovering()
    assert peer.sent() == [9]
    peer.ack(7)
    assert peer.sent() == []


def test_no_rescue_while_new_data_is_under_way() -> None:
    """A program that has nothing to send for a moment is no end of a window."""
    peer = SackPeer(12)
    peer.sent()
    peer.after(RTT).ack(0, (1, 4))
    assert peer.sent() == [0]
    peer.ack(0, (1, 8))
    assert peer.sent() == [10, 11]
    peer.after(0.01).ack(8)
    assert peer.recovering()
    assert peer.sent() == []


def test_what_was_sent_while_rack_waited_does_not_count_as_the_window() -> None:
    """RFC 5681 section 3.2 step 2: limited transmit "MUST NOT be included" in FlightSize."""
    peer = SackPeer(40)
    peer.sent()
    peer.connection.rack.reordering_seen = True
    # The window slides on over what is selectively acknowledged.
    peer.after(RTT).ack(0, (1, 10))
    assert peer.sent() == list(range(10, 19))
    assert peer.wait(RTT)[0] == 0
    assert peer.connection.congestion.ssthresh == 5 * MSS


# After a timeout: section 6.3


def test_the_window_is_what_was_out_before_a_batch_of_acknowledgements_that_tells_of_a_loss() -> None:
    peer = in_flight(10)
    peer.ack(6)  # nothing is sent in between
    peer.ack(6, (7, 10))
    assert peer.recovering()
    assert peer.connection.congestion.ssthresh == 5 * MSS


def test_after_a_timeout_only_what_did_not_arrive_is_sent_again() -> None:
    peer = in_flight()
    # The tail loss probe, then the timeout.
    assert peer.wait(5) == [9]
    assert peer.wait(5) == [0]
    assert peer.connection.congestion.cwnd == MSS
    peer.after(RTT).ack(1, (4, 6))
    assert peer.sent() == [1, 2, 3]
    peer.after(RTT).ack(6)
    assert peer.sent() == [6, 7, 8, 9]
    peer.after(RTT).ack(10)
    assert not peer.connection.rto_recovery


def test_a_peer_that_discards_what_it_had_reported_is_sent_it_again() -> None:
    """RFC 2018 section 8: reneging is found out by the timer, because the block begins at SND.UNA."""
    peer = in_flight(4)
    peer.ack(0, (1, 4))
    assert peer.sent() == [0]
    peer.after(RTT).ack(1)
    assert peer.sent() == []
    sent = peer.wait(5)
    assert sent == [1]
    assert peer.board.sacked == 0
    peer.ack(2)
    assert peer.sent() == [2, 3]
    peer.ack(4)
    assert peer.connection.flight_size == 0


def test_a_smaller_path_mtu_sends_everything_again_that_did_not_arrive() -> None:
    peer = in_flight(5)
    peer.ack(0, (3, 4))
    cwnd = peer.connection.congestion.cwnd
    iss = peer.connection.iss
    peer.connection.on_icmp_error(IcmpErrorKind.FRAGMENTATION_NEEDED, (iss + 1) & 0xFFFFFFFF, peer.peer.now, 840)
    assert [(sent.seq - 1, len(sent.payload)) for sent in peer.peer.take()] == [
        (0, 800), (800, 800), (1600, 800), (2400, 600), (4000, 800), (4800, 200),
    ]  # fmt: skip
    assert peer.connection.congestion.cwnd == cwnd


def test_a_fin_is_sent_again_like_data() -> None:
    peer = SackPeer(3)
    peer.connection.shutdown(peer.peer.now)
    peer.sent()
    peer.after(RTT).ack(2)
    assert peer.wait(5) == [2]
    peer.peer.send(".", 1, 2 + 3 * MSS)
    assert peer.connection.fin_acked


# The state of RFC 8985 section 5.2, by itself


def flight(*times: float) -> Scoreboard:
    board = Scoreboard()
    for time in times:
        board.sent(10, time, 10)
    return board


def test_the_segment_sent_last_of_those_that_arrived_counts() -> None:
    rack = Rack()
    board = flight(1.0, 2.0, 3.0)
    assert rack.update(board.sack(10, 20, 10), 2.5) == 0.5
    assert (rack.xmit_ts, rack.end_seq, rack.rtt, rack.fack) == (2.0, 20, 0.5, 20)
    rack.update(board.acknowledge(10), 2.6)
    assert (rack.xmit_ts, rack.reordering_seen) == (2.0, True)


def test_an_acknowledgement_of_a_retransmission_that_comes_too_soon_is_of_the_original() -> None:
    """Step 2: "If rtt < RACK.min_RTT: Continue"."""
    rack = Rack()
    rack.min_rtt = 0.1
    board = flight(1.0)
    board.retransmitted(0, 10, 1.5)
    assert rack.update(board.acknowledge(10), 1.55) is None
    assert rack.xmit_ts == -1.0
    assert not rack.reordering_seen


def test_the_window_grows_once_per_round_trip_with_dsacks_and_shrinks_after_16_recoveries() -> None:
    rack = Rack()
    rack.min_rtt = 0.1
    rack.reordering_seen = True
    board = Scoreboard()
    assert rack.reo_wnd(board, 0.1, recovering=False) == pytest.approx(0.025)
    rack.adapt(1000, 2000, dsack=True, recovered=False)
    rack.adapt(1500, 2500, dsack=True, recovered=False)
    assert rack.reo_wnd(board, 0.1, recovering=False) == pytest.approx(0.05)
    for _ in range(10):
        rack.adapt(2000, 2000, dsack=True, recovered=False)
    # "this bound SHOULD be SRTT"
    assert rack.reo_wnd(board, 0.1, recovering=False) == pytest.approx(0.1)
    for _ in range(16):
        assert rack.reo_wnd_mult > 1
        rack.adapt(3000, 3000, dsack=False, recovered=True)
    assert rack.reo_wnd_mult == 1


def test_the_shortest_round_trip_is_forgotten_after_a_while() -> None:
    rack = Rack()
    rack.update(flight(1.0).acknowledge(10), 1.1)
    rack.update(flight(2.0).acknowledge(10), 2.5)
    assert rack.min_rtt == pytest.approx(0.1)
    rack.update(flight(400.0).acknowledge(10), 400.5)
    assert rack.min_rtt == pytest.approx(0.5)
