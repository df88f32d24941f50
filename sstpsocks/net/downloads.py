"""What the busy downloads of a tunnel know of each other, so that each gets its share.

Theory of operation. All of them wait in the same queues: in the server, in the outer connection, in front of us. There
whoever has the largest window is the fastest, and windows grow with the round-trip time of the path; but the handshake
of a connection that opens beside busy downloads meets their queue and takes it for a long path. Its window would grow,
the queue with it, and the others would get less and less. Therefore

* each busy download tells how long its segments waited (waited()), and a handshake subtracts the queue (queue());
* where several are busy, a window grows only while its download is not faster than the mean of all (ahead()), and one
  that is far ahead gives some of its buffer back (tcp/window.py).

A download that is alone has none of these limits.
"""

from __future__ import annotations

from typing import Final

QUEUE_RENEWAL: Final = 0.005
"""Seconds for which the least that any download waited stands, until a longer wait replaces it: some batches."""
QUEUE_LIFETIME: Final = 0.05
"""Seconds after which it is worth nothing."""
CROWD_LIFETIME: Final = 1.0
"""Seconds for which a download that was busy counts as one that still is: some rounds of a long path."""
MEAN_WEIGHT: Final = 1 / 16
"""The weight of one download's speed in the mean of all."""


class Downloads:
    """The queue that the busy downloads share, and their mean speed. Times in seconds, speeds in octets a second."""

    __slots__ = ("_busy_port", "_busy_seen", "_crowd_seen", "_mean_rate", "_queue", "_queue_seen")

    def __init__(self) -> None:
        self._queue = 0.0
        self._queue_seen = float("-inf")
        self._busy_port = 0
        self._busy_seen = float("-inf")
        self._crowd_seen = float("-inf")
        self._mean_rate = 0.0

    def __repr__(self) -> str:
        return f"<Downloads mean {self._mean_rate:.0f}/s, queue {self._queue:.4f} s>"

    def waited(self, delay: float, now: float) -> None:
        """A segment of a busy download, received at ``now``, took ``delay`` longer than its path is long."""
        if delay <= self._queue or now - self._queue_seen > QUEUE_RENEWAL:
            self._queue = delay
            self._queue_seen = now

    def queue(self, now: float) -> float:
        """Return how long what arrives now has waited in the queues that all share, as far as is known.

        The least that lately any download waited, because each can have queues of its own beyond the server.
        """
        return self._queue if now - self._queue_seen <= QUEUE_LIFETIME else 0.0

    def busy(self, port: int, rate: float, now: float) -> None:
        """The download with our ``port`` had this speed in its latest round."""
        if now - self._busy_seen > CROWD_LIFETIME:
            self._mean_rate = rate
        elif port != self._busy_port:
            self._crowd_seen = now
        self._busy_port = port
        self._busy_seen = now
        self._mean_rate += (rate - self._mean_rate) * MEAN_WEIGHT

    def crowded(self, now: float) -> bool:
        """Whether several downloads are busy."""
        return now - self._crowd_seen <= CROWD_LIFETIME

    def ahead(self, rate: float) -> float:
        """Return how many times as fast as the mean of all busy downloads one with this speed is."""
        return rate / self._mean_rate if self._mean_rate else 1.0
