"""The program itself, which tells on SIGUSR2 how many tasks it has: ``python -m tests.campaign.watched ARGUMENTS``.

Descriptors and memory are counted from outside, but tasks only it can count. The handler runs in the main thread, in
which trio runs, and goes from the root task down; the file is open from the beginning, so that full disks and used-up
descriptors do not matter. Otherwise this is ``sstpsocks``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import trio

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
    census = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def tell(_signal: int, _frame: object) -> None:
        line = json.dumps({"tasks": sorted(tasks()), "threads": threading.active_count()})
        os.write(census, line.encode() + b"\n")

    signal.signal(signal.SIGUSR2, tell)


if __name__ == "__main__":
    if CENSUS in os.environ:
        install(os.environ.pop(CENSUS))
    from sstpsocks.__main__ import main

    sys.exit(main())
