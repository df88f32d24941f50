"""The choice between the two builds where a package is installed that was compiled (``SSTPSOCKS_PURE``).

A compiled module lies beside its source, and Python prefers it. With the finder of this module in front the source is
loaded instead: to measure, to test, and to see whether a defect is the compiler's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType

_PREFIX = f"{__package__}."


class _SourceFinder:
    """Finds the modules of this package by their sources only."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the source of the module is; None for those of others."""
        if path is None or not name.startswith(_PREFIX):
            return None
        for folder in path:
            spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name, target)
            if spec is not None:
                return spec
        return None


def prefer_sources() -> None:
    """Load what is not loaded yet of this package from source."""
    sys.meta_path.insert(0, _SourceFinder())
