"""Where the program's log goes: standard error, a file or the journal; and where the trace of packets goes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TextIO

from .displays import shows_steps
from .journal import JournalHandler, stream_is_journal
from .log_config import LogSettings
from .log_file import LogFile
from .log_lines import JsonFormatter, LineFormatter, PacketFormatter
from .messages import LOGGER, Display

_TRACE = logging.getLogger("sstpsocks.trace")


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


def log_format(stream: TextIO, log: LogSettings, environ: Mapping[str, str]) -> str:
    """Return the format that lines have."""
    if log.format is not None:
        return log.format
    return "journal" if log.file is None and stream_is_journal(stream, environ) else "text"


def set_up_logging(stream: TextIO, display: Display, log: LogSettings, environ: Mapping[str, str] = os.environ) -> None:
    """Send the program's log where the settings say; to a terminal with steps only when more was asked for.

    Raises ConfigError when a file cannot be written.
    """
    chosen = log_format(stream, log, environ)
    formatter: logging.Formatter = JsonFormatter() if chosen == "json" else LineFormatter()
    handler: logging.Handler
    if log.file is not None:
        handler = LogFile(log.file, stream)
    elif shows_steps(display) and log.verbosity <= 0 and log.level is None:
        handler = logging.NullHandler()
    elif chosen == "journal":
        handler = JournalHandler(stream)
    else:
        handler = _Handler(stream, display)
    handler.setFormatter(formatter)
    _exchange(LOGGER, handler, log.threshold)
    if log.trace:
        if log.trace_file is not None:
            handler = LogFile(log.trace_file, stream, option="--trace-file")
            formatter = PacketFormatter()
        elif chosen == "journal":
            handler = JournalHandler(stream)
        else:
            handler = _Handler(stream, display)
            formatter = JsonFormatter() if chosen == "json" else PacketFormatter()
        handler.setFormatter(formatter)
        _exchange(_TRACE, handler, logging.DEBUG)


def _exchange(logger: logging.Logger, handler: logging.Handler, level: int) -> None:
    logger.setLevel(level)
    logger.propagate = False
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    logger.addHandler(handler)
