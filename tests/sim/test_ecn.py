"""ECN between two of our stacks in virtual time: marks slow a sender down as losses do, and cost no retransmission."""

from __future__ import annotations

import random

import pytest

from sstpsocks.net.config import StackConfig
from tests.helpers.netsim import Path, Program, Simulation

COUNT = 600_000


def transfer(
    path: Path, *, seed: int = 1, ecn: str = "active", algorithm: str = "cubic", sack: bool = True, ipv6: bool = False
) -> Simulation:
    """Send both ways at once; everything must arrive."""
    config = StackConfig(
        ecn="active" if ecn == "active" else "off",
        congestion_control="newreno" if algorithm == "newreno" else "cubic",
        selective_acknowledgments=sack,
    )
    simulation = Simulation(path, seed=seed, config=config, ipv6=ipv6)
    near, far = simulation.connect()
    dice = random.Random(seed)
    sent = {near: dice.randbytes(COUNT), far: dice.randbytes(COUNT)}
    left, right = Program(near, sent[near]), Program(far, sent[far])
    simulation.programs += [left, right]
    simulation.run(lambda: left.connection.eof and right.connection.eof and not near.flight_size + far.flight_size)
    assert bytes(left.received) == sent[far]
    assert bytes(right.received) == sent[near]
    return simulation


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("algorithm", ["cubic", "newreno"])
def test_marks_reduce_windows_and_nothing_is_sent_again(algorithm: str, sack: bool, ipv6: bool) -> None:
    simulation = transfer(Path(mark=0.02, delay=0.02), algorithm=algorithm, sack=sack, ipv6=ipv6)
    assert simulation.there.marked > 0
    for stack, arriving, leaving in (
        (simulation.left, simulation.back, simulation.there),
        (simulation.right, simulation.there, simulation.back),
    ):
        counters = stack.counters
        assert counters.tcp_in_ce_segs == arriving.marked
        assert 0 < counters.tcp_ecn_reductions <= leaving.marked
        assert counters.tcp_retrans_segs == 0


@pytest.mark.parametrize("seed", range(6))
def test_marks_and_losses_together(seed: int) -> None:
    path = Path(mark=0.03, loss=0.02, reorder=0.02, duplicate=0.02, delay=0.02, jitter=0.005)
    simulation = transfer(path, seed=seed, sack=seed % 2 == 0, algorithm="newreno" if seed % 3 == 0 else "cubic")
    assert simulation.left.counters.tcp_in_ce_segs > 0
    assert simulation.right.counters.tcp_in_ce_segs > 0


@pytest.mark.parametrize("algorithm", ["cubic", "newreno"])
def test_a_router_that_marks_keeps_its_queue_short(algorithm: str) -> None:
    """The same bottleneck drops from a sender without ECN."""
    router = Path(rate=1_250_000, queue=40, mark_above=12, delay=0.01)
    with_ecn, without = (transfer(router, ecn=ecn, algorithm=algorithm) for ecn in ("active", "off"))
    assert with_ecn.there.marked > 0
    assert with_ecn.there.dropped + with_ecn.back.dropped == 0
    assert without.there.marked == 0
    assert without.there.dropped > 0


def test_a_network_that_marks_everything_is_survived() -> None:
    """Each window is reduced once, down to two segments, and the transfer ends."""
    simulation = transfer(Path(mark=1.0, delay=0.005))
    assert simulation.left.counters.tcp_retrans_segs == 0
    assert simulation.left.counters.tcp_ecn_reductions > 3
