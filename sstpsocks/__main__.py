"""``python -m sstpsocks`` and the ``sstpsocks`` command."""

from __future__ import annotations

import sys

from .app.entry import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
