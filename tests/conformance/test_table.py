"""docs/rfc-conformance.md and the scripts: each rule has a script or a reason, each script a rule."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from .test_scripts import SCRIPTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rfc-conformance.md"
NAMES = [path.stem for path in SCRIPTS]


@dataclass(frozen=True)
class Row:
    line: int
    rule: str
    asks: str
    scripts: tuple[str, ...]
    """Names, or patterns with ``*``."""
    reason: str


def read_rows(text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or cells[0] == "Rule" or set(cells[0]) == {"-"}:
            continue
        assert len(cells) == 4, f"line {number} has {len(cells)} cells: {line}"
        rule, asks, scripts, reason = cells
        rows.append(Row(number, rule, asks, tuple(re.findall(r"`([^`]+)`", scripts)), reason))
    return rows


ROWS = read_rows(PAGE.read_text(encoding="utf-8"))


def test_the_page_was_read() -> None:
    assert len(ROWS) > 150
    assert len(NAMES) > 150


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.line}")
def test_a_row_names_scripts_that_exist_or_gives_a_reason(row: Row) -> None:
    assert row.rule
    assert row.asks
    assert row.scripts or row.reason, f"{row.rule} ({row.asks}) has neither script nor reason"
    for pattern in row.scripts:
        assert any(fnmatchcase(name, pattern) for name in NAMES), f"{row.rule}: no script {pattern}"


def test_every_script_is_in_a_row() -> None:
    patterns = {pattern for row in ROWS for pattern in row.scripts}
    lost = [name for name in NAMES if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert lost == []


def test_every_requirement_of_rfc_9293_has_a_row() -> None:
    """Appendix B: MUST-1 to MUST-69, SHLD-1 to SHLD-31, MAY-1 to MAY-18."""
    listed: set[str] = set()
    for row in ROWS:
        for part in row.rule.split(","):
            found = re.fullmatch(r"(MUST|SHLD|MAY)-(\d+)(?: to \1-(\d+))?", part.strip())
            if found:
                listed |= {f"{found[1]}-{number}" for number in range(int(found[2]), int(found[3] or found[2]) + 1)}
    wanted = {
        f"{kind}-{number}" for kind, last in (("MUST", 69), ("SHLD", 31), ("MAY", 18)) for number in range(1, last + 1)
    }
    assert wanted - listed == set()


def test_every_script_names_its_rule_first() -> None:
    for path in SCRIPTS:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        number = re.match(r"rfc(\d+)-", path.stem)
        assert number is not None, path.name
        assert first.startswith("# RFC "), f"{path.name} does not begin with its rule"


def test_a_row_without_script_and_reason_is_found() -> None:
    (row,) = read_rows("| MUST-1 | something | | |")
    assert row.scripts == ()
    assert row.reason == ""
