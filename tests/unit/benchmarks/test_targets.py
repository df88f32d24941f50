"""What is wanted is held against what was measured."""

from __future__ import annotations

import pytest

from benchmarks import targets
from benchmarks.cases import all_cases
from benchmarks.figures import Better, Measurement
from benchmarks.results import CaseResult, PeerResult
from benchmarks.targets import Target


def measured(*, ours: float, theirs: float, key: str = "MB/s", compiled: float | None = None) -> dict[str, CaseResult]:
    better: Better = "less" if key.endswith("ms") else "more"
    peers = {"sstpsocks": PeerResult("ours", ours=True), "other": PeerResult("other")}
    peers["sstpsocks"].add({key: Measurement(ours, better=better)})
    peers["other"].add({key: Measurement(theirs, better=better)})
    if compiled is not None:
        peers["sstpsocks-compiled"] = PeerResult("compiled", ours=True)
        peers["sstpsocks-compiled"].add({key: Measurement(compiled, better=better)})
    return {"case": CaseResult("", {}, {}, peers)}


def target(**changes: object) -> Target:
    values = {
        "name": "n",
        "measure": "m",
        "case": "case",
        "key": "MB/s",
        "must": (2.0, 3.0),
        "stretch": 5.0,
        "unit": "x",
    }
    values |= {"how": "times", "other": "other"} | changes
    return Target(**values)  # type: ignore[arg-type]  # from a dictionary


def row(wanted: Target, cases: dict[str, CaseResult], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(targets, "TARGETS", (wanted,))
    (found,) = targets.target_rows(cases)
    return found


def test_each_build_has_its_own_must(monkeypatch: pytest.MonkeyPatch) -> None:
    found = row(target(), measured(ours=25.0, theirs=10.0, compiled=25.0), monkeypatch)
    assert found == ["m", "2x / 3x", "5x", "2.5x, reached", "**2.5x, missed**"]


def test_a_figure_beyond_the_stretch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = row(target(), measured(ours=50.0, theirs=10.0), monkeypatch)
    assert found[3:] == ["5x, stretch reached", "not measured"]


def test_a_figure_can_lie_above_another(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = target(key="p50 ms", how="above", must=(1.5, 1.5), stretch=0.8, less=True, unit=" ms")
    found = row(wanted, measured(ours=1.5, theirs=0.5, key="p50 ms"), monkeypatch)
    assert found[1:4] == ["1.5 ms", "0.8 ms", "1 ms, reached"]


def test_small_is_good_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = target(key="p99 ms", how="value", must=(15.0, 15.0), stretch=8.0, less=True, unit=" ms")
    found = row(wanted, measured(ours=16.0, theirs=1.0, key="p99 ms"), monkeypatch)
    assert found[3] == "**16 ms, missed**"


def test_what_was_not_measured_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", (target(case="another"),))
    assert targets.target_rows(measured(ours=1.0, theirs=1.0)) == []


def test_a_reason_is_told_only_for_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "TARGETS", (target(),))
    monkeypatch.setattr(targets, "WHY", {"n": "the moon"})
    assert targets.misses(measured(ours=10.0, theirs=10.0)) == ["* m: the moon"]
    assert targets.misses(measured(ours=30.0, theirs=10.0)) == []


def test_every_target_is_of_a_case_that_there_is() -> None:
    assert {wanted.case for wanted in targets.TARGETS} <= {case.name for case in all_cases()}
