"""TCP over IPv6 on a bad network in virtual time: as over IPv4, every octet arrives once and in order."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.helpers.netsim import RIGHT6, Path, Program, Simulation

GRID = list(itertools.product((0.0, 0.03), (0.0, 0.1), (0.0, 0.02), (0.002, 0.05)))


@pytest.mark.parametrize(("loss", "reorder", "corrupt", "delay"), GRID)
def test_every_octet_arrives_once_and_in_order(loss: float, reorder: float, corrupt: float, delay: float) -> None:
    path = Path(loss=loss, reorder=reorder, corrupt=corrupt, delay=delay, jitter=delay / 4)
    simulation = Simulation(path, seed=GRID.index((loss, reorder, corrupt, delay)), ipv6=True)
    dice = random.Random(7)
    there, back = dice.randbytes(300_000), dice.randbytes(150_000)
    near, far = simulation.connect()
    assert near.remote[0] == RIGHT6
    left, right = Program(near, there), Program(far, back)
    simulation.programs += [left, right]
    simulation.run(lambda: near.eof and far.eof, limit=3600)
    assert bytes(right.received) == there
    assert bytes(left.received) == back
    assert near.error is None
    assert far.error is None
    simulation.run(lambda: not simulation.left.connections and not simulation.right.connections, limit=400)
