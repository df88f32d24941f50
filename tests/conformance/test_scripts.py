"""Every script of scripts/, each named for the rule it proves (docs/rfc-conformance.md has the table)."""

from __future__ import annotations

from pathlib import Path

import pytest

from .interpreter import run_script

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path) -> None:
    run_script(path)
