"""A log file that may be moved away, and whose disk may be full.

Theory of operation. Before each line it is looked whether the file is still what its name says; when it was moved or
removed, as logrotate does, the next one is begun. So nobody need be told to open it again, and SIGHUP does no harm. A
line that cannot be written is dropped. That is told once on standard error, and when lines can be written again the
file says how many are missing.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TextIO

from ..errors import ConfigError


class LogFile(logging.Handler):
    """Appends lines to a file that only its owner can read when it is new. Raises ConfigError when it cannot be had."""

    def __init__(self, path: str, stream: TextIO, *, option: str = "--log-file") -> None:
        """``stream``: where failures are told."""
        super().__init__()
        self._path = path
        self._stream = stream
        self._descriptor = -1
        self._identity = (0, 0)
        self._missing = 0
        self._torn = False
        """Whether the last line in the file is not whole."""
        try:
            self._open()
        except OSError as error:
            raise ConfigError(
                f"cannot write the file {path}: {error.strerror}", path=path, hint=f"choose another one for {option}"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; what fails is told, and never raised."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:
            self.handleError(record)
            return
        try:
            if self._descriptor < 0 or not self._in_place():
                self._open()
            if self._missing:
                self._write(self._about_missing(record))
                self._missing = 0
            self._write(line)
        except OSError as error:
            self._failed(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore it: a line that cannot be formatted is no reason to trouble anybody."""

    def close(self) -> None:
        """Close the file."""
        self._close()
        super().close()

    def _open(self) -> None:
        self._close()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            state = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._identity = descriptor, (state.st_dev, state.st_ino)
        self._torn = False

    def _close(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _in_place(self) -> bool:
        try:
            state = os.stat(self._path)
        except OSError:
            return False
        return (state.st_dev, state.st_ino) == self._identity

    def _write(self, line: bytes) -> None:
        rest = b"\n" + line if self._torn else line
        while rest:
            written = os.write(self._descriptor, rest)
            self._torn = written < len(rest)
            rest = rest[written:]

    def _about_missing(self, record: logging.LogRecord) -> bytes:
        text = f"{self._missing} lines before this one could not be written"
        about = logging.LogRecord("sstpsocks.log", logging.WARNING, "", 0, text, None, None)
        about.created = record.created
        return f"{self.format(about)}\n".encode("utf-8", "backslashreplace")

    def _failed(self, error: OSError) -> None:
        self._missing += 1
        if self._missing == 1:
            with suppress(OSError, ValueError):
                self._stream.write(
                    f"sstpsocks: the file {self._path} cannot be written: {error.strerror or error}; "
                    f"its lines are dropped until it can\n"
                )
                self._stream.flush()
