"""When a server is asked, suspected and given up, in virtual time."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import PeerUnresponsive
from sstpsocks.tunnel.liveness import SUSPICION, Finding, Liveness
from tests.helpers.certificates import Issued
from tests.helpers.driver_pair import DriverPair

Clock = trio.testing.MockClock


def test_without_a_limit_what_is_sent_wants_no_answer() -> None:
    liveness = Liveness()
    liveness.sent(1.0)
    assert liveness.poll_at() is None
    assert liveness.handle_timer(1e6) is None


def test_with_a_limit_it_asks_first_and_then_gives_up() -> None:
    liveness = Liveness(3.0)
    liveness.sent(10.0)
    assert liveness.poll_at() == 11.0
    assert liveness.handle_timer(10.9) is None
    assert liveness.handle_timer(11.0) is Finding.ASK
    assert liveness.handle_timer(12.9) is None
    assert liveness.handle_timer(13.0) is Finding.DEAD


def test_anything_that_comes_is_life() -> None:
    liveness = Liveness(3.0)
    liveness.sent(10.0)
    liveness.handle_timer(11.0)
    assert liveness.heard() is False
    assert liveness.poll_at() is None


def test_who_does_not_answer_a_question_is_suspected_and_cleared() -> None:
    liveness = Liveness()
    liveness.asked(20.0)
    assert liveness.poll_at() == 20.0 + SUSPICION
    assert liveness.handle_timer(20.0 + SUSPICION) is Finding.SUSPECT
    assert liveness.handle_timer(30.0) is None
    assert liveness.heard() is True
    assert liveness.heard() is False


def test_a_probe_has_its_own_limit_once() -> None:
    liveness = Liveness()
    liveness.probe(100.0, 5.0)
    assert liveness.handle_timer(103.0) is Finding.SUSPECT
    assert liveness.handle_timer(105.0) is Finding.DEAD
    liveness.probe(200.0, 5.0)
    liveness.heard()
    liveness.sent(201.0)
    assert liveness.poll_at() is None


@settings(deadline=None, max_examples=150)
@given(
    st.none() | st.floats(0.5, 60),
    st.lists(st.tuples(st.sampled_from(["heard", "sent", "asked", "probe", "timer"]), st.floats(0, 20))),
)
def test_the_timer_always_moves_on(limit: float | None, events: list[tuple[str, float]]) -> None:
    liveness = Liveness(limit)
    now = 0.0
    for name, pause in events:
        now += pause
        match name:
            case "heard":
                liveness.heard()
            case "sent":
                liveness.sent(now)
            case "asked":
                liveness.asked(now)
            case "probe":
                liveness.probe(now, 5.0)
        for _round in range(4):
            if liveness.handle_timer(now) is None:
                break
        due = liveness.poll_at()
        assert due is None or due > now


@pytest.mark.parametrize(("limit", "longest"), [(None, 45.0), (3.0, 3.1)])
async def test_a_path_that_swallows_everything_is_found_in_time(
    autojump_clock: Clock,
    good: Issued,
    ca_file: str,
    monkeypatch: pytest.MonkeyPatch,
    limit: float | None,
    longest: float,
) -> None:
    pair = DriverPair(good, ca_file)
    suspicions: list[bool] = []
    pair.client.driver._liveness = Liveness(limit)
    pair.client.driver._on_suspicion = suspicions.append
    async with trio.open_nursery() as nursery, trio.open_nursery() as servers:
        servers.start_soon(pair.server.run)
        nursery.start_soon(pair.client.run)
        await pair.client.up.wait()
        await pair.server.up.wait()
        await trio.sleep(1)
        for side in (pair.client, pair.server):
            monkeypatch.setattr(side.transport, "send_nowait", len)
        begun = trio.current_time()
        pair.client.driver.act(lambda: pair.client.link.send_witness(begun))
        await pair.client.ended.wait()
        assert trio.current_time() - begun <= longest
        assert isinstance(pair.client.link.error, PeerUnresponsive)
        servers.cancel_scope.cancel()
    assert suspicions == ([True] if limit is None else [])


async def test_a_quiet_server_that_answers_echoes_stays(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    pair = DriverPair(good, ca_file)
    pair.client.driver._liveness = Liveness(3.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.server.run)
        nursery.start_soon(pair.client.run)
        await pair.client.up.wait()
        await trio.sleep(3600)
        assert pair.client.link.error is None
        pair.client.driver.probe(5.0)
        await trio.sleep(10)
        assert pair.client.link.error is None
        assert pair.client.link.echo_seconds is not None
        nursery.cancel_scope.cancel()
