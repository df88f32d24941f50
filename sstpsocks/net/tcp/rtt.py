"""The retransmission timeout from round-trip times (RFC 6298)."""

from __future__ import annotations

from typing import Final

ALPHA: Final = 1 / 8
BETA: Final = 1 / 4
K: Final = 4
GRANULARITY: Final = 0.001
"""G: our clock is finer, but the loop that reads it wakes about once a millisecond at best."""
UNMEASURED_LIMIT: Final = 8
"""Timeouts in a row after which a backed-off RTO is kept to the letter of RFC 6298."""
LARGEST_QUEUE: Final = 8
"""A path is believed to be no shorter than this part of a round trip, whatever is said of the queue that it met."""


class RttEstimator:
    """SRTT, RTTVAR and RTO of one connection, in seconds."""

    __slots__ = ("_initial_rto", "_max_rto", "_min_rto", "_unmeasured", "rto", "rttvar", "smallest", "srtt")

    def __init__(self, initial_rto: float, min_rto: float, max_rto: float) -> None:
        self.srtt: float | None = None
        """The smoothed round-trip time; None until the first measurement."""
        self.rttvar = 0.0
        """The round-trip time variation."""
        self.smallest: float | None = None
        """The smallest measurement so far: the path without queues, as far as is known."""
        self.rto = initial_rto
        """(2.1) "Until a round-trip time (RTT) measurement has been made … set RTO <- 1 second"."""
        self._initial_rto = initial_rto
        self._min_rto = min_rto
        self._max_rto = max_rto
        self._unmeasured = 0
        """Timeouts that ended in progress since the last measurement."""

    def __repr__(self) -> str:
        return f"<RttEstimator srtt {self.srtt} rttvar {self.rttvar:.6f} rto {self.rto:.3f}>"

    def measured(self, rtt: float) -> None:
        """Take a measurement of a segment that was sent once (Karn's algorithm is the caller's business)."""
        if self.smallest is None or rtt < self.smallest:
            self.smallest = rtt
        if self.srtt is None:
            # (2.2) "SRTT <- R, RTTVAR <- R/2, RTO <- SRTT + max (G, K*RTTVAR)"
            self.srtt = rtt
            self.rttvar = rtt / 2
        else:
            # (2.3) "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, SRTT <- (1 - alpha) * SRTT + alpha * R'"
            self.rttvar += BETA * (abs(self.srtt - rtt) - self.rttvar)
            self.srtt += ALPHA * (rtt - self.srtt)
        # (2.4), (2.5): lower and upper bound. The lower one goes on the variation as in Linux, so that a very steady
        # path with a long round trip keeps min_rto of head room for a peer's delayed ACK.
        self.rto = self._computed()
        self._unmeasured = 0

    def waited(self, queue: float) -> None:
        """The first measurement met a queue of about this length, which is no part of the path."""
        if self.smallest is not None:
            self.smallest = max(self.smallest - queue, self.smallest / LARGEST_QUEUE)

    def progressed(self) -> None:
        """Something that had timed out was acknowledged, which measures nothing (Karn).

        RFC 6298 keeps the backed-off RTO until there is a measurement. Where much is lost that can take so long that
        the RTO grows without end, so at first only the initial RTO is kept; if timeouts go on, the round trip may
        really have become longer than that, and the rule is kept to the letter.
        """
        self._unmeasured += 1
        if self._unmeasured <= UNMEASURED_LIMIT and self.srtt is not None:
            self.rto = min(self.rto, max(self._computed(), self._initial_rto))

    def _computed(self) -> float:
        srtt = self.srtt or 0.0
        return min(srtt + max(GRANULARITY, K * self.rttvar, self._min_rto), self._max_rto)

    def back_off(self) -> None:
        """(5.5) "The host MUST set RTO <- RTO * 2 ("back off the timer")", up to the bound of (2.5)."""
        self.rto = min(self.rto * 2, self._max_rto)
