"""Whether this machine has slept, or its network is another one: then the connection to the server may be dead.

Theory of operation. The monotonic clock, which all timers run on, stands still while a machine sleeps. Another clock
does not: CLOCK_BOOTTIME on Linux, elsewhere the wall clock, which people and NTP set, too; then a probe too many is
sent. Both are looked at once a second, and so is the way to the server: whether the local address of the connection is
still one of ours (a socket can be bound to it), and whether the system would still take it for a new connection.
That costs three system calls and needs no netlink.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from enum import Enum

LOOK_INTERVAL = 1.0
JUMP = 2.0
"""Seconds of sleep that are worth a probe; a busy machine is late by less."""
PROBE_LIMIT = 5.0
"""Seconds that the server has for an answer then."""

Clocks = Callable[[], tuple[float, float]]
"""Returns the monotonic clock and one that goes on while the machine sleeps, in seconds."""

_ANY_PORT = 9  # nothing is sent there


def read_clocks() -> tuple[float, float]:
    """Return the clocks of this machine."""
    if sys.platform == "linux":
        other = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        other = time.time()
    return time.monotonic(), other


class ClockWatch:
    """Compares two clocks."""

    def __init__(self, monotonic: float, other: float) -> None:
        self._ahead = other - monotonic

    def look(self, monotonic: float, other: float) -> bool:
        """Whether the machine has slept since the last look."""
        before, self._ahead = self._ahead, other - monotonic
        return self._ahead - before >= JUMP


class Change(Enum):
    """What has become of the way to the server."""

    ADDRESS_GONE = "address gone"
    OTHER_WAY = "other way"
    """A new connection would be made from another address."""


class WayWatch:
    """Watches which address of this machine leads to the server."""

    def __init__(self) -> None:
        self._seen: tuple[str, str] | None = None
        self._source: str | None = None

    def look(self, endpoints: tuple[str, str] | None) -> Change | None:
        """Return what has changed since the last look at the same connection, by its local and remote addresses."""
        if endpoints is None or any("%" in address for address in endpoints):
            return None  # no IP, or addresses of one link that mean nothing without it
        local, remote = endpoints
        if not _is_ours(local):
            return Change.ADDRESS_GONE
        before, source = self._source, _source_for(remote)
        same, self._seen, self._source = endpoints == self._seen, endpoints, source
        return Change.OTHER_WAY if same and source != before else None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_ours(address: str) -> bool:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _source_for(remote: str) -> str | None:
    """Return the address that the system would connect from, None when there is no way there."""
    with socket.socket(_family(remote), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((remote, _ANY_PORT))
            return str(sock.getsockname()[0])
        except OSError:
            return None
