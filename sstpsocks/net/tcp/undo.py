"""Taking back what a recovery did when it turns out that nothing was lost.

Three witnesses: D-SACK says that every retransmission was a duplicate (RFC 3708), the first data acknowledged after a
timeout had not been sent again (F-RTO, RFC 5682), or the timestamp echoed is that of the original (Eifel, RFC 3522).
"""

from __future__ import annotations

import copy
from typing import Final

from .congestion import CongestionControl

F_RTO_OFF: Final = 0
"""No spurious timeout is suspected."""
F_RTO_WAIT: Final = 2
"""RFC 5682 section 3.1 step 2: the first segment was sent again, wait for the acknowledgement of new data."""
F_RTO_NEW_DATA: Final = 3
"""Step 3: new data goes out instead of what seems lost; the next acknowledgement decides."""


class Undo:
    """What is needed to take back the latest recovery."""

    __slots__ = (
        "_earlier",
        "after_timeout",
        "duplicates",
        "frto_step",
        "prior",
        "retransmit_ts",
        "retransmitted",
        "undo_marker",
        "undo_retrans",
    )

    def __init__(self) -> None:
        self.prior: CongestionControl | None = None
        """The congestion control as it was before the recovery; None when there is nothing to take back."""
        self.undo_marker = 0
        """The position of SND.UNA when the recovery began."""
        self.undo_retrans = 0
        """Octets sent again since, less those that were reported as duplicates."""
        self.after_timeout = False
        """That recovery began with a retransmission timeout."""
        self.frto_step = F_RTO_OFF
        """Where F-RTO is."""
        self.retransmit_ts: int | None = None
        """RetransmitTS of RFC 3522: the timestamp of the first retransmission, until data is acknowledged."""
        self._earlier: tuple[CongestionControl, int, int] | None = None
        """The recovery before, if it may still turn out needless: what ``prior``, ``undo_marker`` and ``undo_retrans``
        are for the latest.
        """
        self.retransmitted = 0
        """Octets sent again in the whole life of the connection."""
        self.duplicates = 0
        """Octets reported as duplicates in the whole life of the connection."""

    def __repr__(self) -> str:
        return (
            f"<Undo prior {self.prior} marker {self.undo_marker} retrans {self.undo_retrans}"
            f" frto_step {self.frto_step} retransmitted {self.retransmitted} duplicates {self.duplicates}>"
        )

    def begin(self, congestion: CongestionControl, high_ack: int, *, after_timeout: bool) -> None:
        """A recovery begins now, before ``congestion`` is told."""
        if self.prior is not None and self.undo_retrans > 0:
            # The duplicates that show it may be under way.
            self._earlier = (self.prior, self.undo_marker, self.undo_retrans)
        self.prior = copy.copy(congestion)
        self.after_timeout = after_timeout
        self.undo_marker = high_ack
        self.undo_retrans = 0
        self.frto_step = F_RTO_OFF
        self.retransmit_ts = None

    def forget(self) -> None:
        """There is nothing to take back, or it cannot be known any more."""
        self.prior = None
        self.undo_retrans = 0
        self.frto_step = F_RTO_OFF
        self.retransmit_ts = None

    def settle(self) -> None:
        """No recovery so far may be taken back: what it did was due for another reason."""
        self.forget()
        self._earlier = None

    @property
    def ours(self) -> bool:
        """Whether the duplicates can be of our making; a network that duplicates packets says nothing about order."""
        return self.duplicates <= self.retransmitted

    def reordered(self, start: int) -> bool:
        """Whether a D-SACK that begins at ``start`` says that fast recovery sent again what was only late: neither lost
        nor, as after a timeout, everything late together.
        """
        return not self.after_timeout and self.undo_retrans > 0 and start >= self.undo_marker

    def duplicate(self, start: int, end: int) -> bool:
        """A D-SACK reports ``[start, end)``. True when with it every retransmission turned out to be needless.

        RFC 3708 section 2: the congestion control may be taken back when all that was sent again in the window was
        received twice.
        """
        self.duplicates += end - start
        if start < self.undo_marker:
            return self._duplicate_of_earlier(start, end)
        if self.prior is None or self.undo_retrans <= 0:
            return False
        self.undo_retrans -= end - start
        return self.undo_retrans <= 0

    def _duplicate_of_earlier(self, start: int, end: int) -> bool:
        """The same for the recovery before the latest: if that was needless the latest began from too small a window.
        True when the latest has been taken back already.
        """
        if self._earlier is None or start < self._earlier[1]:
            return False
        prior, marker, retrans = self._earlier
        retrans -= end - start
        if retrans > 0:
            self._earlier = (prior, marker, retrans)
            return False
        self._earlier = None
        taken_back = self.prior is None
        self.prior = prior
        return taken_back
