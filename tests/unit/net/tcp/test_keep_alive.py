"""Keep-alive (RFC 9293 section 3.8.4) and the user timeout of a connection (RFC 5482)."""

from __future__ import annotations

import pytest

from sstpsocks.errors import ConnectionLost
from sstpsocks.net.tcp.config import TcpConfig
from tests.helpers.tcp_peer import Peer, established

KEPT = TcpConfig(keep_alive=True)
HOURS = 3600.0


def quiet(peer: Peer, seconds: float) -> float:
    """Wait for something to be sent; return after how long."""
    before = peer.now
    peer.wait(seconds)
    return peer.now - before


def test_nothing_is_sent_by_default() -> None:
    """MUST-25."""
    peer = established()
    assert quiet(peer, 100 * HOURS) == 100 * HOURS
    peer.expect_nothing()
    peer.expect_no_error()


def test_the_first_probe_comes_after_two_hours_and_repeats_the_last_octet_sent() -> None:
    """MUST-28, SHLD-12."""
    peer = established(KEPT)
    assert quiet(peer, 3 * HOURS) == pytest.approx(2 * HOURS)
    peer.expect(".", 0, 1)
    # An answer, whatever it is, begins a new interval.
    peer.send(".", 1, 1)
    assert quiet(peer, 3 * HOURS) == pytest.approx(2 * HOURS)
    peer.expect(".", 0, 1)
    assert peer.host.counters.tcp_keep_alives == 2


def test_what_arrives_puts_the_probe_off() -> None:
    """MUST-26."""
    peer = established(KEPT)
    peer.now += 1.5 * HOURS
    peer.send(".", 1, 1)
    assert quiet(peer, 3 * HOURS) == pytest.approx(2 * HOURS)
    peer.expect(".", 0, 1)


def test_only_many_probes_without_an_answer_end_a_connection() -> None:
    """MUST-29: no specific probe counts."""
    peer = established(KEPT)
    for _ in range(9):
        peer.wait(3 * HOURS)
        peer.expect(".", 0, 1)
        peer.expect_no_error()
    peer.wait(3 * HOURS)
    assert isinstance(peer.connection.error, ConnectionLost)


def test_an_answer_between_forgives_the_missing_ones() -> None:
    peer = established(KEPT)
    for _ in range(3):
        for _ in range(8):
            peer.wait(3 * HOURS)
            peer.expect(".", 0, 1)
        peer.send(".", 1, 1)
    peer.expect_no_error()


def test_data_in_flight_has_timers_of_its_own() -> None:
    """MUST-26: "when no sent data is outstanding"."""
    peer = established(TcpConfig(keep_alive=True, keep_alive_idle=1.0, max_rto=60.0))
    peer.connection.send(b"x", peer.now)
    peer.take()
    for _ in range(5):
        peer.wait(100)
        peer.expect("P.", 1, 1, b"x")
    assert peer.host.counters.tcp_keep_alives == 0


def test_the_timer_stops_with_the_connection() -> None:
    peer = established(KEPT)
    peer.send("R.", 1, 1)
    assert peer.host.poll_at() is None


def test_a_connection_has_a_user_timeout_of_its_own() -> None:
    peer = established()
    peer.connection.set_user_timeout(2.0)
    peer.connection.send(b"x", peer.now)
    begin = peer.now
    while peer.connection.error is None:
        peer.take()
        peer.wait(0.5)
    assert 2.0 <= peer.now - begin < 5.0
