"""What keeps secrets in memory from being written to disk or read by other programs of the same user.

Python cannot wipe a string: copies of it stay in memory until something else is written there. So the memory itself is
kept to the process: no core dump is written, and on Linux no debugger of the same user may attach, nor may its
/proc/PID/mem or /proc/PID/environ be read. What root does, and what is swapped out, is beyond that.
"""

from __future__ import annotations

import sys

_PR_SET_DUMPABLE = 4


def protect_memory() -> None:
    """Keep this process's memory to itself, as far as the system lets us."""
    if sys.platform == "linux":
        import ctypes

        # PR_SET_DUMPABLE(2const): neither core dumps nor attaching with ptrace(2). Programs that we start are dumpable.
        try:
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        except (OSError, AttributeError):
            return  # a C library without it
    elif sys.platform != "win32":
        import resource

        try:
            _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
            resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        except (OSError, ValueError):
            return
