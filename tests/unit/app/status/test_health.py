"""Health checks that do not flap."""

from __future__ import annotations

import pytest

from sstpsocks.app.status.health import DOWN_FOR, STALE, UP_FOR, Health, TunnelHealth


def ready_after(*looks: tuple[float, bool]) -> bool:
    health = TunnelHealth()
    for now, usable in looks:
        health.look(now, usable=usable)
    return health.ready


def test_the_first_time_it_counts_at_once() -> None:
    assert not ready_after((0, False))
    assert ready_after((0, False), (1, True))


def test_a_tunnel_that_is_dialled_again_at_once_makes_no_difference() -> None:
    assert ready_after((0, True), (10, False), (10 + DOWN_FOR - 1, False), (10 + DOWN_FOR, True))


def test_one_that_stays_away_does() -> None:
    assert not ready_after((0, True), (10, False), (10 + DOWN_FOR, False))


def test_it_must_stay_to_count_again() -> None:
    lost = [(0.0, True), (10.0, False), (20.0, False)]
    assert not ready_after(*lost, (21, True), (21 + UP_FOR - 1, True))
    assert ready_after(*lost, (21, True), (21 + UP_FOR, True))


def test_one_that_comes_and_goes_does_not_attract_users() -> None:
    health = TunnelHealth()
    health.look(0, usable=True)
    for second in range(10, 20):
        health.look(second, usable=False)
    for second in range(20, 60):
        health.look(second, usable=second % 2 == 0)
        assert not health.ready


def test_one_that_has_stopped_is_not_ready_at_once() -> None:
    health = TunnelHealth()
    health.look(0, usable=True)
    health.look(1, usable=False, stopped=True)
    assert not health.ready


def test_the_program_is_ready_with_all_tunnels() -> None:
    health = Health(0)
    assert not health.ready
    one, two = health.tunnel("one"), health.tunnel("two")
    one.look(0, usable=True)
    assert not health.ready
    two.look(0, usable=True)
    assert health.ready


def test_a_tunnel_that_is_down_is_no_reason_to_restart() -> None:
    health = Health(0)
    health.tunnel("one").look(0, usable=False)
    health.looked(1000)
    assert health.healthy(1000)


def test_the_last_that_stopped_for_good_is() -> None:
    health = Health(0)
    one, two = health.tunnel("one"), health.tunnel("two")
    one.look(0, usable=False, stopped=True)
    assert health.healthy(0)
    two.look(0, usable=False, stopped=True)
    assert not health.healthy(0)


@pytest.mark.parametrize(("late", "healthy"), [(STALE, True), (STALE + 0.1, False)])
def test_so_is_that_nobody_looks_any_more_but_not_a_busy_moment(late: float, healthy: bool) -> None:
    health = Health(0)
    health.tunnel("one").look(0, usable=True)
    health.looked(100)
    assert health.healthy(100 + late) is healthy
