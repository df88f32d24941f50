"""Tells which build is measured."""

from __future__ import annotations

from pathlib import Path

import sstpsocks
from sstpsocks.base.build import COMPILED


def pytest_report_header() -> str:
    """Return a line for the head of the report."""
    return f"sstpsocks: {'compiled' if COMPILED else 'interpreted'}, {Path(sstpsocks.__file__).parent}"
