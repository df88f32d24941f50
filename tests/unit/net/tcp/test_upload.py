"""An upload takes part in the trials of the tunnel's uploads (net/tcp/upload.py)."""

from __future__ import annotations

import pytest

from sstpsocks.net.outer import OuterPath
from sstpsocks.net.tcp.upload import reduced
from sstpsocks.net.uploads import SMALL_WINDOW
from tests.helpers.tcp_peer import Peer, established

WINDOW = 1 << 20


def uploading() -> tuple[Peer, OuterPath]:
    peer, outer = established(), OuterPath()
    connection = peer.connection
    peer.host.outer = outer
    connection.rtt.smallest = 0.001
    connection.congestion.cwnd = connection.congestion.used = connection.congestion.ssthresh = WINDOW
    connection.snd_max = connection.snd_una + WINDOW
    return peer, outer


def judge(peer: Peer, round_trip: float | None = 0.1) -> bool:
    return reduced(peer.connection, 1400, round_trip, peer.now)


def test_a_trial_reduces_the_window_once() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = 1
    assert judge(peer)
    assert not judge(peer)
    assert peer.connection.congestion.cwnd == pytest.approx(0.7 * WINDOW, rel=0.01)
    assert peer.host.counters.tcp_upload_reductions == 1


def test_a_trial_that_did_harm_gives_the_window_back() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = 1
    judge(peer)
    outer.uploads.taken_back = 1
    assert not judge(peer)
    assert peer.connection.congestion.cwnd == WINDOW


def test_a_window_that_has_grown_beyond_that_stays_as_it_is() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = 1
    judge(peer)
    peer.connection.congestion.cwnd = 2 * WINDOW
    outer.uploads.taken_back = 1
    judge(peer)
    assert peer.connection.congestion.cwnd == 2 * WINDOW


def test_a_window_that_a_loss_has_reduced_since_stays_as_it_is() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = 1
    judge(peer)
    peer.connection.congestion.loss_detected(WINDOW // 2, peer.now)
    after_the_loss = peer.connection.congestion.cwnd = max(peer.connection.congestion.cwnd, SMALL_WINDOW + 1)
    outer.uploads.taken_back = 1
    assert not judge(peer)
    assert peer.connection.congestion.cwnd == after_the_loss


def test_an_upload_that_missed_a_trial_that_did_harm_makes_it_up_for_nobody() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = outer.uploads.taken_back = 3
    assert not judge(peer)
    assert peer.connection.congestion.cwnd == WINDOW


def test_a_small_window_is_left_alone_and_not_made_smaller_than_small() -> None:
    peer, outer = uploading()
    peer.connection.congestion.cwnd = SMALL_WINDOW + 1
    outer.uploads.reduction = 1
    judge(peer)
    assert peer.connection.congestion.cwnd == SMALL_WINDOW
    outer.uploads.reduction = 2
    assert not judge(peer)


def test_without_a_measurement_or_a_tunnel_nothing_is_judged() -> None:
    peer, outer = uploading()
    outer.uploads.reduction = 1
    assert not judge(peer, None)
    peer.host.outer = None
    assert not judge(peer)
    assert peer.connection.congestion.cwnd == WINDOW
