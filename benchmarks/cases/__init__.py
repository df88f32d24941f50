"""The cases: what is measured. One file for each kind of case; ``CASES`` below names them all.

A case is an object with the attributes of :class:`Case`. The harness (runner.py) does the rest:

1. It asks the rig for the case's ``conditions`` and starts every peer that ``applies``: all at the same time, since an
   idle tunnel costs nothing. With ``fresh`` a peer is instead started before and stopped after each of its runs.
2. It calls ``run(rig, peer)`` for one peer after the other, then for all of them again, and so on: ABCABC...
3. It makes one table of the case: a row for each peer, a column for each key of the dictionaries that ``run`` returned,
   in the order in which the keys first came, each cell the median and the range of the runs. A second table has the
   ratios of our builds to every other peer, for each key that both have and that has a better side.

``run`` gets a :class:`~benchmarks.rig.peers.RunningPeer`: ``dial()`` opens a connection to the target the way the peer
does it (SOCKS, or a plain connection through the kernel's tunnel), ``client_cpu()`` returns the CPU seconds of its
client processes by name, ``resident()`` their memory. It measures one run, of a second or two, and returns its figures.
A case makes fewer and shorter ones where ``rig.quick``. One that cannot be measured on a peer raises
:class:`Skip` with the reason, which the report tells.

Keys are the words of the table's head ("MB/s", "p50 ms"); a unit that is in the key is left out of the measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from benchmarks.figures import Measurement

if TYPE_CHECKING:
    from benchmarks.rig.conditions import Conditions
    from benchmarks.rig.peers import Peer, RunningPeer
    from benchmarks.rig.rig import Rig

__all__ = ["Case", "Measurement", "Skip", "all_cases"]


class Skip(Exception):
    """This case cannot be run with this peer or on this machine; the message says why."""


class Case(Protocol):
    """One measurement, taken from many peers."""

    name: str
    """For ``--only`` and for the file of results: ``bulk-down-packed``."""
    title: str
    """The heading in the report."""
    conditions: Conditions
    fresh: bool
    """Whether each run wants a peer that has just been started."""

    def applies(self, peer: Peer) -> bool:
        """Whether to measure this peer."""

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Measure one run."""


def all_cases() -> list[Case]:
    """Return the cases in the order of the report."""
    from benchmarks.cases import bulk, datagrams, distance, held, memory, requests, startup

    return [case for kind in (bulk, requests, datagrams, distance, held, startup, memory) for case in kind.cases()]
