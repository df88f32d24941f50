"""Results are kept in a file and shown as tables."""

from __future__ import annotations

from pathlib import Path

from benchmarks import report, results
from benchmarks.figures import Measurement, Summary
from benchmarks.results import CaseResult, PeerResult

CIRCUMSTANCES = {
    "commit": "abcdef0123",
    "date": "2026-01-02 03:04 UTC",
    "machine": "2 cores",
    "python": "CPython 3.11.7",
    "libraries": "trio 1",
    "load before": "0.1",
    "load after": "0.2",
}


def run(rate: float, cost: float, process: str) -> dict[str, Measurement]:
    return {
        "MB/s": Measurement(rate),
        "ms/MB": Measurement(cost, better="less"),
        f"{process}: us/packet": Measurement(cost, better="neither"),
    }


def case() -> CaseResult:
    ours, theirs = PeerResult("our build", ours=True, version="1.0"), PeerResult("another", version="9.0")
    for rates in ((100.0, 50.0), (120.0, 60.0)):
        ours.add(run(rates[0], 2.0, "us"))
        theirs.add(run(rates[1], 6.0, "them"))
    absent = PeerResult("a third", skipped="not installed: third")
    return CaseResult(
        "Download", {"mtu": 1400, "pack": 1, "loss": 0.0}, CIRCUMSTANCES, {"ours": ours, "b": theirs, "c": absent}
    )


def row(markdown: str, start: str) -> list[str]:
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {start} |"))
    return [text.strip() for text in line.strip("|").split("|")]


def test_runs_are_put_together_by_the_name_of_the_figure() -> None:
    found = PeerResult("")
    found.add({"MB/s": Measurement(1.0), "p50": Measurement(9.0, "ms", "less")})
    found.add({"MB/s": Measurement(3.0)})
    found.add({"MB/s": Measurement(2.0)})
    rates = found.figures["MB/s"]
    assert (rates.least, rates.median, rates.greatest) == (1.0, 2.0, 3.0)
    assert found.figures["p50"] == Summary((9.0,), "ms", "less")


def test_a_case_is_a_table_of_medians_and_ranges() -> None:
    text = report.markdown({"download": case()})
    assert row(text, "another") == ["another", "55.0 (50.0 to 60.0)", "6.00 (6.00 to 6.00)"]


def test_ratios_say_how_much_better_we_are() -> None:
    text = report.markdown({"download": case()})
    assert row(text, "our build over another") == [
        "our build over another",
        "2.00 (2.00 to 2.00)",
        "3.00 (3.00 to 3.00)",
    ]


def test_processes_have_a_table_of_their_own() -> None:
    text = report.markdown({"download": case()})
    assert "| another | them | 6.00 (6.00 to 6.00) |" in text.splitlines()


def test_it_is_told_what_was_left_out_and_under_what_it_was_measured() -> None:
    text = report.markdown({"download": case()})
    assert "* a third: not installed: third" in text.splitlines()
    assert "packets of up to 1400 octets, 1 packets per TLS record" in text
    assert "2 runs in turn, commit abcdef0123" in text
    assert "* another: 9.0" in text.splitlines()


def test_a_bar_in_a_reason_does_not_break_a_table() -> None:
    lines = report.table(("a|b",), [["c|d"]])
    assert lines[2] == "| c/d |"


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert results.load(path) == {}
    results.save(path, {"download": case()})
    assert results.load(path) == {"download": case()}


def test_numbers_have_three_digits() -> None:
    numbers = [report.number(value) for value in (0.0, 0.01234, 1.2345, 12.345, 123.45, 12345.6)]
    assert numbers == ["0", "0.012", "1.23", "12.3", "123", "12346"]
