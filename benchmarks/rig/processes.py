"""Processes of the rig: started with their output in a file, counted, stopped.

CPU time is read from /proc: the user and system time of a process with all its threads, in steps of 10 ms. What the
kernel does in interrupts on behalf of nobody is in no process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

if sys.platform == "linux":
    TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
    PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
else:
    TICKS_PER_SECOND, PAGE_SIZE = 100, 4096  # there is no /proc; the type checker comes here all the same

STOP_TIMEOUT = 10.0


class Process:
    """A command that runs until stop(). ``name`` is what the report calls it."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
        stdin: Path = Path(os.devnull),
    ) -> None:
        self.name = name
        self.log_path = log
        with log.open("wb") as output, stdin.open("rb") as source:
            self._process = subprocess.Popen(
                command,
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ} if environ else None,
                cwd=log.parent,
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it printed."""
        return self.log_path.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it is no longer running."""
        return self._process.poll() is not None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, kindly first, and what it started with it."""
        family = [pid for pid in tree([self.pid]) if pid != self.pid]
        if not self.ended:
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name; none for a process that has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return {pid: int(fields[1]) for pid in pids if (fields := stat_fields(pid))}


def tree(roots: Iterable[int]) -> list[int]:
    """Return these processes and all that descend from them."""
    parent_of = parents()
    found = [pid for pid in roots if pid in parent_of]
    for pid in found:  # grows while it is walked
        found += [child for child, parent in parent_of.items() if parent == pid and child not in found]
    return found


def command_name(pid: int) -> str:
    """Return the name of a process as the kernel has it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cpu_times(pids: Iterable[int]) -> tuple[float, float]:
    """Return the user and the system time of these processes so far."""
    user = system = 0
    for pid in pids:
        if fields := stat_fields(pid):
            user += int(fields[11])
            system += int(fields[12])
    return user / TICKS_PER_SECOND, system / TICKS_PER_SECOND


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time of these processes so far together."""
    return sum(cpu_times(pids))


def cpu_by_name(pids: Iterable[int]) -> dict[str, float]:
    """Return the user and system time of these processes so far by their names."""
    found: defaultdict[str, float] = defaultdict(float)
    for pid in pids:
        found[command_name(pid)] += cpu_seconds([pid])
    return dict(found)


def resident(pids: Iterable[int]) -> int:
    """Return the octets of memory that these processes have resident, shared pages counted in each."""
    return sum(int(fields[21]) * PAGE_SIZE for pid in pids if (fields := stat_fields(pid)))
