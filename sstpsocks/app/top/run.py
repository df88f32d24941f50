"""``sstpsocks top``: asks the status port again and again, and shows what it says until q or Ctrl-C.

A thread asks, so that keys are answered at once however long that takes. A port that is gone is told in the first line
and asked again: the program may be on its way back.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import NoReturn

from ...errors import ConfigError
from ..failures import EXIT_OK
from ..messages import can_show
from ..status.snapshot import Snapshot
from .client import NotRunning, Place, fetch_snapshot
from .keys import key_by_key, read_keys
from .view import View

TICK = 0.25
"""Seconds between two looks at the size of the terminal and at what the thread has found."""


class _Poller(threading.Thread):
    """Asks every so many seconds."""

    def __init__(self, place: Place, interval: float) -> None:
        super().__init__(daemon=True)
        self._place = place
        self._interval = interval
        self._ended = threading.Event()
        self.found: Snapshot | None = None
        """What was not taken yet."""
        self.trouble = ""

    def run(self) -> None:
        """Ask until end()."""
        while not self._ended.wait(self._interval):
            try:
                self.found = fetch_snapshot(self._place)
                self.trouble = ""
            except NotRunning as error:
                self.trouble = str(error)

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()


def run_top(place: Place, *, interval: float) -> int:
    """Show the place until the person ends it, and return the exit code.

    Raises NotRunning when nothing answers in the first place, ConfigError without a terminal or without rich.
    """
    try:
        from rich.console import Console
        from rich.live import Live

        from .screen import screen
    except ModuleNotFoundError:
        raise ConfigError(
            "sstpsocks top needs the package rich",
            hint="install it with pip install 'sstpsocks[ui]', or use sstpsocks status or the status page",
        ) from None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("sstpsocks top needs a terminal", hint="sstpsocks status and status --json are for scripts")
    view = View(fetch_snapshot(place))
    # https://no-color.org: set and not empty, whatever the value.
    console = Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False)
    blocks = can_show(sys.stdout, "▁█") and not console.legacy_windows
    poller = _Poller(place, interval)
    poller.start()
    try:
        with _ends_by_exception(), key_by_key(), Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        ) as live:  # fmt: skip
            while not view.over:
                width, height = console.size
                live.update(screen(view, width, height, blocks=blocks), refresh=True)
                for key in read_keys(TICK):
                    view = view.press(key)
                if (found := poller.found) is not None:
                    poller.found = None
                    view = view.update(found)
                view = replace(view, trouble=poller.trouble)
    except KeyboardInterrupt:
        pass
    finally:
        poller.end()
    return EXIT_OK


@contextmanager
def _ends_by_exception() -> Iterator[None]:
    """Have signals that ask for the end raise KeyboardInterrupt, so that the terminal is put right before it."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            before[number] = signal.signal(number, end)
    # A stopped program would leave the shell with our screen.
    if hasattr(signal, "SIGTSTP"):
        before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(TypeError):  # one that was not Python's
                signal.signal(number, handler)
