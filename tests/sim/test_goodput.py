"""How fast one flow is over a bad path, in virtual time: the approved table, and what must hold whatever it says."""

from __future__ import annotations

import pytest

from sstpsocks.net.config import StackConfig
from tests.helpers.netsim import Path
from tests.sim.goodput import GRID, Cell, approved, measure, transfer

NEW_RENO = StackConfig(selective_acknowledgments=False, congestion_control="newreno")
TOLERANCE = 0.1
"""A cell that moves by less needs no renewal of the snapshot."""


@pytest.mark.parametrize("cell", GRID, ids=lambda cell: "-".join(map(str, cell)))
def test_the_table_is_as_approved(cell: Cell) -> None:
    """``python -m tests.sim.goodput --renew`` approves a new one."""
    assert measure(cell) == pytest.approx(approved()[cell], rel=TOLERANCE)


@pytest.mark.parametrize("round_trip", [0.02, 0.05])
@pytest.mark.parametrize(("loss", "times"), [(0.001, 1.3), (0.01, 1.1), (0.03, 1.1)])
def test_sack_recovers_faster_than_newreno(round_trip: float, loss: float, times: float) -> None:
    path = Path(delay=round_trip / 2, loss=loss, rate=20e6, queue=200)
    size = int(1_500_000 * min(0.01 / loss, 2))
    with_sack = sum(transfer(path, size=size, seed=seed).goodput for seed in range(6))
    without = sum(transfer(path, size=size, seed=seed, config=NEW_RENO).goodput for seed in range(6))
    assert with_sack > times * without


@pytest.mark.parametrize("loss", [0.001, 0.01, 0.03, 0.1])
def test_hardly_anything_is_sent_again_that_was_not_lost(loss: float) -> None:
    outcome = transfer(Path(delay=0.02, loss=loss, rate=2.5e6, queue=100), size=1_000_000, seed=3)
    assert outcome.retransmitted <= 1.05 * outcome.dropped + 3


@pytest.mark.parametrize("round_trip", [0.02, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_two_percent_reordering_costs_little(round_trip: float, seed: int) -> None:
    delay = round_trip / 2
    straight = transfer(Path(delay=delay, rate=2e6, queue=100), size=6_000_000)
    path = Path(delay=delay, rate=2e6, queue=100, reorder=0.02, reorder_delay=0.01)
    reordered = transfer(path, Path(delay=delay), size=6_000_000, seed=seed)
    assert reordered.goodput > 0.9 * straight.goodput
    assert reordered.retransmitted - reordered.dropped < 20


def test_reordering_alone_slows_nothing_down_for_long() -> None:
    """Without a queue that overflows, every reduction is taken back."""
    path = Path(delay=0.01, reorder=0.02, reorder_delay=0.01)
    straight = transfer(Path(delay=0.01), size=6_000_000)
    for seed in range(3):
        outcome = transfer(path, Path(delay=0.01), size=6_000_000, seed=seed)
        assert outcome.dropped == 0
        assert outcome.retransmitted < 40
        assert outcome.goodput > 0.5 * straight.goodput


@pytest.mark.parametrize("round_trip", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("lost", [2, 20, 40])
def test_a_burst_of_losses_takes_hardly_longer_than_a_single_one(round_trip: float, lost: int) -> None:
    """Twenty segments in a row: at most two round trips more than the loss of one, which is the least it can take."""
    one = transfer(Path(delay=round_trip / 2, burst=range(300, 301)), size=2_000_000)
    many = transfer(Path(delay=round_trip / 2, burst=range(300, 300 + lost)), size=2_000_000)
    assert many.seconds - one.seconds <= 2 * round_trip + 0.001
    assert many.retransmitted == many.dropped == lost


@pytest.mark.parametrize("lost", [1, 2, 5, 8])
def test_losses_at_the_very_end_do_not_wait_for_a_timeout(lost: int) -> None:
    """The tail loss probe: the answer to it shows the rest. A timeout would take RTT + 200 ms or more."""
    size = 1360 * 200
    whole = transfer(Path(delay=0.05), size=size)
    cut = transfer(Path(delay=0.05, burst=range(200 - lost, 200)), size=size)
    # Two round trips until the probe and one until its answer, which shows the rest; then they go in slow start.
    assert cut.seconds - whole.seconds < 0.3 + 0.1 * (lost + 1).bit_length()
    assert cut.retransmitted <= lost + 1
