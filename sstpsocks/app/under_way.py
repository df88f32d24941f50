"""The step of a connect that is under way: once it lasts, its line says for how many seconds.

A task of its own keeps the line up to date, and lasts as long as the step. Where trio does not run there is no such
task, and the line stays as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

TICK = 1.0


class UnderWay:
    """Counts the seconds of one step after the other; ``show`` puts the line on the screen."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._text = ""
        self._began: float | None = None
        self._ticking = False

    @property
    def seconds(self) -> int:
        """How long the step lasts, 0 when there is none."""
        return int(self._now() - self._began) if self._began is not None else 0

    def begin(self, text: str) -> None:
        """A step has begun, or says more of itself."""
        # trio is loaded before anything can last, and this file before trio.
        trio = sys.modules.get("trio")
        if trio is None or not trio.lowlevel.in_trio_run():
            return
        self._text = text
        self._began = self._now()
        if not self._ticking:
            self._ticking = True
            trio.lowlevel.spawn_system_task(self._tick, name="progress on the terminal")

    def end(self) -> None:
        """It is over, or the line is no longer its."""
        self._began = None

    async def _tick(self) -> None:
        import trio

        while self._began is not None:
            await trio.sleep(TICK)
            if self.seconds:
                self._show(f"{self._text}{waited(self.seconds)}")
        self._ticking = False

    @staticmethod
    def _now() -> float:
        import trio

        return trio.current_time()


def waited(seconds: int) -> str:
    """Return " (3 s)", nothing for less than a second."""
    return f" ({seconds} s)" if seconds else ""
