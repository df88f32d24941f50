"""Duplicates reported: RFC 2883. The receiver's side follows the examples of its section 4."""

from __future__ import annotations

import pytest

from tests.helpers.sack_peer import RTT, SackPeer
from tests.helpers.tcp_peer import MSS, established
from tests.unit.net.tcp.test_sack import Receiver

FIRST = 5000


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def test_example_1_a_duplicate_below_the_acknowledgement_number(receiver: Receiver) -> None:
    """Section 4.1.1: data segments whose acknowledgements were lost are sent again."""
    for seq in (5000, 5500):
        receiver.arrives(seq)
    receiver.acknowledges(6000)
    receiver.arrives(5000)
    receiver.acknowledges(6000, (5000, 5500))
    # "Each duplicate contiguous sequence of data received is reported in at most one D-SACK block."
    receiver.arrives(6000)
    receiver.peer.wait(0.1)
    receiver.acknowledges(6500)


def test_example_2_a_duplicate_below_a_hole(receiver: Receiver) -> None:
    """Section 4.1.2: the D-SACK block first, then the block of what waits."""
    receiver.arrives(5000)
    receiver.arrives(6000)
    receiver.acknowledges(5500, (6000, 6500))
    receiver.arrives(5000)
    receiver.acknowledges(5500, (5000, 5500), (6000, 6500))


def test_example_3_a_duplicate_of_something_that_waits(receiver: Receiver) -> None:
    """Section 4.1.3: the second block is the one the duplicate lies in."""
    for seq in (5500, 6000):
        receiver.arrives(seq)
    receiver.acknowledges(5000, (5500, 6500))
    receiver.arrives(6000)
    receiver.acknowledges(5000, (6000, 6500), (5500, 6500))


def test_example_4_half_of_a_segment_came_before(receiver: Receiver) -> None:
    """Section 4.2.1 and 4.2.2: partial duplicates, below and above the acknowledgement number."""
    receiver.arrives(5000)
    receiver.arrives(5000, 1000)
    receiver.acknowledges(6000, (5000, 5500))
    receiver.arrives(7000)
    receiver.acknowledges(6000, (7000, 7500))
    receiver.arrives(6500, 1000)
    receiver.acknowledges(6000, (7000, 7500), (6500, 7500))


def test_two_duplicates_in_a_row_are_one_report(receiver: Receiver) -> None:
    receiver.arrives(5000, 1000)
    receiver.peer.wait(0.1)
    receiver.acknowledges(6000)
    receiver.arrives(5000)
    receiver.arrives(5500)
    receiver.acknowledges(6000, (5000, 6000))


def test_two_duplicates_apart_are_two_reports() -> None:
    """A sender counts them: RFC 3708 wants all that was sent again to be reported."""
    peer = established(sack=True)
    peer.send(".", 1, 1, bytes(3000))
    peer.take()
    for seq in (1, 1501):
        peer.send(".", seq, 1, bytes(500))
    assert [sent.sack for sent in peer.take()] == [[(1, 501)], [(1501, 2001)]]


def test_a_full_option_leaves_room_for_the_duplicate(receiver: Receiver) -> None:
    for seq in range(6000, 11_000, 1000):
        receiver.arrives(seq)
    receiver.peer.take()
    receiver.arrives(6000)
    receiver.acknowledges(5000, (6000, 6500), (6000, 6500), (10_000, 10_500), (9000, 9500))


def test_no_duplicate_is_reported_to_a_peer_without_sack() -> None:
    peer = established()
    peer.send(".", 1, 1, bytes(500))
    peer.send(".", 1, 1, bytes(500))
    assert peer.expect(".", 1, 501).options == {}


def test_a_window_probe_is_no_duplicate() -> None:
    peer = established(sack=True)
    peer.send(".", 1, 1, bytes(10))
    peer.take()
    peer.connection.rcv_adv = peer.connection.rcv_nxt
    peer.connection.rcv_capacity = peer.connection.readable
    peer.send(".", 11, 1, b"x")
    assert peer.take()[0].sack == []


# The sender's side: what a D-SACK teaches


def sent_again_needlessly() -> SackPeer:
    """Fast recovery under way: the first of ten segments was sent again, and only then it arrives, late."""
    peer = SackPeer(30)
    peer.sent()
    peer.after(RTT).ack(0, (1, 10))
    assert peer.sent()[0] == 0
    return peer


def test_a_needless_retransmission_shows_reordering_and_widens_the_window() -> None:
    """RFC 8985 section 6.2 step 4."""
    peer = sent_again_needlessly()
    assert not peer.reordering_seen()
    peer.after(0.01).ack(10)
    peer.after(RTT).ack(10, (0, 1))
    assert peer.reordering_seen()
    assert peer.connection.rack.reo_wnd_mult == 2


def test_duplicates_that_the_network_made_teach_nothing() -> None:
    peer = SackPeer(10)
    peer.sent()
    peer.after(RTT).ack(5)
    peer.ack(5, (3, 4))
    peer.ack(5, (4, 5))
    assert not peer.reordering_seen()
    assert peer.connection.rack.reo_wnd_mult == 1
    assert peer.connection.congestion.cwnd >= 10 * MSS


def test_a_dsack_above_the_acknowledgement_number_is_told_by_its_second_block() -> None:
    """RFC 2883 section 4.1.3: it is no news about what arrived."""
    peer = SackPeer(10)
    peer.sent()
    peer.after(RTT).ack(0, (2, 3), (2, 4))
    assert peer.board.sacked == 2 * MSS
    assert not peer.recovering()
