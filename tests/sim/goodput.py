"""Goodput of one flow in virtual time over a grid of loss, round-trip time and buffer, as a table.

``python -m tests.sim.goodput`` prints the table, ``python -m tests.sim.goodput --renew`` approves it: it becomes the
snapshot with which test_goodput.py compares. Renew it together with the change that moved it, and say why.
"""

from __future__ import annotations

import itertools
import random
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from sstpsocks.net.config import StackConfig
from tests.helpers.netsim import Path, Program, Simulation

SNAPSHOT = FilePath(__file__).with_name("goodput_snapshot.txt")
RATE = 2_500_000
"""Octets per second of the bottleneck: 20 Mbit/s."""
SIZE = 3_000_000
LOSSES = (0.0, 0.001, 0.01, 0.03)
ROUND_TRIPS = (0.02, 0.05, 0.1)
BUFFERS = (25, 100)
"""Packets that the bottleneck queues."""

Cell = tuple[float, float, int]
GRID: list[Cell] = list(itertools.product(LOSSES, ROUND_TRIPS, BUFFERS))


@dataclass(frozen=True)
class Transfer:
    """What one transfer took."""

    seconds: float
    goodput: float
    """Octets per second, the handshake included."""
    retransmitted: int
    """Segments sent more than once."""
    dropped: int
    """Packets of the sender that the path dropped."""
    undone: int
    """Recoveries taken back."""


@cache
def random_octets(count: int) -> bytes:
    return random.Random(1).randbytes(count)


def transfer(
    there: Path, back: Path | None = None, *, size: int = SIZE, seed: int = 1, config: StackConfig | None = None
) -> Transfer:
    """Send ``size`` octets one way and check that each arrives once and in order."""
    simulation = Simulation(there, back or Path(delay=there.delay), seed=seed, config=config)
    begin = simulation.now
    near, far = simulation.connect()
    left, right = Program(near, random_octets(size)), Program(far)
    simulation.programs += [left, right]
    simulation.run(lambda: far.eof, limit=3600)
    assert bytes(right.received) == left.to_send
    seconds = simulation.now - begin
    counters = simulation.left.counters
    return Transfer(
        seconds=seconds,
        goodput=size / seconds,
        retransmitted=counters.tcp_retrans_segs,
        dropped=simulation.there.dropped,
        undone=counters.tcp_recoveries_undone,
    )


def measure(cell: Cell) -> float:
    """Return the goodput of a cell of the grid in MB/s."""
    loss, round_trip, buffer = cell
    path = Path(delay=round_trip / 2, loss=loss, rate=RATE, queue=buffer)
    return transfer(path, seed=GRID.index(cell)).goodput / 1e6


def table(goodput: dict[Cell, float]) -> str:
    """Return the snapshot's text."""
    lines = ["loss    RTT ms  buffer  MB/s"]
    for (loss, round_trip, buffer), value in goodput.items():
        lines.append(f"{100 * loss:4.1f} %  {1000 * round_trip:6.0f}  {buffer:6}  {value:5.3f}")
    return "\n".join(lines) + "\n"


def approved() -> dict[Cell, float]:
    """Return the snapshot."""
    lines = SNAPSHOT.read_text(encoding="utf-8").splitlines()[1:]
    return {cell: float(line.split()[-1]) for cell, line in zip(GRID, lines, strict=True)}


def main(arguments: list[str]) -> None:
    text = table({cell: measure(cell) for cell in GRID})
    if arguments == ["--renew"]:
        SNAPSHOT.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
