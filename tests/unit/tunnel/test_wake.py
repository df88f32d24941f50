"""Sleep and other networks are noticed, with clocks that the test holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY
from sstpsocks.tunnel import session as session_module
from sstpsocks.tunnel import wake
from sstpsocks.tunnel.driver import Driver
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.wake import Change, ClockWatch, WayWatch, read_clocks
from tests.helpers.demo_site import DemoSite, demo_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LOOK_INTERVAL", 0.02)


class Clocks:
    """A monotonic clock that stands, and one that the test sets on."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> tuple[float, float]:
        return 1000.0, 5000.0 + self.slept


def test_a_clock_that_runs_ahead_of_the_other_means_sleep() -> None:
    watch = ClockWatch(100.0, 900.0)
    assert not watch.look(101.0, 901.0)
    assert not watch.look(102.0, 903.5)
    assert watch.look(103.0, 964.5)
    assert not watch.look(104.0, 965.5)


def test_a_wall_clock_that_is_set_back_is_no_sleep() -> None:
    watch = ClockWatch(100.0, 900.0)
    assert not watch.look(101.0, 300.0)


def test_the_clocks_of_this_machine_agree_while_it_is_awake() -> None:
    watch = ClockWatch(*read_clocks())
    assert not watch.look(*read_clocks())


def test_an_address_that_is_ours_and_leads_there_is_no_change() -> None:
    watch = WayWatch()
    assert watch.look(("127.0.0.1", "127.0.0.1")) is None
    assert watch.look(("127.0.0.1", "127.0.0.1")) is None
    assert watch.look(None) is None


def test_an_address_that_is_not_ours_any_more_is_told() -> None:
    assert WayWatch().look(("192.0.2.77", "127.0.0.1")) is Change.ADDRESS_GONE


def test_another_way_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = WayWatch()
    assert watch.look(("127.0.0.1", "127.0.0.1")) is None
    monkeypatch.setattr(wake, "_source_for", lambda _remote: "127.0.0.9")
    assert watch.look(("127.0.0.1", "127.0.0.1")) is Change.OTHER_WAY
    assert watch.look(("127.0.0.1", "127.0.0.1")) is None


async def test_after_sleep_the_server_is_asked_at_once(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    probes: list[float] = []
    asked = trio.Event()
    probe = Driver.probe

    def counted(driver: Driver, limit: float) -> None:
        probes.append(limit)
        probe(driver, limit)
        asked.set()

    monkeypatch.setattr(Driver, "probe", counted)
    clocks = Clocks()
    async with Session(site.settings(), clocks=clocks) as session:
        await trio.sleep(0.1)
        assert probes == []
        clocks.slept = 3600.0
        with trio.fail_after(5):
            await asked.wait()
        await trio.sleep(0.1)
        assert probes == [wake.PROBE_LIMIT]
        assert session.up
        assert session.record.round_trip is not None


async def test_a_local_address_that_is_gone_has_it_dialled_again(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Session(site.settings()) as session:
        await session.connect_tcp(GATEWAY, ECHO_PORT)
        with monkeypatch.context() as patch:
            patch.setattr(wake, "_is_ours", lambda _address: False)
            with trio.fail_after(5):
                while not session.record.losses:
                    await session._news.park()
        with trio.fail_after(10):
            while not session.up:
                await session._news.park()
        assert "address" in session.record.last_error


async def test_waking_cuts_the_pause_before_the_next_try(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    async with Session(site.settings(), clocks=clocks) as session, trio.open_nursery() as nursery:
        await site.stop()
        with trio.fail_after(10):
            while not session.record.connect_failures:
                await session._news.park()
        session._life.dial_at = trio.current_time() + 3600
        await trio.sleep(0.05)
        await site.start(nursery)
        session._life.dial_at = trio.current_time() + 3600
        clocks.slept = 60.0
        with trio.fail_after(10):
            while not session.up:
                await session._news.park()
        nursery.cancel_scope.cancel()
