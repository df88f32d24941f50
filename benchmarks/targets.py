"""What is wanted, beside what was measured, for each of our builds.

*Must* is what a build has to reach, *stretch* what would be splendid. A figure is a value of ours, how much better than
another peer's it is, or how far above another peer's it lies. ``WHY`` in misses.py tells why a figure was missed: the
reasons are found by hand, with a profile, and belong to the results of one time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Summary, ratio
from benchmarks.misses import WHY
from benchmarks.results import CaseResult

BUILDS = ("sstpsocks", "sstpsocks-compiled")
HEAD = ("measure", "must", "stretch", "interpreted", "compiled")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One thing that is wanted."""

    name: str
    measure: str
    case: str
    key: str
    """Of the figure."""
    must: tuple[float | None, float | None]
    """Of the interpreted and of the compiled build; None where nothing is wanted."""
    stretch: float
    how: Literal["value", "times", "above"] = "value"
    other: str = ""
    """The peer to compare with."""
    unit: str = ""
    less: bool = False
    """Whether the figure should be small."""

    def measured(self, cases: Mapping[str, CaseResult], build: str) -> float | None:
        """Return the figure of a build, if there are results for it."""
        ours = find(cases, self.case, build, self.key)
        if ours is None or self.how == "value":
            return None if ours is None else ours.median
        theirs = find(cases, self.case, self.other, self.key)
        if theirs is None:
            return None
        if self.how == "above":
            return ours.median - theirs.median
        found = ratio(ours, theirs)
        return None if found is None else found.of_medians

    def reached(self, value: float, wanted: float) -> bool:
        """Whether a figure is good enough."""
        return value <= wanted if self.less else value >= wanted

    def told(self, value: float | None) -> str:
        """Return a figure with its unit."""
        if value is None:
            return ""
        if self.unit == "%":
            return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"
        return f"{value:.3g}{self.unit}" if value < 1000 else f"{value:.0f}{self.unit}"


def find(cases: Mapping[str, CaseResult], case: str, peer: str, key: str) -> Summary | None:
    """Return the figures of a peer in a case."""
    if case not in cases or peer not in cases[case].peers:
        return None
    return cases[case].peers[peer].figures.get(key)


def over(name: str, measure: str, case: str, other: str, must: tuple[float | None, float], stretch: float) -> Target:
    """Return a target for how many times the rate of another peer ours is."""
    return Target(
        name=name,
        measure=measure,
        case=case,
        key="MB/s",
        must=must,
        stretch=stretch,
        how="times",
        other=other,
        unit="x",
    )


def share(name: str, measure: str, case: str, must: tuple[float, float], stretch: float) -> Target:
    """Return a target for the share of what pyOpenSSL alone could do."""
    return Target(
        name=name, measure=measure, case=case, key="share of pyOpenSSL alone", must=must, stretch=stretch, unit="%"
    )


def most(name: str, measure: str, case: str, key: str, must: float, stretch: float, unit: str = "") -> Target:
    """Return a target for a figure of both builds that should be small."""
    return Target(
        name=name, measure=measure, case=case, key=key, must=(must, must), stretch=stretch, unit=unit, less=True
    )


def least(name: str, measure: str, case: str, key: str, must: float, stretch: float, unit: str = "") -> Target:
    """Return a target for a figure of both builds that should be large."""
    return Target(name=name, measure=measure, case=case, key=key, must=(must, must), stretch=stretch, unit=unit)


OCPROXY, KERNEL = "ocproxy", "openconnect-tun"
TARGETS = (
    over("down", "download over openconnect + ocproxy", "bulk-down", OCPROXY, (1.5, 3.0), 5.0),
    over("up", "upload over openconnect + ocproxy", "bulk-up", OCPROXY, (1.5, 3.0), 5.0),
    over("down-kernel", "download over openconnect, kernel TCP", "bulk-down", KERNEL, (None, 1.0), 2.0),
    share("share-down", "share of pyOpenSSL alone, download, packed records", "bulk-down", (0.15, 0.40), 0.60),
    share(
        "share-down-single",
        "share of pyOpenSSL alone, download, one packet per record",
        "bulk-down-single",
        (0.40, 0.70),
        0.85,
    ),
    share("share-up", "share of pyOpenSSL alone, upload, packed records", "bulk-up", (0.12, 0.30), 0.50),
    share(
        "share-up-single",
        "share of pyOpenSSL alone, upload, one packet per record",
        "bulk-up-single",
        (0.35, 0.60),
        0.80,
    ),
    over("distant", "download at 50 ms over ocproxy", "distant-down", OCPROXY, (15.0, 15.0), 25.0),
    over("distant-kernel", "download at 50 ms over kernel TCP", "distant-down", KERNEL, (1.0, 1.0), 1.5),
    over("loss-down", "download, 1 % loss, 50 ms, over kernel TCP", "distant-down-loss-1", KERNEL, (1.0, 1.0), 1.3),
    over("loss-up", "upload, 1 % loss, 50 ms, over kernel TCP", "distant-up-loss-1", KERNEL, (1.0, 1.0), 1.3),
    Target(
        name="request",
        measure="new request, p50 above direct",
        case="requests",
        key="p50 ms",
        must=(1.5, 1.5),
        stretch=0.8,
        how="above",
        other="direct",
        unit=" ms",
        less=True,
    ),
    most("during-down", "new request during a download, p99", "requests-during-down", "p99 ms", 15, 8, " ms"),
    most("during-up", "new request during an upload, p99", "requests-during-up", "p99 ms", 15, 8, " ms"),
    least("parallel", "50 parallel new connections", "requests-parallel", "connections/s", 800, 2000, "/s"),
    least("fair", "8 parallel downloads, slowest/fastest", "flows-8-down", "slowest/fastest", 0.9, 0.97),
    most("idle", "resident memory, idle", "held-1000", "idle MB", 45, 35, " MB"),
    most("held", "resident memory for a held connection", "held-1000", "KB/connection", 15, 8, " KB"),
    most("held-request", "new request beside 10,000 held, p99", "held-10000", "new request p99 ms", 10, 10, " ms"),
    most("help", "`--help`", "start-program", "--help ms", 150, 80, " ms"),
    most("first-packet", "start to first packet", "start-program", "start to first packet ms", 400, 250, " ms"),
    most("round-trips", "round trips from TCP to ready", "start-distant", "TCP to ready, round trips", 9, 9),
)


def target_rows(cases: Mapping[str, CaseResult]) -> list[list[str]]:
    """Return a row for each target that there are results for."""
    rows = []
    for target in TARGETS:
        values = [target.measured(cases, build) for build in BUILDS]
        if any(value is not None for value in values):
            verdicts = [verdict(target, value, must) for value, must in zip(values, target.must, strict=True)]
            rows.append([target.measure, must_text(target), target.told(target.stretch), *verdicts])
    return rows


def must_text(target: Target) -> str:
    """Return what both builds must reach."""
    interpreted, compiled = (target.told(value) for value in target.must)
    if interpreted == compiled:
        return interpreted
    return f"{interpreted or '-'} / {compiled or '-'}"


def verdict(target: Target, value: float | None, must: float | None) -> str:
    """Return a figure and whether it is reached."""
    if value is None:
        return "not measured"
    text = target.told(value)
    if target.reached(value, target.stretch):
        return f"{text}, stretch reached"
    if must is None:
        return text
    return f"{text}, reached" if target.reached(value, must) else f"**{text}, missed**"


def misses(cases: Mapping[str, CaseResult]) -> list[str]:
    """Return why figures were missed, those that were and for which a reason is known."""
    lines = []
    for target in TARGETS:
        values = [target.measured(cases, build) for build in BUILDS]
        missed = any(
            value is not None and must is not None and not target.reached(value, must)
            for value, must in zip(values, target.must, strict=True)
        )
        if missed and target.name in WHY:
            lines.append(f"* {target.measure}: {WHY[target.name]}")
    return lines
