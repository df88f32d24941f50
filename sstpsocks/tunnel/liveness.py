"""Whether the server lives: a machine without IO that watches what comes and goes on the connection to it.

Theory of operation. Any octet from the server is a sign of life. There are two watches:

* The hello timer of SSTP (sstp/machine.py) asks after 20 s of silence, by SSTP and by LCP, since some servers answer
  only one of them; 20 s more without anything, and the server is dead. That is always so.
* With a *limit*, and for a while after this machine woke or its network changed, whatever is sent wants an answer: when
  nothing came for a third of the limit since, the server is asked, and when nothing came for all of it, it is dead.
  What was sent need not have left: a connection that takes nothing counts as one that does not answer.

Somebody who was asked and has not answered for SUSPICION is suspected, until something comes. Times in seconds.
"""

from __future__ import annotations

import math
from enum import Enum

SUSPICION = 3.0


class Finding(Enum):
    """What handle_timer() wants done."""

    ASK = "ask"
    SUSPECT = "suspect"
    DEAD = "dead"


class Liveness:
    """Watches one connection."""

    __slots__ = ("_asked_at", "_limit", "_probe_limit", "_suspected", "_waiting_since")

    def __init__(self, limit: float | None = None) -> None:
        """``limit``: seconds after which what was sent must have been answered by anything; None: there is none."""
        self._limit = limit
        self._probe_limit: float | None = None
        self._waiting_since: float | None = None
        """When something was sent that nothing has come after, while there is a limit."""
        self._asked_at: float | None = None
        self._suspected = False

    def __repr__(self) -> str:
        return f"<Liveness {'suspected' if self._suspected else 'fine'}>"

    def heard(self) -> bool:
        """Something came; return whether that clears a suspicion."""
        self._waiting_since = self._asked_at = self._probe_limit = None
        suspected, self._suspected = self._suspected, False
        return suspected

    def sent(self, now: float) -> None:
        """Something is to be sent."""
        if self._waiting_since is None and self._limit is not None:
            self._waiting_since = now

    def asked(self, now: float) -> None:
        """The server was asked whether it lives, by whichever timer."""
        if self._asked_at is None:
            self._asked_at = now

    def probe(self, now: float, limit: float) -> None:
        """Something has happened that may have cost the connection: ask now, and give it so long to answer."""
        self._waiting_since = now
        self._probe_limit = limit
        self._asked_at = now

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        time = min(self._ask_at, self._suspect_at, self._dead_at)
        return time if time < math.inf else None

    def handle_timer(self, now: float) -> Finding | None:
        """Return what is due, one thing at a time; None: nothing is."""
        if now >= self._dead_at:
            self._waiting_since = self._asked_at = None
            return Finding.DEAD
        if now >= self._ask_at:
            self._asked_at = now
            return Finding.ASK
        if now >= self._suspect_at:
            self._suspected = True
            return Finding.SUSPECT
        return None

    @property
    def _in_force(self) -> float:
        limit = self._probe_limit if self._probe_limit is not None else self._limit
        return math.inf if limit is None else limit

    @property
    def _ask_at(self) -> float:
        if self._waiting_since is None or self._asked_at is not None:
            return math.inf
        return self._waiting_since + self._in_force / 3

    @property
    def _dead_at(self) -> float:
        return math.inf if self._waiting_since is None else self._waiting_since + self._in_force

    @property
    def _suspect_at(self) -> float:
        return math.inf if self._asked_at is None or self._suspected else self._asked_at + SUSPICION
