"""The program itself, with two signals more: ``python -m tests.campaign.watched ARGUMENTS``.

SIGUSR2: it tells how many tasks it has. Descriptors and memory are counted from outside, but tasks only it can count.
The handler runs in the main thread, in which trio runs, and goes from the root task down; the file is open from the
beginning, so that full disks and used-up descriptors do not matter.

SIGUSR1: an hour passes as it does while a machine sleeps: the clock that counts sleep and the wall clock are an hour
later, the monotonic one, by which everything here waits, is not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import trio

from tests.campaign import signals

SLEPT = 3600.0
"""Seconds that SIGUSR1 lets pass."""
CENSUS = "SSTPSOCKS_CAMPAIGN_CENSUS"


def tasks() -> list[str]:
    """Return the names of all tasks."""
    root = trio.lowlevel.current_root_task()
    found: list[str] = []
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        found.append(task.name)
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)
    return found


def install(path: str) -> None:
    """Answer SIGUSR2 with a line of JSON in the file."""
    census = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(_signal: int, _frame: object) -> None:
        line = json.dumps({"tasks": sorted(tasks()), "threads": threading.active_count()})
        os.write(census, line.encode() + b"\n")

    signal.signal(signals.USR2, tell)


def install_sleep() -> None:
    """Answer SIGUSR1 with an hour of sleep."""
    if sys.platform == "linux":
        slept = 0.0
        really, wall = time.clock_gettime, time.time

        def clock_gettime(clock: int) -> float:
            return really(clock) + (slept if clock in (time.CLOCK_BOOTTIME, time.CLOCK_REALTIME) else 0.0)

        def sleep(_signal: int, _frame: object) -> None:
            nonlocal slept
            slept += SLEPT

        # Before the program is loaded, so that it has these however it imports them.
        time.clock_gettime = clock_gettime
        time.time = lambda: wall() + slept
        signal.signal(signals.USR1, sleep)


if __name__ == "__main__":
    if CENSUS in os.environ:
        install(os.environ.pop(CENSUS))
        install_sleep()
    from sstpsocks.__main__ import main

    sys.exit(main())
