"""What ``sstpsocks check`` has found, and how it is shown: as a table for a person, as JSON for a program.

The report is made to be pasted into a bug report. Passwords never come in. A server may repeat the user name or even
the password in its own texts, so every text is gone over once more before it is shown (:class:`Hidden`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum

from ..text import one_line

Value = str | int | float | bool | None | list[str]

_SHORTEST_SECRET = 4  # hiding every "a" would tell more than it hides
_INDENT = "  "


class Verdict(Enum):
    """How a step went."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Finding:
    """One step and what came of it."""

    name: str
    verdict: Verdict = Verdict.OK
    seconds: float | None = None
    """How long it took, None for what takes no time."""
    facts: dict[str, Value] = field(default_factory=dict)
    problem: str = ""
    """What went wrong, or why it was left out."""
    hint: str = ""
    """What to try."""


class Hidden:
    """The words that do not appear in a report, and what stands in for them."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Hidden {len(self._words)} words>"

    def hide(self, word: str, stand_in: str) -> None:
        """Replace ``word`` from now on."""
        if len(word) >= _SHORTEST_SECRET:
            self._words[word] = stand_in

    def clean(self, text: str) -> str:
        """Return ``text`` on one line and without the words."""
        text = one_line(text)
        for word in sorted(self._words, key=len, reverse=True):
            text = text.replace(word, self._words[word])
        return text

    def clean_value(self, value: Value) -> Value:
        """Return ``value`` with all texts in it cleaned."""
        if isinstance(value, str):
            return self.clean(value)
        return [self.clean(item) for item in value] if isinstance(value, list) else value


@dataclass(slots=True)
class Report:
    """All steps of one check."""

    server: str
    version: str
    """Which program and build made it."""
    findings: list[Finding] = field(default_factory=list)
    exit_code: int = 0
    hidden: Hidden = field(default_factory=Hidden)

    def to_json(self) -> str:
        """Return the report as JSON, in the layout that README describes."""
        clean = self.hidden.clean
        steps = [
            {
                "name": finding.name,
                "verdict": finding.verdict.value.lower(),
                "seconds": None if finding.seconds is None else round(finding.seconds, 4),
                "facts": {name: self.hidden.clean_value(value) for name, value in finding.facts.items()},
                "problem": clean(finding.problem),
                "hint": clean(finding.hint),
            }
            for finding in self.findings
        ]
        whole = {"server": self.server, "version": self.version, "exit_code": self.exit_code, "steps": steps}
        return json.dumps(whole, indent=2, ensure_ascii=True)

    def to_table(self) -> str:
        """Return the report for a person: a line for each step, its facts below it."""
        lines = [f"{self.version}, check of {one_line(self.server)}"]
        for finding in self.findings:
            lines += self._rows(finding)
        lines += ["", f"exit code {self.exit_code}"]
        return "\n".join(lines)

    def _rows(self, finding: Finding) -> list[str]:
        took = "" if finding.seconds is None else f"  {finding.seconds * 1000:.0f} ms"
        rows = ["", f"{finding.name:<16}{finding.verdict.value}{took}"]
        width = max((len(name) for name in finding.facts), default=0)
        for name, value in finding.facts.items():
            shown = self.hidden.clean_value(value)
            values = shown if isinstance(shown, list) else [_word(shown)]
            rows += [f"{_INDENT}{name if not n else '':<{width}}  {item}" for n, item in enumerate(values or ["none"])]
        if finding.problem:
            rows.append(f"{_INDENT}{self.hidden.clean(finding.problem)}")
        if finding.hint:
            rows.append(f"{_INDENT}Try: {self.hidden.clean(finding.hint)}")
        return rows


def _word(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not said" if value is None else str(value)
