"""Several displays at once: steps on the terminal, lines in the log file, the state for systemd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from ..tunnel.steps import StepReport
from .log_config import LogSettings
from .messages import Display, LogDisplay, State, TerminalDisplay, choose_display
from .readyfile import Ready


class Displays:
    """Tells each of them everything."""

    def __init__(self, *displays: Display) -> None:
        self.displays = displays

    def step(self, report: StepReport) -> None:
        """Pass it on, as all that follows."""
        for display in self.displays:
            display.step(report)

    def state(self, state: State) -> None:
        """A change after the first connect."""
        for display in self.displays:
            display.state(state)

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """The port may be used."""
        for display in self.displays:
            display.ready(ready, socks_user)

    def warning(self, text: str) -> None:
        """Something that does not stop the program."""
        for display in self.displays:
            display.warning(text)

    def note(self, text: str) -> None:
        """Something that was asked for."""
        for display in self.displays:
            display.note(text)

    def interrupt(self) -> None:
        """Something else will write to the terminal."""
        for display in self.displays:
            display.interrupt()

    def ending(self) -> None:
        """The end was asked for."""
        for display in self.displays:
            display.ending()

    def failed(self, text: str) -> None:
        """The line that ends the program."""
        for display in self.displays:
            display.failed(text)


def shows_steps(display: Display) -> bool:
    """Whether a person on a terminal is shown steps."""
    if isinstance(display, Displays):
        return any(map(shows_steps, display.displays))
    return isinstance(display, TerminalDisplay)


def open_display(stream: TextIO, log: LogSettings, chosen: str, environ: Mapping[str, str]) -> Display:
    """Return what is told what happens. ``chosen``: the format that log lines have (logs.py)."""
    display = choose_display(stream, log.format, log.verbosity, environ)
    if isinstance(display, LogDisplay):
        # Where each line is an object, or a record with a level, the last one is, too.
        display = LogDisplay(
            stream, line=chosen == "text" or log.file is not None, record=bool(log.file) or chosen != "text"
        )
    elif log.file is not None:
        display = Displays(display, LogDisplay(stream, line=False, record=True))
    return display
