"""What is logged, how, and where."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from .layers import Layers

_VERBOSITY = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG, 2: logging.DEBUG}
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is said, and where."""

    verbosity: int = 0
    """-1 quiet, 0 normal, 1 and 2 more and more."""
    format: str | None = None
    """ "text", "json" or "journal"; None: steps for a person on a terminal, else text, or what suits the journal."""
    file: str | None = None
    """Where the lines go instead of standard error."""
    level: str | None = None
    """ "error", "warning", "info" or "debug"; None: as the verbosity says."""
    trace: bool = False
    """Whether each packet is told."""
    trace_file: str | None = None
    """Where that goes instead of standard error."""

    @property
    def threshold(self) -> int:
        """The least level that is logged, as a number of the logging module."""
        return _LEVELS[self.level] if self.level is not None else _VERBOSITY[self.verbosity]


def log_settings(layers: Layers) -> LogSettings:
    """Make settings of what was given. Raises ConfigError."""
    loudness = layers.first_of("verbose", "quiet")
    verbosity = 0
    if loudness is not None:
        verbosity = min(2, int(loudness.value)) if isinstance(loudness.value, int) else 0
        if loudness.option.key == "quiet":
            verbosity = -1 if loudness.value else 0
    trace_file = layers.text("trace_file")
    return LogSettings(
        verbosity=verbosity,
        format=layers.text("log_format"),
        file=layers.text("log_file"),
        level=layers.text("log_level"),
        trace=layers.switch("trace") or trace_file is not None,
        trace_file=trace_file,
    )
