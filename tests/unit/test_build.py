"""Which build is under test, and that it is of one piece."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sstpsocks.base.build import COMPILED

ROOT = Path(__file__).resolve().parents[2]


def compiled_modules() -> list[str]:
    """Return the names of the modules that hatch_build.py lists."""
    for node in ast.parse((ROOT / "hatch_build.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "MODULES":
            return [path.removesuffix(".py").replace("/", ".") for path in ast.literal_eval(node.value)]
    raise AssertionError("hatch_build.py has no MODULES")


def build_of(code: str = "", **environ: str) -> str:
    """Ask a process of its own."""
    script = f"{code}\nfrom sstpsocks.base import build\nprint(build.COMPILED, build.__file__.endswith('.py'))"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return result.stdout.strip()


def test_it_is_the_build_that_is_meant() -> None:
    """``.ci/run`` says which; without its word a checkout is interpreted."""
    assert COMPILED is (os.environ.get("SSTPSOCKS_TEST_BUILD", "interpreted") == "compiled")


@pytest.mark.parametrize("name", compiled_modules())
def test_all_listed_modules_are_of_the_same_build(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert file.endswith(".py") is not COMPILED


def test_the_interpreted_build_can_be_asked_for() -> None:
    assert build_of(SSTPSOCKS_PURE="1") == "False True"
    assert build_of(SSTPSOCKS_PURE="0") == f"{COMPILED} {not COMPILED}"
    assert build_of(SSTPSOCKS_PURE="") == f"{COMPILED} {not COMPILED}"
