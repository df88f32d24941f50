"""The first thing that runs, before argparse or anything of ours is loaded: whoever ends the program now, may.

Loading takes long enough to be interrupted in. Python would answer Ctrl-C with a traceback and SIGTERM with death by
that signal, but an end on request is exit code 0 wherever it finds the program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType

_EXIT_OK = 0


def _end(_number: int, _frame: FrameType | None) -> None:
    # Nothing has been begun that would have to be ended in order, and an exception might be swallowed by what is just
    # being loaded.
    os._exit(_EXIT_OK)


def end_on_request() -> None:
    """Answer the signals that ask for the end; whoever can end things in order takes them over (signals.py)."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        number = getattr(signal, name, None)
        # What is ignored stays ignored: by nohup, or by a shell for its jobs in the background.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    end_on_request()
    from .cli.main import main as run

    return run(argv)
