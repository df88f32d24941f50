"""The table of states, row by row and in virtual time; and that no order of events breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import AuthenticationFailed, ConfigError, LocalProtocolError, SstpsocksError, TunnelClosed
from sstpsocks.tunnel.lifecycle import Lifecycle, ReconnectPolicy
from sstpsocks.tunnel.states import TunnelStatus

CONNECTING, UP, DEGRADED = TunnelStatus.CONNECTING, TunnelStatus.UP, TunnelStatus.DEGRADED
RECONNECTING, WAITING = TunnelStatus.RECONNECTING, TunnelStatus.WAITING
IDLE, STOPPED = TunnelStatus.IDLE, TunnelStatus.STOPPED

GONE = TunnelClosed("server closed the connection")
REFUSED = AuthenticationFailed("the server refused the password")


def make(status: TunnelStatus, *, on_demand: bool = False, **more: object) -> Lifecycle:
    """A machine in some state, at time 100."""
    life = Lifecycle(ReconnectPolicy(on_demand=on_demand, **more), SeededEntropy("life"))  # type: ignore[arg-type]
    if status in (IDLE, STOPPED) and not on_demand:
        life.end()
        return life
    if on_demand and status is not IDLE:
        life.wanted(0.0)
    if status in (UP, DEGRADED, RECONNECTING):
        life.connected(50.0)
    if status is DEGRADED:
        life.suspected()
    if status is RECONNECTING:
        life.lost(GONE, 100.0)
    if status is WAITING:
        life.asking()
    return life


ROWS: list[tuple[TunnelStatus, Callable[[Lifecycle], None], TunnelStatus]] = [
    (CONNECTING, lambda life: life.connected(100.0), UP),
    (CONNECTING, lambda life: life.asking(), WAITING),
    (CONNECTING, lambda life: life.failed(GONE, 100.0), STOPPED),
    (UP, lambda life: life.suspected(), DEGRADED),
    (UP, lambda life: life.lost(GONE, 100.0), RECONNECTING),
    (UP, lambda life: life.lost(REFUSED, 100.0), STOPPED),
    (UP, lambda life: life.unused(), IDLE),
    (DEGRADED, lambda life: life.answered(), UP),
    (DEGRADED, lambda life: life.lost(GONE, 100.0), RECONNECTING),
    (RECONNECTING, lambda life: life.connected(101.0), UP),
    (RECONNECTING, lambda life: life.asking(), WAITING),
    (RECONNECTING, lambda life: life.failed(GONE, 101.0), RECONNECTING),
    (RECONNECTING, lambda life: life.failed(REFUSED, 101.0), STOPPED),
    (RECONNECTING, lambda life: life.failed(ConfigError("the password command failed"), 101.0), STOPPED),
    (WAITING, lambda life: life.given(), CONNECTING),
    (WAITING, lambda life: life.failed(REFUSED, 101.0), STOPPED),
    (WAITING, lambda life: life.end(), STOPPED),
]

ON_DEMAND: list[tuple[TunnelStatus, Callable[[Lifecycle], None], TunnelStatus]] = [
    (IDLE, lambda life: life.wanted(100.0), CONNECTING),
    (CONNECTING, lambda life: life.failed(GONE, 100.0, wanted=False), IDLE),
    (CONNECTING, lambda life: life.failed(GONE, 100.0, wanted=True), RECONNECTING),
    (CONNECTING, lambda life: life.failed(REFUSED, 100.0, wanted=True), STOPPED),
    (UP, lambda life: life.lost(GONE, 100.0), RECONNECTING),
    (UP, lambda life: life.unused(), IDLE),
    (RECONNECTING, lambda life: life.failed(GONE, 101.0, wanted=False), IDLE),
]


@pytest.mark.parametrize(("before", "event", "after"), ROWS)
def test_the_table(before: TunnelStatus, event: Callable[[Lifecycle], None], after: TunnelStatus) -> None:
    life = make(before)
    assert life.status is before
    event(life)
    assert life.status is after


@pytest.mark.parametrize(("before", "event", "after"), ON_DEMAND)
def test_the_table_on_demand(before: TunnelStatus, event: Callable[[Lifecycle], None], after: TunnelStatus) -> None:
    life = make(before, on_demand=True)
    assert life.status is before
    event(life)
    assert life.status is after


def test_without_reconnect_a_loss_is_the_end() -> None:
    life = make(UP, reconnect=False)
    life.lost(GONE, 100.0)
    assert life.status is STOPPED


def test_the_first_try_comes_at_once_and_others_after_a_moment() -> None:
    life = make(RECONNECTING)
    assert life.dial_at == 100.0
    life.failed(GONE, 101.0)
    assert 101.5 <= life.dial_at <= 102.0


def test_after_five_minutes_tries_are_gentle() -> None:
    life = make(RECONNECTING)
    life.failed(GONE, 401.0)
    assert 416.0 <= life.dial_at <= 431.0


def test_waking_makes_them_eager_again() -> None:
    life = make(RECONNECTING)
    life.failed(GONE, 401.0)
    life.hurry(402.0)
    assert life.dial_at == 402.0
    life.failed(GONE, 403.0)
    assert 403.5 <= life.dial_at <= 404.0


def test_a_tunnel_that_falls_at_once_was_only_another_try() -> None:
    life = make(RECONNECTING)
    life.connected(100.5)
    life.lost(GONE, 101.0)
    assert life.dial_at >= 101.5
    life.connected(102.0)
    life.lost(GONE, 120.0)
    assert life.dial_at == 120.0


def test_the_budget_ends_an_outage_and_not_the_next() -> None:
    life = make(UP, budget=10.0)
    life.lost(GONE, 100.0)
    life.failed(GONE, 105.0)
    assert life.status is RECONNECTING
    life.connected(106.0)
    life.lost(GONE, 200.0)
    life.failed(GONE, 205.0)
    assert life.status is RECONNECTING
    life.failed(GONE, 209.8)
    assert life.status is STOPPED


def test_a_new_wish_does_not_cut_the_pause_after_a_failed_try() -> None:
    life = make(CONNECTING, on_demand=True)
    life.failed(GONE, 100.0, wanted=False)
    life.wanted(100.1)
    assert life.dial_at >= 100.5


def test_stopped_is_for_good() -> None:
    life = make(STOPPED)
    with pytest.raises(LocalProtocolError):
        life.connected(100.0)
    with pytest.raises(LocalProtocolError):
        life.wanted(100.0)


EVENTS = ["connected", "suspected", "answered", "lost", "failed", "asking", "given", "unused", "wanted", "hurry", "end"]


@settings(deadline=None, max_examples=150)
@given(
    st.booleans(),
    st.none() | st.floats(1, 100),
    st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from([GONE, REFUSED]), st.floats(0, 60))),
)
def test_any_order_of_events_is_taken_or_refused_whole(
    on_demand: bool, budget: float | None, events: list[tuple[str, SstpsocksError, float]]
) -> None:
    life = Lifecycle(ReconnectPolicy(on_demand=on_demand, budget=budget), SeededEntropy("life"))
    now = 0.0
    for name, error, pause in events:
        now += pause
        before = life.status
        arguments: dict[str, tuple[object, ...]] = {
            "connected": (now,), "lost": (error, now), "failed": (error, now), "wanted": (now,), "hurry": (now,),
        }  # fmt: skip
        try:
            getattr(life, name)(*arguments.get(name, ()))
        except LocalProtocolError:
            assert life.status is before
        if before is STOPPED:
            assert life.status is STOPPED
        if name in ("lost", "failed") and error is REFUSED and life.status is not before:
            assert life.status is STOPPED
        if life.status is RECONNECTING and before is not RECONNECTING:
            assert now <= life.dial_at or before is WAITING
