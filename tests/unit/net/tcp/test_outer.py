"""TCP over TCP: inner retransmission timers wait while the outer connection makes no progress (net/outer.py)."""

from __future__ import annotations

from sstpsocks.errors import ConnectTimedOut
from sstpsocks.net.outer import LONGEST_WAIT, OuterPath
from tests.helpers.tcp_peer import Peer, established


def in_flight() -> tuple[Peer, OuterPath]:
    """A connection with one segment under way, sent at peer.now over an outer connection."""
    peer = established()
    outer = peer.host.outer = OuterPath()
    outer.last_received = peer.now
    peer.connection.send(b"data", peer.now)
    peer.expect("P.", 1, 1, b"data")
    return peer, outer


def test_nothing_is_repeated_while_nothing_comes_from_the_server() -> None:
    peer, outer = in_flight()
    peer.wait(LONGEST_WAIT - 1)
    peer.expect_nothing()
    assert outer.witness_wanted
    assert peer.host.counters.tcp_retrans_segs == 0
    assert peer.host.counters.tcp_timers_put_off > 0


def test_a_witness_answered_without_our_acknowledgement_releases_the_retransmission() -> None:
    peer, outer = in_flight()
    sent_at = peer.now
    peer.wait(3)
    outer.answered_through = sent_at + 1
    peer.wait(0.3)
    peer.expect("P.", 1, 1, b"data")
    assert peer.host.counters.tcp_retrans_segs == 1


def test_a_witness_sent_before_the_segment_proves_nothing() -> None:
    peer, outer = in_flight()
    outer.answered_through = peer.now - 0.1
    peer.wait(5)
    peer.expect_nothing()


def test_traffic_of_others_is_progress() -> None:
    peer, outer = in_flight()
    while not peer.host.output:
        outer.last_received = peer.now
        peer.wait(0.05)
    peer.expect("P.", 1, 1, b"data")


def test_a_blocked_socket_is_no_progress_whatever_comes() -> None:
    peer, outer = in_flight()
    outer.blocked = True
    for _ in range(100):
        peer.wait(0.05)
        outer.last_received = outer.answered_through = peer.now
    peer.expect_nothing()


def test_the_wait_is_bounded() -> None:
    peer, _ = in_flight()
    peer.wait(LONGEST_WAIT + 1)
    peer.expect("P.", 1, 1, b"data")


def test_an_acknowledgement_after_the_stall_ends_the_wait() -> None:
    peer, outer = in_flight()
    peer.wait(3)
    outer.last_received = peer.now
    peer.send(".", 1, 5)
    peer.wait(60)
    peer.expect_nothing()
    assert peer.host.counters.tcp_retrans_segs == 0


def test_a_syn_waits_too_and_the_time_to_connect_goes_on() -> None:
    peer = Peer()
    outer = peer.host.outer = OuterPath()
    outer.last_received = peer.now
    peer.connection.open_active(peer.now)
    peer.expect("S", 0)
    peer.wait(LONGEST_WAIT - 1)
    peer.expect_nothing()
    peer.wait_and_expect(2, "S", 0)
    peer.wait(30)
    assert isinstance(peer.connection.error, ConnectTimedOut)
