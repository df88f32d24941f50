"""What ``sstpsocks top`` shows: the choices of the person before it, and how keys change them. No IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..status.snapshot import FlowView, Snapshot, TunnelView

Key = Callable[[FlowView], float | str]

ORDERS: dict[str, Key] = {
    "rate": lambda flow: flow.receive_rate + flow.send_rate,
    "received": lambda flow: flow.octets_received,
    "sent": lambda flow: flow.octets_sent,
    "age": lambda flow: flow.age,
    "round trip": lambda flow: flow.round_trip or 0.0,
    "repeats": lambda flow: flow.retransmissions,
    "peer": lambda flow: (flow.name or flow.peer).lower(),
}
"""By which flows can be sorted: the largest first, names from A on."""

_DIGITS = frozenset("123456789")

HELP = "q quit  s/S sort  r reverse  Tab/1-9 tunnel  e events  p pause"


@dataclass(frozen=True, slots=True)
class View:
    """What is shown, and how."""

    snapshot: Snapshot
    tunnel: int = 0
    """Which one, counted from 0."""
    order: str = "rate"
    reversed: bool = False
    events: bool = False
    """Events instead of flows."""
    paused: bool = False
    trouble: str = ""
    """Why there is nothing new; empty: there is."""
    over: bool = field(default=False)
    """Whether the end was asked for."""

    @property
    def shown(self) -> TunnelView | None:
        """The tunnel that is shown, None when there is none."""
        tunnels = self.snapshot.tunnels
        return tunnels[min(self.tunnel, len(tunnels) - 1)] if tunnels else None

    @property
    def flows(self) -> list[FlowView]:
        """The flows of that tunnel, sorted."""
        if self.shown is None:
            return []
        downwards = (self.order != "peer") is not self.reversed
        return sorted(self.shown.flows, key=ORDERS[self.order], reverse=downwards)

    def update(self, snapshot: Snapshot) -> View:
        """Take what there is now, unless it is to stand still."""
        return replace(self, trouble="", snapshot=self.snapshot if self.paused else snapshot)

    def press(self, key: str) -> View:
        """Return what a key makes of it."""
        orders = list(ORDERS)
        count = max(len(self.snapshot.tunnels), 1)
        match key:
            case "q" | "Q" | "\x03" | "\x04":
                return replace(self, over=True)
            case "s":
                return replace(self, order=orders[(orders.index(self.order) + 1) % len(orders)])
            case "S":
                return replace(self, order=orders[orders.index(self.order) - 1])
            case "r":
                return replace(self, reversed=not self.reversed)
            case "e":
                return replace(self, events=not self.events)
            case "p" | " ":
                return replace(self, paused=not self.paused)
            case "\t" | "n":
                return replace(self, tunnel=(self.tunnel + 1) % count)
            case _ if key in _DIGITS and int(key) <= count:
                return replace(self, tunnel=int(key) - 1)
        return self
