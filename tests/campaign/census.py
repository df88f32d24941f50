"""What a running program has: tasks, descriptors, memory; before a fault and after it."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import signals


@dataclass(frozen=True)
class Census:
    """One count."""

    tasks: Counter[str]
    threads: int
    files: Counter[str]
    """Open descriptors by kind, such as socket, pipe, or the file's path."""
    resident: int
    """Octets of memory."""

    def left_over(self, before: Census) -> list[str]:
        """Return what is here that was not there before; threads are kept by trio for the next one who needs one."""
        tasks = [f"task {name} x{count}" for name, count in sorted((self.tasks - before.tasks).items())]
        return tasks + [f"{kind} x{count}" for kind, count in sorted((self.files - before.files).items())]


def resident(process: int) -> int:
    """Return the memory of a process in octets."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(process)


def open_files(process: int) -> Counter[str]:
    """Return the descriptors of a process by kind."""
    found: Counter[str] = Counter()
    folder = Path(f"/proc/{process}/fd")
    for name in os.listdir(folder):
        try:
            target = os.readlink(folder / name)
        except OSError:
            continue  # closed meanwhile
        found[target.partition(":[")[0]] += 1
    return found


def take(process: int, told: Path, timeout: float = 5.0) -> Census:
    """Count; ``told`` is the file of tests.campaign.watched."""
    before = told.stat().st_size
    os.kill(process, signals.USR2)
    deadline = time.monotonic() + timeout
    while told.stat().st_size == before or not (text := told.read_text()).endswith("\n"):
        assert time.monotonic() < deadline, "the program does not even handle a signal"
        time.sleep(0.01)
    answer = json.loads(text.splitlines()[-1])
    return Census(Counter(answer["tasks"]), answer["threads"], open_files(process), resident(process))
