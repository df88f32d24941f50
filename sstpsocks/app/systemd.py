"""What systemd is told: that the ports may be used, what the tunnels do, that the program lives (sd_notify(3)).

The protocol is one datagram of VARIABLE=value lines to the socket that NOTIFY_SOCKET names. Where there is none, there
is nobody to tell. A datagram for which systemd's queue has no room is lost, except those that change what it thinks of
the program: for these there is a moment of patience.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import trio

from ..tunnel.steps import StepReport
from .messages import State
from .readyfile import Ready
from .text import one_line

PATIENCE = 1.0
"""Seconds; systemd reads at once, if it does at all."""
LONGEST_DELAY = 10.0
"""Seconds by which a driver may be behind with its work and still count as alive."""


class Notifier:
    """Sends to systemd's socket."""

    def __init__(self, path: str) -> None:
        # A socket in the abstract namespace is written with an @.
        self._path = f"\0{path[1:]}" if path.startswith("@") else path

    def send(self, *assignments: str, patience: float = PATIENCE) -> None:
        """Send the assignments; raises nothing. ``patience``: seconds to wait for room in the queue."""
        if sys.platform != "win32":
            with suppress(OSError):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                    sender.settimeout(patience)
                    sender.sendto("\n".join(assignments).encode("utf-8", "replace"), self._path)

    def status(self, text: str) -> None:
        """Say what ``systemctl status`` shows."""
        self.send(f"STATUS={one_line(text)}", patience=0.0)

    def reload(self, act: Callable[[], None]) -> None:
        """Load the configuration again, with systemd waiting for the end of it (Type=notify-reload)."""
        # sd_notify(3) wants the time of CLOCK_MONOTONIC, which is what Python has for it on Linux.
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            act()
        finally:
            self.send("READY=1")


def notifier(environ: Mapping[str, str]) -> Notifier | None:
    """Return who tells systemd, None where it does not want to know."""
    path = environ.get("NOTIFY_SOCKET", "")
    return Notifier(path) if path.startswith(("/", "@")) else None


class NotifyDisplay:
    """Tells systemd what a person would be told."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._ready = False

    def step(self, report: StepReport) -> None:
        """Show how far the first connect has come."""
        if not self._ready and report.text:
            self._notifier.status(f"{report.step.value}: {report.text}")

    def state(self, state: State) -> None:
        """Show that a tunnel is down, or up again."""
        self._notifier.status(state.text)

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """The ports may be used: systemd starts what waits for that."""
        self._ready = True
        where = ", ".join(ready.listen)
        self._notifier.send("READY=1", f"STATUS={one_line(f'up: {ready.server}, SOCKS and HTTP on {where}')}")

    def warning(self, text: str) -> None:
        """Leave it to the log, as notes."""

    def note(self, text: str) -> None:
        """Leave it to the log."""

    def interrupt(self) -> None:
        """Do nothing: there is no terminal."""

    def ending(self) -> None:
        """The end was asked for, and takes a moment."""
        self._notifier.send("STOPPING=1", "STATUS=ending")

    def failed(self, text: str) -> None:
        """Show why the program ends."""
        self._notifier.send("STOPPING=1", f"STATUS={one_line(text)}")


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Return how many seconds may pass between two signs of life, None when nobody looks (sd_watchdog_enabled(3))."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isascii() and text.isdigit() and int(text) else None


async def keep_watchdog(environ: Mapping[str, str], behind: Callable[[], float]) -> None:
    """Tell systemd that the program lives, until cancelled; returns at once when nobody wants to know.

    That this runs shows that the event loop does. ``behind``: by how many seconds the slowest driver is late with its
    work; when that is too much, systemd is not told, and does what its unit says.
    """
    interval, sender = watchdog_interval(environ), notifier(environ)
    if interval is None or sender is None:
        return
    while True:
        if behind() < LONGEST_DELAY:
            sender.send("WATCHDOG=1", patience=0.0)
        # sd_watchdog_enabled(3): "It is recommended that a daemon sends a keep-alive notification message to the
        # service manager every half of the time returned here."
        await trio.sleep(interval / 2)
