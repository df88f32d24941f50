"""Whether the program lives and whether it can be used: what /healthz and /readyz answer.

Theory of operation. Both are asked by machines that act on a single answer: one restarts the program, the other sends
users elsewhere. So neither looks at load, and neither follows each twitch of a tunnel.

* Healthy: the program does what it is for, or can come to it by itself. A tunnel that is down is dialled again, and a
  restart would do no better; only when all tunnels have stopped for good, or when the task that looks after them has
  not been heard of for STALE seconds, is it not.
* Ready: every tunnel carries traffic. A tunnel counts as lost when it has been down for DOWN_FOR seconds, so that one
  that is dialled again at once makes no difference; after that it counts as back when it has been up for UP_FOR
  seconds, so that a server that lets us in and throws us out again does not attract users each time. The first time
  it counts at once. A tunnel that is idle until somebody wants it is as good as one that is up.
"""

from __future__ import annotations

from typing import Final

STALE: Final = 30.0
DOWN_FOR: Final = 5.0
UP_FOR: Final = 3.0


class TunnelHealth:
    """Whether one tunnel counts as usable. Times are seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self.ready = False
        self.stopped = False
        """It is gone for good."""
        self._was_ready = False
        self._usable = False
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<TunnelHealth {'ready' if self.ready else 'not ready'}>"

    def look(self, now: float, *, usable: bool, stopped: bool = False) -> None:
        """Take how it is now: whether what is sent there now gets through, or whether it is gone for good."""
        self.stopped = stopped
        if usable != self._usable:
            self._usable, self._since = usable, now
        if stopped:
            self.ready = False
        elif usable and not self.ready:
            self.ready = not self._was_ready or now - self._since >= UP_FOR
        elif not usable and self.ready:
            self.ready = now - self._since < DOWN_FOR
        self._was_ready = self._was_ready or self.ready


class Health:
    """The whole program's."""

    def __init__(self, started: float) -> None:
        self.tunnels: dict[str, TunnelHealth] = {}
        self._looked = started

    def __repr__(self) -> str:
        return f"<Health of {len(self.tunnels)} tunnels>"

    def tunnel(self, name: str) -> TunnelHealth:
        """Return that of one tunnel, which counts from now on."""
        return self.tunnels.setdefault(name, TunnelHealth())

    def looked(self, now: float) -> None:
        """The tunnels have been looked at."""
        self._looked = now

    def healthy(self, now: float) -> bool:
        """Whether a restart would not make it any better."""
        stopped = bool(self.tunnels) and all(tunnel.stopped for tunnel in self.tunnels.values())
        return not stopped and now - self._looked <= STALE

    @property
    def ready(self) -> bool:
        """Whether users may be sent here."""
        return bool(self.tunnels) and all(tunnel.ready for tunnel in self.tunnels.values())
