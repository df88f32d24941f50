"""The program's log: plain lines with time stamps on standard error."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TextIO

from .messages import LOGGER, Display, LogDisplay
from .text import one_line

_LEVELS = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG, 2: logging.DEBUG}


class LineFormatter(logging.Formatter):
    """``2026-11-22T17:14:02.123+01:00 INFO    message``, one line however many the message has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on lines of its own."""
        # Local time with its offset (RFC 3339): readable here, and unambiguous for whoever gets the log.
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{when.isoformat(timespec='milliseconds')} {record.levelname:<7} {one_line(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Handler(logging.StreamHandler[TextIO]):
    """Finishes the display's line before it writes, and never complains about a stream that went away."""

    def __init__(self, stream: TextIO, display: Display) -> None:
        super().__init__(stream)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._display.interrupt()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Ignore it: the terminal or pipe is gone, and a traceback there helps nobody."""


def set_up_logging(stream: TextIO, display: Display, verbosity: int) -> None:
    """Send the program's log to the stream: with a log display always, on a terminal only with -v."""
    LOGGER.setLevel(_LEVELS[verbosity])
    LOGGER.propagate = False
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
    if isinstance(display, LogDisplay) or verbosity > 0:
        handler = _Handler(stream, display)
        handler.setFormatter(LineFormatter())
        LOGGER.addHandler(handler)
    else:
        LOGGER.addHandler(logging.NullHandler())
