"""An upload gives way when the tunnel's own queue grows long (net/tcp/tunnel_queue.py)."""

from __future__ import annotations

import pytest

from sstpsocks.net.outer import ECHO_LIFETIME, OuterPath
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.tunnel_queue import SHORT_QUEUE, SMALL_WINDOW, marked
from tests.helpers.tcp_peer import Peer, established

PATH = 0.002
WINDOW = 1 << 20


def uploading(*, queue: float, echo_queue: float | None, path: float = PATH) -> tuple[Peer, OuterPath]:
    """An upload whose segments wait for ``queue`` seconds, in a tunnel whose echo requests wait for ``echo_queue``."""
    peer = established()
    connection, outer = peer.connection, OuterPath()
    peer.host.outer = outer
    connection.rtt.smallest, connection.rtt.srtt = path, path + queue
    connection.congestion.cwnd = connection.congestion.used = WINDOW
    connection.congestion.ssthresh = WINDOW
    connection.snd_max = connection.snd_una + WINDOW
    outer.echo_answered(peer.now - 10, peer.now - 10 + 0.001)
    if echo_queue is not None:
        outer.echo_answered(peer.now - 0.001 - echo_queue, peer.now)
    return peer, outer


def judge(peer: Peer) -> bool:
    connection = peer.connection
    return marked(connection, connection.snd_una, peer.now)


def window(connection: TcpConnection) -> int:
    return connection.congestion.cwnd


def test_a_long_queue_in_the_tunnel_reduces_the_window() -> None:
    peer, _outer = uploading(queue=0.03, echo_queue=0.03)
    assert judge(peer)
    assert window(peer.connection) == pytest.approx(0.7 * WINDOW, rel=0.01)
    assert peer.host.counters.tcp_tunnel_queue_reductions == 1


def test_it_does_so_once_in_a_window_of_data() -> None:
    peer, _outer = uploading(queue=0.03, echo_queue=0.03)
    assert judge(peer)
    assert not judge(peer)
    assert window(peer.connection) > WINDOW // 2


def test_a_queue_beyond_the_server_is_left_to_loss_and_ecn() -> None:
    peer, _outer = uploading(queue=0.2, echo_queue=0.001)
    assert not judge(peer)
    assert window(peer.connection) == WINDOW


def test_a_queue_that_this_upload_does_not_meet_is_not_its_own() -> None:
    peer, outer = uploading(queue=0.001, echo_queue=0.05)
    assert not judge(peer)
    assert not outer.witness_wanted


def test_half_a_round_trip_of_queue_keeps_a_long_path_full() -> None:
    peer, _outer = uploading(queue=0.04, echo_queue=0.04, path=0.1)
    assert not judge(peer)
    peer, _outer = uploading(queue=0.06, echo_queue=0.06, path=0.1)
    assert judge(peer)


def test_without_a_recent_echo_one_is_asked_for() -> None:
    peer, outer = uploading(queue=0.03, echo_queue=None)
    assert not judge(peer)
    assert outer.witness_wanted


def test_the_first_echo_is_asked_for_before_there_is_a_queue() -> None:
    # Otherwise there would be nothing to compare the later ones with.
    peer, _outer = uploading(queue=0.0, echo_queue=None)
    outer = peer.host.outer = OuterPath()
    assert not judge(peer)
    assert outer.witness_wanted


def test_a_small_window_is_left_alone() -> None:
    peer, outer = uploading(queue=0.03, echo_queue=0.03)
    peer.connection.congestion.cwnd = SMALL_WINDOW
    assert not judge(peer)
    assert not outer.witness_wanted


def test_an_echo_is_worth_nothing_after_a_while() -> None:
    outer = OuterPath()
    assert outer.echo_queue(10.0) is None
    outer.echo_answered(9.0, 9.010)
    outer.echo_answered(10.0, 10.030)
    assert outer.echo_queue(10.030) == pytest.approx(0.020)
    assert outer.echo_queue(10.030 + ECHO_LIFETIME / 2) == pytest.approx(0.020)
    assert outer.echo_queue(10.031 + ECHO_LIFETIME) is None
    assert outer.answered_through == 10.0


def test_the_queue_that_is_too_long_is_longer_than_the_jitter_of_a_loop() -> None:
    peer, _outer = uploading(queue=SHORT_QUEUE * 0.9, echo_queue=0.03)
    assert not judge(peer)
