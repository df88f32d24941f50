"""Which build of the package runs: interpreted, or with its innermost modules compiled by mypyc.

The compiler takes ``COMPILED`` for true (hatch_build.py), so that ``if COMPILED:`` costs nothing there and the branch
for the other build is not in its code.
"""

from __future__ import annotations

from types import FunctionType
from typing import Final


def _probe() -> None:
    """A function of a compiled module is none of Python's own."""


COMPILED: Final = not isinstance(_probe, FunctionType)
"""Whether this module, and with it the others named in hatch_build.py, is compiled."""
