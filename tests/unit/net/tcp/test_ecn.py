"""ECN where scripts do not reach: long transfers, batches, and what a reduction leaves behind."""

from __future__ import annotations

import pytest

from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.congestion import NewReno
from sstpsocks.net.tcp.cubic import Cubic
from tests.helpers.tcp_peer import MASK, MSS, Peer, established

NEWRENO = TcpConfig(congestion_control="newreno")


def send_window(peer: Peer) -> int:
    """Send what the window takes; return where that ends."""
    connection = peer.connection
    connection.send(bytes(50 * MSS), peer.now)
    peer.take()
    return (connection.snd_max - connection.iss) & MASK


def test_a_reduction_is_forgotten_once_its_window_has_passed() -> None:
    """Otherwise it would compare as new again after 2 GiB."""
    peer = established(NEWRENO, ecn=True)
    end = send_window(peer)
    peer.send(".E", 1, end)
    assert peer.connection.cwr_end is not None
    after = send_window(peer)
    assert after > end
    peer.send(".", 1, after)
    assert peer.connection.cwr_end is None


@pytest.mark.parametrize("sack", [False, True])
def test_echoes_of_one_window_reduce_it_once_however_they_are_batched(sack: bool) -> None:
    windows = []
    for together in (False, True):
        peer = established(NEWRENO, ecn=True, sack=sack)
        end = send_window(peer)
        for ack in range(1 + MSS, end + 1, MSS):
            peer.send(".E", 1, ack)
            if not together:
                peer.take()
        windows.append(peer.connection.congestion.cwnd)
        assert peer.host.counters.tcp_ecn_reductions == 1
    # Ten segments were out when the first echo came, whatever else had been acknowledged in the batch.
    assert windows == [5 * MSS, 5 * MSS]


def test_the_window_in_use_counts_not_what_a_batch_left_of_it() -> None:
    peer = established(NEWRENO, ecn=True)
    end = send_window(peer)
    for ack in range(1 + MSS, end, MSS):
        peer.send(".", 1, ack)
    grown = peer.connection.congestion.cwnd
    assert grown == 19 * MSS
    peer.send(".E", 1, end)
    assert peer.connection.congestion.cwnd == 5 * MSS


@pytest.mark.parametrize("make", [NewReno, Cubic])
def test_an_echo_never_opens_a_window(make: type[NewReno | Cubic]) -> None:
    congestion = make(MSS, syn_lost=True)
    congestion.congestion_experienced(MSS, 1.0)
    assert congestion.cwnd == MSS
    assert congestion.ssthresh == 2 * MSS


def test_marks_of_a_batch_are_echoed_in_its_one_ack() -> None:
    peer = established(ecn=True)
    for number in range(20):
        peer.send(".", 1 + number * 100, 1, bytes(100), ecn=3 if number == 7 else 2)
    peer.expect(".E", 1, 2001)
    assert peer.host.counters.tcp_in_ce_segs == 1


def test_cwr_that_overtakes_a_later_mark_does_not_hide_it() -> None:
    peer = established(ecn=True)
    peer.send(".", 1, 1, bytes(100), ecn=3)
    peer.expect(".E", 1, 101)
    peer.send(".W", 101, 1, bytes(100), ecn=2)
    peer.send(".", 201, 1, bytes(100), ecn=3)
    peer.expect(".E", 1, 301)


def test_an_echo_is_ignored_by_who_marks_nothing() -> None:
    """ECN was not negotiated, or our second SYN was without."""
    peer = established()
    end = send_window(peer)
    peer.send(".E", 1, end)
    counters = peer.host.counters
    assert (counters.tcp_in_ece_segs, counters.tcp_ecn_reductions) == (0, 0)


def test_a_tail_loss_that_a_probe_repaired_is_told() -> None:
    """RFC 8985 section 7.4.2 reduces the window then: CWR goes with the next new data."""
    peer = established(NEWRENO, ecn=True, sack=True)
    peer.connection.send(bytes(3 * MSS), peer.now)
    assert {sent.ecn for sent in peer.take()} == {2}
    peer.wait(0.25)
    (probe,) = peer.take()
    assert (probe.seq, probe.ecn) == (1 + 2 * MSS, 0)
    # New data is sent behind the probe, and an ACK beyond both says that nothing was received twice.
    peer.connection.send(bytes(MSS), peer.now)
    (behind,) = peer.take()
    assert "W" not in behind.flags
    peer.send(".", 1, 1 + 4 * MSS)
    peer.connection.send(bytes(2 * MSS), peer.now)
    assert ["W" in sent.flags for sent in peer.take()] == [True, False]
