"""CUBIC (RFC 9438) and HyStart++ (RFC 9406) by themselves, and behind the interface."""

from __future__ import annotations

import copy

import pytest

from sstpsocks.errors import LocalProtocolError
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.congestion import CongestionControl, NewReno
from sstpsocks.net.tcp.cubic import BETA, C, Cubic
from sstpsocks.net.tcp.hystart import CSS_ROUNDS, HyStart
from tests.helpers.tcp_peer import established

MSS = 1000


def after_loss(cwnd: int) -> Cubic:
    """A CUBIC whose window was ``cwnd`` when it lost a segment, at time 0."""
    cubic = Cubic(MSS)
    cubic.cwnd = cwnd
    cubic.loss_detected(cwnd, 0.0)
    return cubic


def round_trips(cubic: Cubic, begin: float, end: float, rtt: float) -> None:
    """Use the whole window from ``begin`` to ``end``, one acknowledgement for each two segments."""
    now = begin
    while now < end:
        acknowledgements = max(cubic.cwnd // (2 * MSS), 1)
        for _ in range(acknowledgements):
            now += rtt / acknowledgements
            cubic.acknowledged(2 * MSS, cubic.cwnd, now, rtt)


def test_a_loss_leaves_seven_tenths() -> None:
    """RFC 9438 section 4.6."""
    cubic = after_loss(100 * MSS)
    assert cubic.ssthresh == cubic.cwnd == 70 * MSS


def test_the_window_is_back_at_w_max_after_k_seconds() -> None:
    """RFC 9438 section 4.2: K = cubic_root((W_max - cwnd_epoch) / C)."""
    cubic = after_loss(1000 * MSS)
    k = (300 / C) ** (1 / 3)
    round_trips(cubic, 0.0, k / 2, 0.1)
    # Concave: most of the way is made in the first half of the time.
    assert 940 * MSS < cubic.cwnd < 975 * MSS
    round_trips(cubic, k / 2, k, 0.1)
    assert cubic.cwnd == pytest.approx(1000 * MSS, rel=0.01)
    round_trips(cubic, k, 2 * k, 0.1)
    # Convex behind it.
    assert cubic.cwnd > 1200 * MSS


def test_in_the_reno_friendly_region_it_grows_as_reno_would() -> None:
    """RFC 9438 section 4.3: with short round trips and small windows W_est is larger than W_cubic."""
    cubic = after_loss(20 * MSS)
    round_trips(cubic, 0.0, 0.2, 0.01)
    # 20 round trips at 0.53 segments each, then at 1 from cwnd_prior on.
    assert cubic.cwnd == pytest.approx(26 * MSS, rel=0.1)


def test_fast_convergence_gives_way_when_the_window_shrinks() -> None:
    """RFC 9438 section 4.7."""
    cubic = after_loss(100 * MSS)
    cubic.loss_detected(70 * MSS, 1.0)
    assert "w_max 59500" in repr(cubic)
    assert cubic.cwnd == pytest.approx(49 * MSS, abs=1)


def test_a_window_that_is_not_used_does_not_grow_and_the_clock_stands() -> None:
    """RFC 9438 section 4.2: t does not include the time without enough data."""
    cubic = after_loss(100 * MSS)
    cubic.acknowledged(MSS, cubic.cwnd, 0.0, 0.1)
    idle = copy.copy(cubic)
    for second in range(1, 60):
        idle.acknowledged(MSS, 2 * MSS, float(second), 0.1)
    assert idle.cwnd == cubic.cwnd
    round_trips(cubic, 0.0, 1.0, 0.1)
    round_trips(idle, 59.0, 60.0, 0.1)
    assert idle.cwnd == pytest.approx(cubic.cwnd, rel=0.02)


def test_a_timeout_begins_with_one_segment_and_a_flat_function() -> None:
    """RFC 9438 section 4.8: K is 0 and W_max is cwnd in the first congestion avoidance after a timeout."""
    cubic = Cubic(MSS)
    cubic.cwnd = 100 * MSS
    cubic.retransmission_timeout(100 * MSS, 0.0, first=True)
    assert (cubic.cwnd, cubic.ssthresh) == (MSS, 70 * MSS)
    cubic.retransmission_timeout(MSS, 1.0, first=False)
    assert (cubic.cwnd, cubic.ssthresh) == (MSS, 70 * MSS)
    cubic.acknowledged(200 * MSS, 200 * MSS, 2.0, 0.1)
    assert cubic.cwnd == 70 * MSS
    cubic.acknowledged(MSS, 70 * MSS, 2.0, 0.1)
    assert "w_max 70000 k 0.00" in repr(cubic)


def test_the_window_grows_by_half_in_a_round_trip_at_most() -> None:
    """RFC 9438 section 4.2: the target is not above 1.5 cwnd."""
    cubic = after_loss(10 * MSS)
    cubic.acknowledged(MSS, 7 * MSS, 0.0, 1.0)
    before = cubic.cwnd
    cubic.acknowledged(before, before, 60.0, 1.0)
    assert cubic.cwnd == pytest.approx(1.5 * before, rel=0.01)


def test_congestion_experienced_counts_as_a_loss() -> None:
    """RFC 3168 section 6.1.2."""
    algorithms: tuple[CongestionControl, ...] = (Cubic(MSS), NewReno(MSS))
    for algorithm, left in zip(algorithms, (BETA, 0.5), strict=True):
        algorithm.congestion_experienced(10 * MSS, 0.0)
        assert algorithm.cwnd == left * 10 * MSS


def test_idleness_keeps_what_was_learned_in_ssthresh() -> None:
    cubic = after_loss(100 * MSS)
    round_trips(cubic, 0.0, 5.0, 0.1)
    cwnd = cubic.cwnd
    cubic.idle()
    assert cubic.cwnd == 10 * MSS
    assert cubic.ssthresh == max(70 * MSS, 3 * cwnd // 4)


def test_a_copy_lives_its_own_life() -> None:
    """What an unnecessary recovery is taken back with."""
    cubic = Cubic(MSS)
    prior = copy.copy(cubic)
    for _ in range(100):
        cubic.acknowledged(MSS, cubic.cwnd, 0.0, 0.1)
    cubic.loss_detected(50 * MSS, 1.0)
    assert prior.cwnd == 10 * MSS
    prior.acknowledged(MSS, 10 * MSS, 2.0, 0.1)
    assert prior.cwnd == 11 * MSS


def test_segments_have_a_size() -> None:
    with pytest.raises(LocalProtocolError):
        Cubic(0)


def test_smaller_segments_do_not_shrink_the_window() -> None:
    cubic = Cubic(MSS)
    cubic.set_mss(500)
    assert cubic.cwnd == 10 * MSS
    cubic.loss_detected(800, 0.0)
    assert cubic.ssthresh == 2 * 500


# HyStart++


def one_round(hystart: HyStart, segments: int, rtt: float) -> int:
    """Acknowledge a window of so many segments; return by how much the window grew, in segments."""
    return sum(hystart.growth(MSS, segments * MSS, rtt) for _ in range(segments)) // MSS


def test_a_growing_round_trip_time_slows_the_growth_down_and_ends_it() -> None:
    """RFC 9406 section 4.2."""
    hystart = HyStart()
    assert one_round(hystart, 16, 0.100) == 16
    assert one_round(hystart, 32, 0.105) == 32
    assert "CSS" not in repr(hystart)
    # 12.5 % more than the round before, found with the eighth sample.
    assert one_round(hystart, 64, 0.120) < 64 // 2
    assert "CSS" in repr(hystart)
    for _ in range(CSS_ROUNDS):
        assert "finished" not in repr(hystart)
        one_round(hystart, 64, 0.130)
    one_round(hystart, 1, 0.130)
    assert "finished" in repr(hystart)


def test_the_window_grows_before_the_round_trip_time_is_judged() -> None:
    """RFC 9406 section 4.2: the ACK that ends slow start counts in full, the next one a quarter."""
    hystart = HyStart()
    one_round(hystart, 16, 0.100)
    grown = 0
    while "CSS" not in repr(hystart):
        grown = hystart.growth(MSS, 32 * MSS, 0.130)
    assert grown == MSS
    assert hystart.growth(MSS, 32 * MSS, 0.130) == MSS // 4


def test_a_round_trip_time_that_falls_back_was_jitter() -> None:
    hystart = HyStart()
    one_round(hystart, 16, 0.100)
    one_round(hystart, 32, 0.130)
    assert "CSS" in repr(hystart)
    one_round(hystart, 32, 0.100)
    assert "CSS" not in repr(hystart)
    assert one_round(hystart, 32, 0.100) == 32


def test_too_few_samples_say_nothing() -> None:
    hystart = HyStart()
    for rtt in (0.1, 0.2, 0.4):
        one_round(hystart, 7, rtt)
    assert "CSS" not in repr(hystart)


def test_slow_start_ends_with_ssthresh_at_the_window() -> None:
    """RFC 9406 section 4.2, end of CSS."""
    cubic = Cubic(MSS)
    rtt = 0.05
    for _ in range(20):
        window = cubic.cwnd
        for _ in range(window // MSS):
            cubic.acknowledged(MSS, window, 0.0, rtt)
        rtt *= 1.2
    assert cubic.ssthresh <= cubic.cwnd < 200 * MSS


# The switch


def test_cubic_is_the_default_and_newreno_can_be_had() -> None:
    assert isinstance(established().connection.congestion, Cubic)
    assert isinstance(established(TcpConfig(congestion_control="newreno")).connection.congestion, NewReno)
