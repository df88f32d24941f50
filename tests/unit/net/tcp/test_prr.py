"""Proportional rate reduction: RFC 9937."""

from __future__ import annotations

import pytest

from sstpsocks.net.tcp.prr import Prr
from tests.helpers.sack_peer import RTT, SackPeer
from tests.helpers.tcp_peer import MSS


def test_the_rate_falls_in_proportion_while_too_much_is_in_flight() -> None:
    prr = Prr()
    prr.begin(20_000)
    in_flight = 20_000
    for _ in range(9):
        in_flight -= 1000
        prr.acknowledged(1000, in_flight, 10_000, 1000, safe_ack=False)
        while prr.snd_cnt >= 1000:
            prr.sent(1000)
            in_flight += 1000
    # Half of what arrived went out again, evenly, in whole segments.
    assert (prr.prr_delivered, prr.prr_out, prr.snd_cnt) == (9000, 4000, 500)


def test_below_ssthresh_what_arrives_goes_out_again() -> None:
    """PRR-CRB: "conservative reduction bound", packet conservation."""
    prr = Prr()
    prr.begin(20_000)
    prr.sent(1000)
    prr.acknowledged(2000, 5000, 10_000, 1000, safe_ack=False)
    assert prr.snd_cnt == 2000


def test_below_ssthresh_a_safe_ack_lets_one_more_segment_out() -> None:
    """PRR-SSRB: "slow start reduction bound"."""
    prr = Prr()
    prr.begin(20_000)
    prr.sent(1000)
    prr.acknowledged(2000, 5000, 10_000, 1000, safe_ack=True)
    assert prr.snd_cnt == 3000
    # But never past ssthresh.
    prr.acknowledged(5000, 9500, 10_000, 1000, safe_ack=True)
    assert prr.snd_cnt == 500


def test_the_first_retransmission_always_goes() -> None:
    """ "Force a fast retransmit upon entering recovery"."""
    prr = Prr()
    prr.begin(20_000)
    prr.acknowledged(0, 20_000, 10_000, 1000, safe_ack=False)
    assert prr.snd_cnt == 1000


@pytest.mark.parametrize("lost", [1, 5, 9, 15])
def test_recovery_never_stops_the_ack_clock_and_ends_at_ssthresh(lost: int) -> None:
    """Twenty segments in flight, the first of them lost: the acknowledgements of the rest let something out in time."""
    peer = SackPeer(200)
    for segment in peer.sent():
        peer.arrives(segment)
    under_way = peer.sent()
    assert under_way == list(range(10, 30))
    silent = longest = 0
    dropped = set(range(10, 10 + lost))
    rounds = 0
    # What is lost is lost once, everything else arrives in the order in which it was sent.
    while peer.recovering() or not rounds:
        rounds += 1
        peer.after(RTT - 0.03)
        next_under_way = []
        for segment in under_way:
            if segment in dropped:
                dropped.remove(segment)
                continue
            peer.after(0.001).arrives(segment)
            now = peer.sent()
            next_under_way += now
            silent = 0 if now else silent + 1
            longest = max(longest, silent)
            assert peer.board.pipe >= min(peer.connection.congestion.ssthresh, 19 - lost) - MSS
        under_way = next_under_way
    assert longest <= 2
    # With less than ssthresh in flight the window must grow again before everything can be sent.
    assert rounds == (2 if lost < 10 else 3)
    assert peer.peer.host.counters.tcp_retrans_segs == lost
    assert peer.connection.congestion.ssthresh == pytest.approx(10 * MSS, abs=2 * MSS)
    assert peer.board.pipe == pytest.approx(peer.connection.congestion.ssthresh, abs=3 * MSS)
