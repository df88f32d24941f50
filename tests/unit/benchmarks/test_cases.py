"""What the benchmark cases make of what they measured."""

from __future__ import annotations

import pytest

from benchmarks.cases import distance, memory, startup
from benchmarks.rig.datagrams import Count
from benchmarks.rig.steps import Watch
from sstpsocks.tunnel.steps import Step, StepReport


def test_memory_that_grows_to_the_end_is_seen() -> None:
    steady = memory.figures(30_000_000, [30_000_000] * 20 + [40_000_000] * 60)
    assert steady["greatest MB"].value == 40.0
    assert steady["gained at the end MB"].value == 0.0
    leak = memory.figures(30_000_000, [30_000_000 + number * 100_000 for number in range(80)])
    assert leak["gained at the end MB"].value == pytest.approx(2.0)


def test_a_step_takes_from_the_end_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("benchmarks.rig.steps.time.monotonic", lambda: clock)
    watch = Watch()
    for step in (Step.TCP, Step.TLS, Step.HTTP, Step.SSTP, Step.LCP, Step.AUTHENTICATION, Step.ADDRESSES):
        watch.observe(StepReport(step, False, "begins"))
        clock += 0.1
        watch.observe(StepReport(step, True, "done"))
    taken = watch.milliseconds()
    # TLS has the time of TCP in it.
    assert list(taken) == ["TLS", "HTTP", "SSTP", "LCP", "authentication", "addresses"]
    assert list(taken.values()) == pytest.approx([200, 100, 100, 100, 100, 100])


def test_the_steps_are_told_beside_their_sum() -> None:
    figures = startup.told("round trips", {"TLS": 2.02, "HTTP": 0.99}, 3)
    assert {name: figure.value for name, figure in figures.items()} == {
        "TCP to ready, round trips": 3,
        "TCP and TLS, round trips": 2.02,
        "HTTP, round trips": 0.99,
    }


def test_what_does_not_come_back_is_lost() -> None:
    count = Count()
    count.under_way = 4
    count.echoed()
    count.gave_up()
    assert (count.echoes, count.lost, count.under_way) == (1, 3, 0)
    assert count.result()["lost %"] == 75.0


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in (*distance.cases(), *memory.cases(), *startup.cases())]
    assert len(set(names)) == len(names)
    assert "distant-down-loss-0.1" in names
