"""One bound on the memory of all flows of a stack.

Theory of operation. Every flow is charged for what it holds: data its program has not read, data behind a hole, data
the peer has not acknowledged or that waits to be sent, and itself; UDP endpoints and echo requests are flows too. From
half of the bound on nothing grows any more (pressure). From three quarters on memory is short: data behind holes is
given up first, new flows are refused, and each flow may hold no more than its equal share of the last quarter, half of
it in each direction. So the bound holds whatever peers and programs do, and a flow whose program reads goes on: its
share is always its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FLOW_COST: Final = 4096
"""Octets that a flow is charged for itself."""
ENDPOINT_COST: Final = 2048
"""The same of a UDP endpoint, and of an echo request."""
DATAGRAM_COST: Final = 256
"""Octets that a datagram which waits in an endpoint is charged for itself."""
PIECE_COST: Final = 128
"""Octets that a piece of data behind a hole is charged for itself, about what Python's objects take."""


class Memory:
    """What flows hold, in octets."""

    __slots__ = ("_short_from", "charged", "drops", "flows", "holders", "maximum", "pressure_from")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        """The bound."""
        self.charged = 0
        """What all flows hold together."""
        self.flows = 0
        """Flows that are charged."""
        self.pressure_from = maximum // 2
        self._short_from = maximum - maximum // 4
        self.holders: dict[object, Callable[[], None]] = {}
        """Flows that hold data behind a hole, and how they give it up."""
        self.drops = 0
        """How often flows had to give up data behind a hole."""

    def __repr__(self) -> str:
        return f"<Memory {self.charged} of {self.maximum} octets, {self.flows} flows>"

    @property
    def pressure(self) -> bool:
        """Buffers must not grow now."""
        return self.charged >= self.pressure_from

    @property
    def short(self) -> bool:
        """Flows are bounded by their share, and new ones refused."""
        return self.charged >= self._short_from

    @property
    def share(self) -> int:
        """What each flow may hold in one direction while memory is short."""
        return max(self.maximum // 8 // max(self.flows, 1), 1)

    def charge(self, octets: int) -> None:
        """A flow holds so much more, or with a negative number less."""
        self.charged += octets
        if self.charged >= self._short_from and octets > 0 and self.holders:
            self._drop_what_waits_behind_holes()

    def _drop_what_waits_behind_holes(self) -> None:
        # RFC 2018 section 8 permits it, although what is dropped was selectively acknowledged; the sender keeps it.
        while self.holders and self.charged >= self._short_from:
            _, give_up = self.holders.popitem()
            self.drops += 1
            give_up()
