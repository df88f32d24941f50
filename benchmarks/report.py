"""Results as Markdown: first what was wanted, then a table of each case with its ratios and costs.

Figures of a run whose name has a colon ("ocproxy: us/packet") are of one process: they get a table of their own with a
row for each process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.figures import Summary, ratio
from benchmarks.results import CaseResult
from benchmarks.targets import HEAD as TARGETS_HEAD
from benchmarks.targets import misses, target_rows

HEAD = """# Results of the benchmarks

Written by `python -m benchmarks`; docs/benchmarks.md tells what is measured and how. Everything runs on one machine
and shares its cores: client, server, target and the program that measures. So MB/s stands beside the CPU time of the
client. Cells are medians of the runs with the least and the greatest in parentheses. A ratio over 1 says that we are
better: the ratio of medians, and in parentheses the range of the ratios of runs that followed each other.
"""


def number(value: float) -> str:
    """Return a number with three digits or so."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:.0f}"
    if magnitude >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 1 else f"{value:.3f}"


def cell(summary: Summary | None) -> str:
    """Return a median and its range."""
    if summary is None:
        return ""
    text = number(summary.median)
    if len(summary.values) > 1:
        text += f" ({number(summary.least)} to {number(summary.greatest)})"
    return f"{text} {summary.unit}".rstrip()


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(text.replace("|", "/") for text in row) + " |" for row in rows] + [""]


def keys_of(summaries: Iterable[Mapping[str, Summary]]) -> list[str]:
    """Return all names of figures in the order in which they first come."""
    found: dict[str, None] = {}
    for each in summaries:
        found.update(dict.fromkeys(each))
    return list(found)


def conditions_text(conditions: Mapping[str, object]) -> str:
    """Return what is not as usual."""
    names = {
        "pack": "{} packets per TLS record",
        "delay": "{} s of delay each way between client and gateway",
        "loss": "a share of {} of the packets lost between gateway and target, each way",
        "target_delay": "{} s of delay each way between gateway and target",
    }
    said = [f"packets of up to {conditions['mtu']} octets"]
    for name, value in conditions.items():
        if name != "mtu" and value:
            said.append(names.get(name, name.replace("_", " ") + " {}").format(value))
    return ", ".join(said)


def markdown(cases: Mapping[str, CaseResult]) -> str:
    """Return the whole report."""
    lines = [HEAD]
    if wanted := target_rows(cases):
        lines += ["## What is wanted", "", *table(TARGETS_HEAD, wanted)]
        if reasons := misses(cases):
            lines += ["Where it was missed:", "", *reasons, ""]
    for name, case in cases.items():
        lines += case_lines(name, case)
    lines += circumstances_lines(cases)
    return "\n".join(lines).rstrip() + "\n"


def case_lines(name: str, case: CaseResult) -> list[str]:
    """Return the part of one case."""
    summaries = {peer: result.figures for peer, result in case.peers.items() if result.runs}
    keys = [key for key in keys_of(summaries.values()) if ": " not in key]
    lines = [f"## {case.title}", "", f"`{name}`: {conditions_text(case.conditions)}; {runs_text(case)}.", ""]
    rows = [[case.peers[peer].title, *(cell(found.get(key)) for key in keys)] for peer, found in summaries.items()]
    lines += table(("", *keys), rows)
    lines += ratio_lines(case, summaries, keys)
    lines += process_lines(case, summaries)
    skipped = [f"{result.title}: {result.skipped}" for result in case.peers.values() if result.skipped]
    if skipped:
        lines += [f"* {' '.join(reason.split())}" for reason in skipped] + [""]
    return lines


def runs_text(case: CaseResult) -> str:
    """Return how many runs there were, of which commit, under which load."""
    counts = {result.runs for result in case.peers.values() if result.runs}
    runs = " or ".join(str(count) for count in sorted(counts)) or "no"
    told = case.circumstances
    load = f"load average {told['load before']} before and {told.get('load after', '?')} after"
    kind = "short runs" if "quick" in told else "runs"
    return f"{runs} {kind} in turn, commit {told['commit']}, {told['date']}, {load}"


def ratio_lines(case: CaseResult, summaries: Mapping[str, Mapping[str, Summary]], keys: list[str]) -> list[str]:
    """Return how our builds compare with every other peer."""
    rows = []
    shown = [key for key in keys if any(key in found for name, found in summaries.items() if not case.peers[name].ours)]
    for ours, found in summaries.items():
        if not case.peers[ours].ours:
            continue
        for other, theirs in summaries.items():
            if other == ours or (case.peers[other].ours and list(summaries).index(other) < list(summaries).index(ours)):
                continue
            cells = [ratio_cell(found.get(key), theirs.get(key)) for key in shown]
            if any(cells):
                rows.append([f"{case.peers[ours].title} over {case.peers[other].title}", *cells])
    shown_columns = [index for index in range(len(shown)) if any(row[index + 1] for row in rows)]
    if not rows:
        return []
    head = ("ratios", *(shown[index] for index in shown_columns))
    return table(head, [[row[0], *(row[index + 1] for index in shown_columns)] for row in rows])


def ratio_cell(ours: Summary | None, theirs: Summary | None) -> str:
    """Return one ratio and its range."""
    found = ratio(ours, theirs) if ours is not None and theirs is not None else None
    if found is None:
        return ""
    return f"{number(found.of_medians)} ({number(min(found.paired))} to {number(max(found.paired))})"


def process_lines(case: CaseResult, summaries: Mapping[str, Mapping[str, Summary]]) -> list[str]:
    """Return what each process took."""
    split = [key.split(": ", 1) for key in keys_of(summaries.values()) if ": " in key]
    columns = list(dict.fromkeys(column for _, column in split))
    rows = []
    for peer, found in summaries.items():
        processes = dict.fromkeys(key.split(": ", 1)[0] for key in found if ": " in key)
        for process in processes:
            cells = [cell(found.get(f"{process}: {column}")) for column in columns]
            rows.append([case.peers[peer].title, process, *cells])
    return table(("", "process", *columns), rows) if rows else []


def circumstances_lines(cases: Mapping[str, CaseResult]) -> list[str]:
    """Return where the figures come from."""
    facts: dict[str, dict[str, None]] = {}
    for case in cases.values():
        for key in ("machine", "python", "libraries"):
            facts.setdefault(key, {})[case.circumstances[key]] = None
        for result in case.peers.values():
            if result.version:
                facts.setdefault(result.title, {})[result.version] = None
    lines = ["## Machine and versions", ""]
    return lines + [f"* {key}: {'; '.join(values)}" for key, values in facts.items()]
