"""What is wanted, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.results import CaseResult


def target_rows(cases: Mapping[str, CaseResult]) -> list[list[str]]:
    """Return a row for each target that there are results for."""
    return []
