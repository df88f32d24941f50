"""What TCP knows of the reliable connection that its packets travel in.

Theory of operation. The tunnel runs TCP over TCP: between us and the server nothing is lost, it only waits. While the
outer connection makes no progress, a retransmission could not arrive before what it repeats, so the retransmission
timers wait with it. Progress is: our socket takes data, and something came from the server lately and after the
segment was sent. When nothing came, only a *witness* can tell a stalled server from a lost segment: an echo request
that the server answers in order, behind whatever it relays. An answer to one sent after the segment, without an
acknowledgement of the segment, means that the segment or its acknowledgement was lost beyond the server. The wait is
bounded, in case the server answers no echo requests.

The driver keeps the first fields up to date and sends the witness; TCP asks may_retransmit().
"""

from __future__ import annotations

from typing import Final

from .downloads import Downloads
from .uploads import Uploads

# The server's last sign of life counts as progress for so long. Shorter than the shortest retransmission timeout, so
# that a stall between two of them is noticed.
RECENT: Final = 0.15

# How often a timer that waits looks again; an answer to the witness lets all look at once.
LOOK_AGAIN: Final = 0.25

# A timer waits so long at most. Longer than any stall from which a connection wants to recover without noise; a server
# that is silent for much longer is given up anyway.
LONGEST_WAIT: Final = 15.0


class OuterPath:
    """The state of the connection to the server, as far as inner timers need it. Times as everywhere: seconds."""

    __slots__ = ("answered_through", "blocked", "downloads", "last_received", "uploads", "witness_wanted")

    def __init__(self) -> None:
        self.blocked = False
        """The socket takes no more data."""
        self.last_received = float("-inf")
        """When something last came from the server."""
        self.answered_through = float("-inf")
        """When the latest echo request was sent that the server has answered."""
        self.witness_wanted = False
        """A timer waits: an echo request should be sent."""
        self.downloads = Downloads()
        """How the downloads share the connection."""
        self.uploads = Uploads()
        """The queue that the uploads fill."""

    def __repr__(self) -> str:
        state = "blocked" if self.blocked else "open"
        return f"<OuterPath {state}, last received {self.last_received:.3f}>"

    def may_retransmit(self, sent_at: float, now: float) -> bool:
        """Whether a segment sent at ``sent_at`` may be repeated; when not, look again after LOOK_AGAIN."""
        if now - sent_at >= LONGEST_WAIT:
            return True
        if not self.blocked:
            if self.answered_through >= sent_at:
                return True
            if self.last_received > sent_at and now - self.last_received <= RECENT:
                return True
        self.witness_wanted = True
        return False
