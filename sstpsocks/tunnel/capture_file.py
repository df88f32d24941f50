"""A file that grows by whole blocks, is rotated by size, and outlives full disks and vanished folders.

Theory of operation. Blocks are gathered and written together, about once a second. What a write could not finish is cut
off again, so that the file always ends with a whole block and any program can read it. After a failure the file is
closed, which is told once; what comes in the meantime is counted and dropped. Every now and then, less and less often,
it is tried again: the same file is gone on with if it is still there, a new one is begun if it was moved away. That it
works again is told when something has been written. Pipes and devices cannot be cut, so there a failure is the end.

A rotated file keeps the end of its name, by which other programs know it: tunnel.pcapng is the one that grows,
tunnel.1.pcapng the one before, and so on.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress

_LOGGER = logging.getLogger("sstpsocks.capture")

FLUSH_INTERVAL = 1.0
"""Seconds after which what was added reaches the file, so that it can be watched."""
FLUSH_SIZE = 256 * 1024
"""Octets that are written without waiting for that."""
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds until a file that could not be written is tried again: twice as long each time."""


class CaptureFile:
    """One file, or several one after the other; only their owner can read them.

    ``head`` returns what each file begins with. ``size``: octets after which the next file is begun, None for one file
    of any size. ``count``: files that are kept, the growing one included.
    """

    def __init__(self, path: str, head: Callable[[], bytes], *, size: int | None = None, count: int = 1) -> None:
        """Create or empty the file. Raises OSError when that is not possible."""
        self._path = path
        self._head = head
        self._count = count
        self._buffer = bytearray()
        self._blocks = 0
        """How many are in the buffer."""
        self._written = 0
        """Octets of whole blocks in the file."""
        self._some = False
        """Whether the file holds more than its head."""
        self._identity: tuple[int, int] | None = None
        self._descriptor: int | None = None
        self._flushed_at: float | None = None
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE
        self._failing = False
        """Whether a failure was told, and nothing could be written since."""
        self._over = False
        self._missing = 0
        """Blocks that were dropped since something was written last."""
        self._open()
        # A pipe has no end that could be renamed or cut.
        self._size = size if self._regular else None

    @property
    def recording(self) -> bool:
        """Whether blocks are still taken, now or later."""
        return not self._over

    @property
    def gap(self) -> int:
        """How many blocks are missing right before the next one."""
        return self._missing if not self._blocks else 0

    def ready(self, now: float) -> bool:
        """Return whether a block would be taken now; otherwise it counts as missing."""
        if self._descriptor is None and not self._over and now >= self._retry_at:
            self._reopen(now)
        if self._descriptor is None:
            self._missing += not self._over
            return False
        return True

    def add(self, block: bytes, now: float) -> None:
        """Take a block; only when ready() said so."""
        if self._size is not None and self._some and self._written + len(self._buffer) + len(block) > self._size:
            self._rotate(now)
            if self._descriptor is None:
                self._missing += 1
                return
        self._buffer += block
        self._blocks += 1
        self._some = True
        if self._flushed_at is None:
            self._flushed_at = now
        if len(self._buffer) >= FLUSH_SIZE or now - self._flushed_at >= FLUSH_INTERVAL:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Write what was gathered."""
        if self._descriptor is None or not self._buffer:
            return
        self._flushed_at = now
        try:
            if self._regular and not self._in_place():
                raise FileNotFoundError(0, "it was moved or removed")
            self._write(self._descriptor)
        except OSError as error:
            self._fail(error, now)
            return
        if self._failing:
            _LOGGER.info("packet capture to %s goes on", self._path)
            self._failing = False
            self._missing = 0
        self._pause = FIRST_PAUSE

    def close(self) -> None:
        """Write what was gathered and close the file; closing again does nothing."""
        if self._over:
            return
        if self._descriptor is not None:
            try:
                self._write(self._descriptor)
            except OSError as error:
                self._report(error)
        self._over = True
        self._close()

    # Files

    def _open(self, *, append: bool = False) -> None:
        descriptor = open_private(self._path, append=append)
        try:
            state = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._regular = stat.S_ISREG(state.st_mode)
        self._identity = (state.st_dev, state.st_ino)
        if not append:
            self._written = 0
            self._some = False
            self._buffer[:0] = self._head()

    def _reopen(self, now: float) -> None:
        # Without having cut it when it was closed, the file could end in the middle of a block.
        same = self._regular and self._in_place()
        try:
            self._open(append=same)
            if same and self._descriptor is not None:
                os.ftruncate(self._descriptor, self._written)
        except OSError as error:
            self._close()
            self._fail(error, now)

    def _in_place(self) -> bool:
        """Whether what is called by the path is still the file that was opened."""
        try:
            state = os.stat(self._path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == self._identity

    def _rotate(self, now: float) -> None:
        self.flush(now)
        if self._descriptor is None:
            return
        self._close()
        try:
            for number in range(self._count - 1, 0, -1):
                with suppress(FileNotFoundError):
                    os.replace(numbered(self._path, number - 1), numbered(self._path, number))
            self._open()
        except OSError as error:
            self._fail(error, now)

    def _write(self, descriptor: int) -> None:
        written = 0
        try:
            waiting = memoryview(bytes(self._buffer))
            while written < len(waiting):
                written += os.write(descriptor, waiting[written:])
        except OSError:
            if self._regular:
                with suppress(OSError):
                    os.ftruncate(descriptor, self._written)
            raise
        self._written += written
        self._buffer.clear()
        self._blocks = 0

    def _close(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    # Failures

    def _fail(self, error: OSError, now: float) -> None:
        self._close()
        self._missing += self._blocks
        self._buffer.clear()
        self._blocks = 0
        if not self._regular:
            self._over = True
        self._retry_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if not self._failing:
            self._failing = True
            self._report(error)

    def _report(self, error: OSError) -> None:
        what = "stopped" if self._over or not self._regular else "paused, and tried again later"
        _LOGGER.warning("packet capture to %s %s: %s", self._path, what, error.strerror or error)


def numbered(path: str, number: int) -> str:
    """Return what the file before the growing one is called, and so on: 0 is the growing one's own name."""
    stem, extension = os.path.splitext(path)
    return f"{stem}.{number}{extension}" if number else path


def open_private(path: str, *, append: bool = False) -> int:
    """Open for writing, readable by nobody else: the packets hold what the tunnel was there to protect.

    Without ``append`` the file is emptied. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | (os.O_APPEND if append else os.O_TRUNC), 0o600)
    try:
        # A file that was there already keeps its old mode. Pipes and terminals are left as they are.
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
