"""What happened lately: the last hundred things that the program said, kept for the status page.

The program says what happens to a Display, for a person or the log. A :class:`WatchedDisplay` stands in front of that
and notes the same, so that the page tells exactly what the terminal tells, and nothing that the terminal may not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ...tunnel.steps import StepReport
from ..messages import Display, State
from ..readyfile import Ready
from ..text import one_line
from .snapshot import MAX_EVENTS, EventView

MAX_TEXT = 300
"""Characters of one event: what a server says of an error is as long as it likes."""


class Events:
    """The latest events; older ones are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ring: deque[EventView] = deque(maxlen=MAX_EVENTS)
        self._number = 0

    def __repr__(self) -> str:
        return f"<Events {len(self._ring)}>"

    def note(self, kind: str, text: str, *, failed: bool = False) -> None:
        """Keep one: "state", "step", "warning" or "note"."""
        self._number += 1
        text = one_line(text)
        if len(text) > MAX_TEXT:
            text = f"{text[: MAX_TEXT - 1]}…"
        self._ring.append(EventView(number=self._number, time=self._clock(), kind=kind, text=text, failed=failed))

    def latest(self) -> tuple[EventView, ...]:
        """Return them, the oldest first."""
        return tuple(self._ring)


class WatchedDisplay:
    """Passes everything on to a display, and notes it; a Display itself."""

    def __init__(self, display: Display, events: Events) -> None:
        self._display = display
        self._events = events

    def __repr__(self) -> str:
        return f"<WatchedDisplay {self._display!r}>"

    def step(self, report: StepReport) -> None:
        """Take a step of a connect; only its end is an event."""
        if report.done:
            self._events.note("step", f"{report.step.value}: {report.text}", failed=report.failed)
        self._display.step(report)

    def state(self, state: State) -> None:
        """Take a change after the first connect."""
        self._events.note("state", state.text, failed=not state.up)
        self._display.state(state)

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Take that the port may be used."""
        self._events.note("note", f"ready at {', '.join(ready.listen)}")
        self._display.ready(ready, socks_user)

    def warning(self, text: str) -> None:
        """Take something that does not stop the program."""
        self._events.note("warning", text)
        self._display.warning(text)

    def note(self, text: str) -> None:
        """Take something that was done because the user asked for it."""
        self._events.note("note", text)
        self._display.note(text)

    def interrupt(self) -> None:
        """Pass on that something else will write to the terminal."""
        self._display.interrupt()

    def ending(self) -> None:
        """Take that the end was asked for."""
        self._events.note("note", "ending")
        self._display.ending()

    def failed(self, text: str) -> None:
        """Take the one line that ends the program."""
        self._display.failed(text)
