"""The end on request: the first signal ends things in order, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import trio

from .failures import EXIT_OK

_last_acts: list[Callable[[], None]] = []


@contextmanager
def last_act(act: Callable[[], None]) -> Iterator[None]:
    """Have ``act`` done also when the process leaves at once meanwhile: what would outlive it, and must not.

    It must not wait for long: somebody has asked twice.
    """
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def leave_at_once() -> NoReturn:
    """End the process without ending anything in order, but for the last acts, the newest first."""
    for act in reversed(_last_acts):
        with suppress(Exception):  # none of them keeps the process here
            act()
    os._exit(EXIT_OK)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask for the end, as far as this platform has them."""
    found = []
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        number = getattr(signal, name, None)
        # SIGHUP stays ignored where nohup ignores it.
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            found.append(number)
    return found


async def run_until_signalled(
    work: Callable[[], Awaitable[int]],
    *,
    on_first: Callable[[], None],
    on_second: Callable[[], None],
    on_hang_up: Callable[[], None] | None = None,
) -> int:
    """Run ``work`` and return its exit code, or 0 when a signal ended it.

    The first signal calls ``on_first`` and cancels the work, which then ends in order; the second calls
    ``on_second``. With ``on_hang_up`` SIGHUP calls just that. Exceptions of the work come out, possibly inside
    exception groups. Main thread only.
    """
    exit_code = EXIT_OK
    scope = trio.CancelScope()

    async def watch(signals: AsyncIterator[int]) -> None:
        asked = False
        async for number in signals:
            if on_hang_up is not None and number == getattr(signal, "SIGHUP", None):
                if not asked:
                    on_hang_up()
            elif asked:
                on_second()
            else:
                asked = True
                on_first()
                scope.cancel()

    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, signals)
            try:
                with scope:
                    exit_code = await work()
            finally:
                nursery.cancel_scope.cancel()
    return exit_code
