"""The short form of the fault campaign: every fault that is over in seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.campaign import KINDS, chosen, lab_of, play
from tests.campaign.faults import Fault
from tests.campaign.labs import Lab, missing

SEED = int(os.environ.get("SSTPSOCKS_TEST_SEED", "1"))
CASES = [(kind, fault) for kind in KINDS for fault in chosen([], long=False) if kind in fault.servers]

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module", params=KINDS)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if reason := missing(request.param):
        pytest.skip(reason)
    with lab_of(request.param, tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.mark.parametrize(
    ("lab", "fault"), CASES, ids=[f"{kind}-{fault.name}" for kind, fault in CASES], indirect=["lab"]
)
def test_a_fault_leaves_nothing_wrong_and_nothing_over(lab: Lab, fault: Fault, tmp_path: Path) -> None:
    result = play(fault, lab, tmp_path, SEED)
    print(f"seed {SEED}\n{result.row()}")
    assert result.problems == []
