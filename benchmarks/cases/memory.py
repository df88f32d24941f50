"""Memory of a long bulk transfer: whether it grows.

Down and up at the same time, so that both directions have their queues. The resident memory of the client is sampled;
what counts is its greatest, and how much it gained in the second half of the run.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.cases import Measurement
from benchmarks.rig.background import running_transfer
from benchmarks.rig.conditions import Conditions
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

SECONDS = 600.0
SECONDS_QUICK = 60.0
EVERY = 0.5
MEGABYTE = 1e6


class LongTransfer:
    """Ten minutes of transfers in both directions; one minute in the quick form."""

    name = "memory-bulk"
    title = "Memory during a long transfer in both directions"
    fresh = True
    conditions = Conditions()

    def applies(self, peer: Peer) -> bool:
        """Ours, and the other tunnels that end in userspace."""
        return peer.tunnel and peer.proxy

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Transfer and sample."""
        idle = peer.resident()
        samples: list[int] = []
        deadline = time.monotonic() + (SECONDS_QUICK if rig.quick else SECONDS)
        with running_transfer(peer, "down"), running_transfer(peer, "up"):
            while time.monotonic() < deadline:
                time.sleep(EVERY)
                samples.append(peer.resident())
        return figures(idle, samples)


def figures(idle: int, samples: list[int]) -> dict[str, Measurement]:
    """Return what is reported of the samples; growth is from the third quarter to the fourth, medians of each."""
    quarter = len(samples) // 4
    third, fourth = (statistics.median(samples[-count * quarter :][:quarter]) for count in (2, 1))
    return {
        "idle MB": Measurement(idle / MEGABYTE, "MB", "less"),
        "greatest MB": Measurement(max(samples) / MEGABYTE, "MB", "less"),
        "gained at the end MB": Measurement((fourth - third) / MEGABYTE, "MB", "neither"),
    }


def cases() -> list[LongTransfer]:
    """Return all cases of this file."""
    return [LongTransfer()]
