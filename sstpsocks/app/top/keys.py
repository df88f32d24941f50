"""Single keys from the terminal, without echo and without Enter; the terminal is as before afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform == "win32":
    import msvcrt

    @contextmanager
    def key_by_key() -> Iterator[None]:
        """Do nothing: the console is asked key by key."""
        yield

    def read_keys(patience: float) -> str:
        """Return the keys pressed within so many seconds, at least as soon as there is one."""
        until = time.monotonic() + patience
        while not msvcrt.kbhit():
            if time.monotonic() >= until:
                return ""
            time.sleep(0.05)
        return msvcrt.getwch()

else:
    import os
    import select
    import termios
    import tty

    @contextmanager
    def key_by_key() -> Iterator[None]:
        """Have standard input give each key at once while the block runs."""
        descriptor = sys.stdin.fileno()
        saved = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield
        finally:
            # What was typed ahead for us is not for the shell.
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, saved)

    def read_keys(patience: float) -> str:
        """Return the keys pressed within so many seconds, as soon as there are some."""
        try:
            ready, _, _ = select.select([sys.stdin], [], [], patience)
        except InterruptedError:
            return ""
        if not ready:
            return ""
        data = os.read(sys.stdin.fileno(), 64)
        # The end of the input: the terminal has gone away.
        return data.decode("ascii", "replace") if data else "q"
