"""How much may be in flight: the interface, and NewReno (RFC 5681, RFC 6582, initial window by RFC 6928).

CUBIC, the default, is in cubic.py.
"""

from __future__ import annotations

from typing import Protocol

from ...errors import LocalProtocolError


def initial_window(smss: int) -> int:
    """Return IW: RFC 6928 section 2, "min (10*MSS, max (2*MSS, 14600))"."""
    return min(10 * smss, max(2 * smss, 14600))


class CongestionControl(Protocol):
    """What sending and loss recovery ask of an algorithm. Octets; ``flight`` is what is sent and unacknowledged."""

    cwnd: int
    """The congestion window."""
    ssthresh: int
    """The slow start threshold."""
    used: int
    """What was out when data was sent last: how much of the window is used. The sender keeps it, because
    acknowledgements come in batches, within which ``flight`` shrinks although the window is full."""

    def acknowledged(self, count: int, flight: int, now: float, rtt: float | None) -> None:
        """``count`` octets were newly acknowledged outside recovery; ``flight`` was out before."""
        ...

    def loss_detected(self, flight: int, now: float) -> None:
        """Fast retransmit: reduce ssthresh (RFC 5681 equation 4) and the window to it."""
        ...

    def congestion_experienced(self, flight: int, now: float) -> None:
        """An ECN-Echo arrived, the first in a window of data: reduce as for a loss (RFC 3168 section 6.1.2)."""
        ...

    def retransmission_timeout(self, flight: int, now: float, *, first: bool) -> None:
        """The timer fired: back to one segment. ``first`` is False when this loss reduced ssthresh already."""
        ...

    def recovered(self, flight: int) -> None:
        """Fast recovery ended with everything acknowledged that was out when it began."""
        ...

    def idle(self) -> None:
        """Nothing was sent for more than one RTO: restart the ACK clock (RFC 5681 section 4.1)."""
        ...

    def set_mss(self, smss: int) -> None:
        """The path carries smaller segments than was thought."""
        ...


class NewReno:
    """RFC 5681 slow start and congestion avoidance with appropriate byte counting."""

    __slots__ = ("_avoided", "_smss", "cwnd", "ssthresh", "used")

    def __init__(self, smss: int, *, syn_lost: bool = False) -> None:
        if smss <= 0:
            raise LocalProtocolError("a segment size must be positive", layer="tcp")
        self._smss = smss
        # RFC 5681 section 3.1: "If the SYN or SYN/ACK is lost, the initial window … MUST be one segment".
        self.cwnd = smss if syn_lost else initial_window(smss)
        # "The initial value of ssthresh SHOULD be set arbitrarily high".
        self.ssthresh = 1 << 30
        self.used = 0
        self._avoided = 0
        """Octets acknowledged towards the next increase in congestion avoidance."""

    def __repr__(self) -> str:
        return f"<NewReno cwnd {self.cwnd} ssthresh {self.ssthresh}>"

    def __copy__(self) -> NewReno:
        other = NewReno(self._smss)
        other.cwnd = self.cwnd
        other.ssthresh = self.ssthresh
        other.used = self.used
        other._avoided = self._avoided
        return other

    def acknowledged(self, count: int, flight: int, now: float, rtt: float | None) -> None:
        """Grow, but only a window that is used: RFC 7661 section 3 explains why an unused one must not."""
        cwnd = self.cwnd
        used = max(flight, self.used)
        if cwnd < self.ssthresh:
            if 2 * used >= cwnd:
                # RFC 3465 without its limit of 2 segments, as kernels do: with peers that acknowledge once a batch of
                # packets, as we do, slow start would be linear otherwise.
                self.cwnd = min(cwnd + count, self.ssthresh)
            return
        if used + 2 * self._smss < cwnd:
            return
        # RFC 5681 section 3.1 recommends to count acknowledged octets and to add one SMSS for each cwnd of them.
        self._avoided += count
        if self._avoided >= cwnd:
            self._avoided -= cwnd
            self.cwnd = cwnd + self._smss

    def loss_detected(self, flight: int, now: float) -> None:
        """Halve."""
        # RFC 5681 equation (4): "ssthresh = max (FlightSize / 2, 2*SMSS)"
        self.ssthresh = max(flight // 2, 2 * self._smss)
        self.cwnd = self.ssthresh
        self._avoided = 0

    def congestion_experienced(self, flight: int, now: float) -> None:
        """RFC 3168 section 6.1.2 asks for the same response as to a lost packet; a window of one segment stays so."""
        cwnd = self.cwnd
        self.loss_detected(flight, now)
        self.cwnd = min(cwnd, self.cwnd)

    def retransmission_timeout(self, flight: int, now: float, *, first: bool) -> None:
        """Fall back to slow start from the loss window."""
        if first:
            # RFC 5681 section 3.1: "the value of ssthresh is held constant" when the same segment is lost again. The
            # same goes for a timeout in fast recovery, where flight is inflated by what duplicate ACKs let out.
            self.ssthresh = max(flight // 2, 2 * self._smss)
        self.cwnd = self._smss
        self._avoided = 0

    def recovered(self, flight: int) -> None:
        """RFC 6582 section 3.2 step 3, full acknowledgments: "min (ssthresh, max(FlightSize, SMSS) + SMSS)"."""
        self.cwnd = min(self.ssthresh, max(flight, self._smss) + self._smss)
        self._avoided = 0

    def idle(self) -> None:
        """RFC 5681 section 4.1: "cwnd is reduced to the value of the restart window", min(IW, cwnd)."""
        self.cwnd = min(self.cwnd, initial_window(self._smss))

    def set_mss(self, smss: int) -> None:
        """Count in the new unit; the window in octets may stay (RFC 1191 section 6.4)."""
        self._smss = smss
        self.cwnd = max(self.cwnd, smss)
