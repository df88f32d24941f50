"""Uploads through a tunnel that loses nothing: they fill it and no more, and keep what they need where they do not."""

from __future__ import annotations

import pytest

from sstpsocks.net.outer import OuterPath
from sstpsocks.net.uploads import Uploads

from ..helpers.impairment import Path
from ..helpers.netsim import Program, Simulation

MEGABYTE = 1 << 20
RATE = 8 * MEGABYTE
WINDOW = 8 * MEGABYTE
"""What the target offers to take, as kernels do."""
NEAR = Path(delay=0.001)


def uploading(there: Path, count: int = 1, *, outer: bool = True) -> tuple[Simulation, list[Program]]:
    """Begin uploads without an end, and let two seconds pass."""
    simulation = Simulation(there, NEAR, seed=21)
    if outer:
        simulation.left.outer = OuterPath()
    receivers = []
    for port in range(80, 80 + count):
        near, far = simulation.connect(port)
        far.rcv_capacity = WINDOW
        receivers.append(Program(far, shutdown=False))
        simulation.programs += [Program(near, bytes(240 * MEGABYTE), shutdown=False), receivers[-1]]
    simulation.run_idle(2.0)
    return simulation, receivers


def rates(simulation: Simulation, receivers: list[Program], seconds: float) -> list[float]:
    """How much each receives in a second from now on."""
    for receiver in receivers:
        receiver.received.clear()
    simulation.run_idle(seconds)
    return [len(receiver.received) / seconds for receiver in receivers]


def time_of_new_connection(simulation: Simulation) -> float:
    begin = simulation.now
    simulation.connect(7)
    return simulation.now - begin


def uploads(simulation: Simulation) -> Uploads:
    assert simulation.left.outer is not None
    return simulation.left.outer.uploads


def reductions(simulation: Simulation) -> int:
    return simulation.left.counters.tcp_upload_reductions


@pytest.mark.parametrize("count", [1, 4])
def test_a_new_connection_does_not_wait_behind_megabytes_of_uploads(count: int) -> None:
    bottleneck = Path(delay=0.001, rate=RATE, queue=1_000_000)
    held_back, receivers = uploading(bottleneck, count)
    assert sum(rates(held_back, receivers, 4.0)) > 0.9 * RATE
    assert time_of_new_connection(held_back) < 0.005 + count * 0.035
    # The same without knowledge of a tunnel: nothing is ever lost, and everything that may be in flight is.
    unbounded, _ = uploading(bottleneck, count, outer=False)
    assert time_of_new_connection(unbounded) > 0.15


def test_a_path_that_has_become_longer_is_not_taken_for_a_queue_for_good() -> None:
    # As with a server that takes its time when it is busy: it looks like a queue of ours, and none gets shorter.
    simulation, receivers = uploading(Path(delay=0.001, rate=4 * RATE, queue=1_000_000))
    simulation.there.path = Path(delay=0.04, rate=RATE, queue=1_000_000)
    simulation.run_idle(2.0)
    tried = reductions(simulation)
    assert uploads(simulation).taken_back > 0
    simulation.run_idle(10.0)
    assert reductions(simulation) - tried <= 4
    assert sum(rates(simulation, receivers, 4.0)) > 0.75 * RATE


def test_an_upload_over_a_long_path_fills_it() -> None:
    simulation, receivers = uploading(Path(delay=0.05, rate=RATE, queue=1_000_000))
    simulation.run_idle(2.0)
    assert sum(rates(simulation, receivers, 6.0)) > 0.9 * RATE
