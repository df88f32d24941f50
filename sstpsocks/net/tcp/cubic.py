"""CUBIC (RFC 9438), with HyStart++ (RFC 9406) in its first slow start.

Theory of operation. After a loss the window grows as a cubic function of the time since then: fast at first, flat
around W_max where the loss was, and fast again when that turns out to be no limit any more. So its growth does not
depend on the round-trip time as Reno's does. Where Reno would be faster (short round trips, small windows), W_est says
what Reno would have, and the window is at least that. Windows are octets here, where the RFC counts in segments.
"""

from __future__ import annotations

import copy
from typing import Final

from ...errors import LocalProtocolError
from .congestion import initial_window
from .hystart import HyStart

C: Final = 0.4
"""RFC 9438 section 5: how fast the window grows, in segments per second cubed."""
BETA: Final = 0.7
"""Section 4.6: what a loss leaves of the window."""
ALPHA: Final = 3 * (1 - BETA) / (1 + BETA)
"""Section 4.3: segments a round trip by which Reno would grow with that beta at the same average window."""
_RTT_GAIN: Final = 1 / 8
"""How much a sample counts in the smoothed round-trip time."""


class Cubic:
    """The congestion window of one connection."""

    __slots__ = (
        "_cwnd_exact",
        "_cwnd_prior",
        "_epoch_start",
        "_hystart",
        "_k",
        "_last_ack",
        "_rtt",
        "_smss",
        "_timed_out",
        "_w_est",
        "_w_max",
        "cwnd",
        "ssthresh",
        "used",
    )

    def __init__(self, smss: int, *, syn_lost: bool = False) -> None:
        if smss <= 0:
            raise LocalProtocolError("a segment size must be positive", layer="tcp")
        self._smss = smss
        # RFC 5681 section 3.1: "If the SYN or SYN/ACK is lost, the initial window … MUST be one segment".
        self.cwnd = smss if syn_lost else initial_window(smss)
        self.ssthresh = 1 << 30
        self.used = 0
        self._cwnd_exact = 0.0
        """cwnd with its fraction, in congestion avoidance."""
        self._cwnd_prior = 0.0
        """cwnd_prior: the window when it was reduced last."""
        self._w_max = 0.0
        """W_max: where the cubic function is flat."""
        self._w_est = 0.0
        """W_est: what Reno would have."""
        self._k = 0.0
        """K: seconds from the beginning of the epoch until the window is W_max again."""
        self._epoch_start: float | None = None
        """When the present stage of congestion avoidance began; None before its first acknowledgement."""
        self._last_ack = 0.0
        """When an acknowledgement came last in this epoch."""
        self._timed_out = False
        """The last reduction was a retransmission timeout."""
        self._rtt = 0.0
        """The smoothed round-trip time; 0 until one is measured."""
        self._hystart: HyStart | None = HyStart()
        """RFC 9406 section 4.3 recommends it for the initial slow start only; None when that is over."""

    def __repr__(self) -> str:
        return f"<Cubic cwnd {self.cwnd} ssthresh {self.ssthresh} w_max {self._w_max:.0f} k {self._k:.2f}>"

    def __copy__(self) -> Cubic:
        other = Cubic(self._smss)
        other.cwnd = self.cwnd
        other.ssthresh = self.ssthresh
        other.used = self.used
        other._cwnd_exact = self._cwnd_exact
        other._cwnd_prior = self._cwnd_prior
        other._w_max = self._w_max
        other._w_est = self._w_est
        other._k = self._k
        other._epoch_start = self._epoch_start
        other._last_ack = self._last_ack
        other._timed_out = self._timed_out
        other._rtt = self._rtt
        other._hystart = copy.copy(self._hystart)
        return other

    def acknowledged(self, count: int, flight: int, now: float, rtt: float | None) -> None:
        """Grow, but only a window that is used (RFC 9438 section 4.2, RFC 7661 section 3)."""
        if rtt is not None:
            self._rtt += (rtt - self._rtt) * (_RTT_GAIN if self._rtt else 1.0)
        if self.cwnd < self.ssthresh:
            self._slow_start(count, flight, rtt)
            return
        if max(flight, self.used) + 2 * self._smss < self.cwnd:
            if self._epoch_start is not None:
                # Section 4.2: t does not include the time in which the window did not grow for want of data.
                self._epoch_start += now - self._last_ack
                self._last_ack = now
            return
        if self._epoch_start is None:
            self._begin_epoch(now)
        self._last_ack = now
        self._congestion_avoidance(count, now)

    def _slow_start(self, count: int, flight: int, rtt: float | None) -> None:
        hystart = self._hystart
        growth = count if hystart is None else hystart.growth(count, flight, rtt)
        if 2 * max(flight, self.used) >= self.cwnd:
            # Without the limits of RFC 3465 (2 segments) and RFC 9406 section 4.2 (L=8 where nothing paces), as kernels
            # do: with peers that acknowledge once a batch of packets, as we do, slow start would be linear otherwise.
            self.cwnd = min(self.cwnd + growth, self.ssthresh)
        if hystart is not None and hystart.finished:
            # RFC 9406 section 4.2: after CSS_ROUNDS "enter the congestion avoidance phase by setting the ssthresh to
            # the current cwnd."
            self.ssthresh = self.cwnd
            self._hystart = None

    def _begin_epoch(self, now: float) -> None:
        """A stage of congestion avoidance begins: sections 4.2 and 4.8."""
        cwnd = self.cwnd
        self._epoch_start = now
        self._cwnd_exact = self._w_est = float(cwnd)
        if self._timed_out or self._w_max <= cwnd:
            # Section 4.8 for a timeout, section 4.10 for a slow start that ended without a loss: K is 0, W_max is cwnd.
            self._timed_out = False
            self._w_max = float(cwnd)
            self._k = 0.0
        else:
            # Figure 2: "K = cubic_root((W_max - cwnd_epoch) / C)"
            self._k = ((self._w_max - cwnd) / (C * self._smss)) ** (1 / 3)

    def _w_cubic(self, t: float) -> float:
        """Figure 1: "W_cubic(t) = C * (t - K)^3 + W_max"."""
        return C * self._smss * (t - self._k) ** 3 + self._w_max

    def _congestion_avoidance(self, count: int, now: float) -> None:
        cwnd = self._cwnd_exact
        t = now - (self._epoch_start if self._epoch_start is not None else now)
        # Figure 4. Section 4.3: once W_est has reached cwnd_prior, alpha is 1, as Reno's.
        alpha = ALPHA if self._w_est < self._cwnd_prior else 1.0
        self._w_est += alpha * self._smss * count / cwnd
        if self._w_cubic(t) < self._w_est:
            # Section 4.3, the Reno-friendly region.
            cwnd = max(cwnd, self._w_est)
        else:
            # Section 4.2: target is W_cubic(t + RTT), not below cwnd and not above 1.5 cwnd; sections 4.4 and 4.5: the
            # window grows by (target - cwnd) / cwnd for each segment acknowledged.
            target = min(max(self._w_cubic(t + self._rtt), cwnd), 1.5 * cwnd)
            cwnd += (target - cwnd) * min(count / cwnd, 1.0)
        self._cwnd_exact = cwnd
        self.cwnd = int(cwnd)

    def loss_detected(self, flight: int, now: float) -> None:
        """Section 4.6, multiplicative decrease."""
        self._reduce(flight, self.cwnd)
        self.cwnd = self.ssthresh

    def congestion_experienced(self, flight: int, now: float) -> None:
        """Section 4.6 for an ECN-Echo: the same decrease; a window of one segment stays so."""
        cwnd = self.cwnd
        self.loss_detected(flight, now)
        self.cwnd = min(cwnd, self.cwnd)

    def retransmission_timeout(self, flight: int, now: float, *, first: bool) -> None:
        """Section 4.8: the window of Reno, ssthresh by beta."""
        if first:
            # RFC 5681 section 3.1: "the value of ssthresh is held constant" when the same segment is lost again.
            self._reduce(flight, self.cwnd)
        self.cwnd = self._smss
        self._timed_out = True
        self._epoch_start = None
        self._hystart = None

    def _reduce(self, flight: int, cwnd: int) -> None:
        # Section 4.7, fast convergence: a window reduced before it has reached W_max again makes room for others.
        self._w_max = cwnd * (1 + BETA) / 2 if cwnd < self._w_max else float(cwnd)
        self._cwnd_prior = float(cwnd)
        # Figure 5: "ssthresh = flight_size * beta_cubic", at least 2 segments.
        self.ssthresh = max(int(flight * BETA), 2 * self._smss)
        self._epoch_start = None
        self._timed_out = False
        self._hystart = None

    def recovered(self, flight: int) -> None:
        """RFC 6582 section 3.2 step 3, full acknowledgments: "min (ssthresh, max(FlightSize, SMSS) + SMSS)"."""
        self.cwnd = min(self.ssthresh, max(flight, self._smss) + self._smss)
        self._epoch_start = None

    def idle(self) -> None:
        """RFC 5681 section 4.1: "cwnd is reduced to the value of the restart window", min(IW, cwnd)."""
        restart_window = min(self.cwnd, initial_window(self._smss))
        if restart_window < self.cwnd:
            # RFC 7661 section 4.4.1 keeps what was learned of the path in ssthresh.
            self.ssthresh = max(self.ssthresh, 3 * self.cwnd // 4)
            self.cwnd = restart_window
        self._epoch_start = None

    def set_mss(self, smss: int) -> None:
        """Count in the new unit; the window in octets may stay (RFC 1191 section 6.4)."""
        self._smss = smss
        self.cwnd = max(self.cwnd, smss)
        self._cwnd_exact = max(self._cwnd_exact, float(smss))
