"""The figures that every program which Prometheus watches has in common, by its names for them.

What the system does not tell is left out: all but the start is Linux's, or Unix's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

Figure = tuple[str, str, str, float]
"""Name, kind, explanation and value."""

_SELF = Path("/proc/self")


def process_figures(started: float) -> Iterator[Figure]:
    """Yield them; ``started`` is the Unix time at which the program began."""
    yield "process_start_time_seconds", "gauge", "Start time of the process since the Unix epoch.", started
    times = os.times()
    cpu = times.user + times.system
    yield "process_cpu_seconds_total", "counter", "Total user and system CPU time spent.", cpu
    if sys.platform != "win32":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY:
            yield "process_max_fds", "gauge", "Maximum number of open file descriptors.", limit
        try:
            open_files = len(os.listdir(_SELF / "fd"))
            virtual, resident = (_SELF / "statm").read_text(encoding="ascii").split()[:2]
        except (OSError, ValueError):
            return  # no /proc here
        page = resource.getpagesize()
        yield "process_open_fds", "gauge", "Number of open file descriptors.", open_files
        yield "process_resident_memory_bytes", "gauge", "Resident memory size.", int(resident) * page
        yield "process_virtual_memory_bytes", "gauge", "Virtual memory size.", int(virtual) * page
