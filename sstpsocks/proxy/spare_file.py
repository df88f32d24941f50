"""A file that is open for nothing, so that one connection can be accepted, and told no, when no more may be opened.

Without it a client that comes when all descriptors are used would wait in the kernel's queue, and hang.
"""

from __future__ import annotations

import contextlib
import errno
import os

OUT_OF_FILES = frozenset((errno.EMFILE, errno.ENFILE))
"""What the system says then: the process, or the machine, has as many open as it may."""


class SpareFile:
    """One descriptor in reserve."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.refill()

    def __repr__(self) -> str:
        return f"<SpareFile {'there' if self._descriptor is not None else 'spent'}>"

    def spend(self) -> bool:
        """Free the descriptor for somebody; False when it is in use."""
        if self._descriptor is None:
            return False
        os.close(self._descriptor)
        self._descriptor = None
        return True

    def refill(self) -> None:
        """Take a descriptor again, if there is one."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY)

    def close(self) -> None:
        """Give it up."""
        self.spend()
