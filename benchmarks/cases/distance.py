"""Bulk transfers over a distance, and with losses.

The distance lies on the outer path, between client and gateway; what is lost is lost between gateway and target, where
it meets the packets that a tunnel carries. A run is one connection from its first octets on, slow start included, for a
fixed time: a slow peer would take minutes for what a fast one carries in a second.
"""

from __future__ import annotations

from benchmarks.cases import Measurement
from benchmarks.rig.conditions import Conditions
from benchmarks.rig.load import bulk
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

ONE_WAY = 0.025
SECONDS = 8.0
SECONDS_QUICK = 3.0


class DistantTransfer:
    """One transfer at a round-trip time of 50 ms."""

    fresh = False

    def __init__(self, direction: str, loss: float = 0.0) -> None:
        self.direction = direction
        self.conditions = Conditions(delay=ONE_WAY, loss=loss)
        what = "Download" if direction == "down" else "Upload"
        self.title = f"{what}, 50 ms round trip" + (f", {loss:.1%} of the packets lost" if loss else "")
        self.name = f"distant-{direction}" + (f"-loss-{loss * 100:g}" if loss else "")

    def applies(self, peer: Peer) -> bool:
        """Return whether the peer has both: with losses there is no distance for what goes to the target directly."""
        return peer.tunnel or peer.name == "ssh" or not self.conditions.loss

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Transfer for some seconds."""
        transfer = bulk(rig, peer, self.direction, 1, SECONDS_QUICK if rig.quick else SECONDS, settle=0.0)
        figures = {"MB/s": Measurement(transfer.octets / transfer.seconds / 1e6)}
        if transfer.client and transfer.octets:
            cost = sum(transfer.client.values()) / (transfer.octets / 1e6) * 1e3
            figures["client CPU ms/MB"] = Measurement(cost, better="less")
        return figures


def cases() -> list[DistantTransfer]:
    """Return all cases of this file."""
    losses = (0.0, 0.001, 0.01, 0.03)
    return [DistantTransfer(direction, loss) for loss in losses for direction in ("down", "up")]
