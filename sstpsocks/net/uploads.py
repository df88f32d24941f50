"""What the busy uploads of a tunnel find out together about the queue that they fill.

Theory of operation. The connection that carries the tunnel loses nothing. When the server takes less than we send, be
it for want of CPU time, what it has not taken yet waits in its receive buffer and in ours, and no loss tells an upload
to stop growing: its window fills megabytes, and each new request waits behind them. A router with active queue
management would mark packets in this situation (RFC 7567); here we do it ourselves, for all uploads together:

* Time goes in *rounds*. What the octets of the busy uploads took longer in a round than their paths are long is the
  queue, in the mean.
* A long queue is not always ours. Its time may be the server's or the target's own, or others may stand in it, against
  whom an upload has to hold its own. So each reduction is a *trial*: the uploads reduce their windows once, and when
  that has had time to show, a round says whether as much as before arrives per second. A queue of ours only becomes
  shorter. If less arrives, the windows are given back, and there is no trial for a while, each time longer.

An upload that is slowed down by something else than its window has no part in this: nothing of it waits.
"""

from __future__ import annotations

from typing import Final

SHORT_QUEUE: Final = 0.002
"""Seconds. A queue that needs nothing done about it; on longer paths half a round trip, with which the path stays
full after a reduction."""
SHORT_SHARE: Final = 1 / 2
NEAR: Final = 0.01
"""Seconds. Uploads over a longer path have no part in this: there the slow start of the outer connection looks like a
queue, and a window that was reduced too early takes long to grow again."""
GROWING: Final = 1.25
"""How many times the mean a rate is that still grows, which needs no reduction yet."""
SMALL_WINDOW: Final = 128 * 1024
"""Octets. A window that is no larger fills no queue worth mentioning."""
ROUND: Final = 0.1
"""Seconds that a round takes at least; and at least twice the round trip."""
HARM: Final = 0.8
"""The part of the mean rate before a trial below which the trial did harm. Without a queue of ours it is 0.7."""
RATE_WEIGHT: Final = 1 / 4
"""The weight of a round in the mean rate."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds without a trial after one that did harm: at first, and at most."""

_MEASURE: Final = 0
_SETTLE: Final = 1
_TRIAL: Final = 2


class Uploads:
    """The queue, the trials and their outcome. Times in seconds."""

    __slots__ = (
        "_delivered",
        "_ends",
        "_pause",
        "_pause_ends",
        "_rate",
        "_stage",
        "_started",
        "_waited",
        "reduction",
        "taken_back",
    )

    def __init__(self) -> None:
        self.reduction = 0
        """The number of the latest reduction; an upload that has not made it yet, makes it."""
        self.taken_back = 0
        """The number of the latest reduction that did harm: who made it, takes it back."""
        self._stage = _MEASURE
        self._started = 0.0
        self._ends = float("-inf")
        self._delivered = 0
        self._waited = 0.0
        self._rate = 0.0
        self._pause = 0.0
        self._pause_ends = float("-inf")

    def __repr__(self) -> str:
        return f"<Uploads rate {self._rate:.0f}/s, reduction {self.reduction}, taken back {self.taken_back}>"

    def acknowledged(self, count: int, round_trip: float, path: float, now: float) -> None:
        """``count`` octets of a busy upload arrived; it took ``round_trip``, of which the path is ``path``."""
        if path > NEAR:
            return
        self._waited += (round_trip - path) * count
        self._delivered += count
        if now < self._ends:
            return
        elapsed = now - self._started
        length = max(ROUND, 2 * round_trip)
        if elapsed > 2 * length + self._ends - self._started:
            # Nothing was uploaded for a while.
            self._rate = 0.0
            self._begin(_MEASURE, length, now)
        else:
            self._end_round(self._delivered / elapsed, self._waited / self._delivered, length, path, now)

    def _end_round(self, rate: float, queue: float, length: float, path: float, now: float) -> None:
        stage = self._stage
        if stage == _SETTLE:
            self._begin(_TRIAL, length, now)
            return
        if stage == _TRIAL and rate < HARM * self._rate:
            self.taken_back = self.reduction
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), LONGEST_PAUSE)
            self._pause_ends = now + self._pause
            self._begin(_MEASURE, length, now)
            return
        if stage == _TRIAL:
            self._pause /= 2
        growing = rate > GROWING * self._rate
        self._rate += (rate - self._rate) * (RATE_WEIGHT if self._rate else 1.0)
        if queue > max(SHORT_QUEUE, path * SHORT_SHARE) and not growing and now >= self._pause_ends:
            self.reduction += 1
            self._begin(_SETTLE, length, now)
        else:
            self._begin(_MEASURE, length, now)

    def _begin(self, stage: int, length: float, now: float) -> None:
        self._stage = stage
        self._started = now
        self._ends = now + length
        self._delivered = 0
        self._waited = 0.0
