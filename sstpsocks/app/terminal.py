"""Asking a person at the terminal for something that must not be shown."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from ..errors import ConfigError


async def ask_secretly(prompt: str) -> str:
    """Return what was typed, at least one character. Raises ConfigError when nothing was, or can be."""
    with _echo_restored():
        try:
            typed = await trio.to_thread.run_sync(getpass.getpass, prompt, abandon_on_cancel=True)
        except (EOFError, OSError):
            typed = ""
    if not typed:
        raise ConfigError("no password was typed")
    return typed


if sys.platform == "win32":

    @contextmanager
    def _echo_restored() -> Iterator[None]:
        """Do nothing: the console is read key by key without echo, there is nothing to restore."""
        yield

else:
    import termios

    @contextmanager
    def _echo_restored() -> Iterator[None]:
        """Turn the terminal's echo on again when Ctrl-C leaves a prompt: its thread is abandoned in getpass()."""
        try:
            terminal = open("/dev/tty", "rb", buffering=0)  # noqa: SIM115 - closed below
        except OSError:
            yield  # getpass() then reads standard input
            return
        with terminal:
            try:
                saved = termios.tcgetattr(terminal)
            except termios.error:
                yield
                return
            try:
                yield
            finally:
                termios.tcsetattr(terminal, termios.TCSADRAIN, saved)
