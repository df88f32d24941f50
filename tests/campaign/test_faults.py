"""The short form of the fault campaign: every fault that is over in seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.campaign.campaign import KINDS, chosen, lab_of, play
from tests.campaign.faults import Fault
from tests.campaign.labs import Lab, missing

SEED = int(os.environ.get("SSTPSOCKS_TEST_SEED", "1"))
CASES = [(kind, fault) for kind in KINDS for fault in chosen([], long=False) if kind in fault.servers]

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Lab]]:
    """Labs by kind, each started when it is first wanted and used by all tests."""
    running: dict[str, Lab] = {}
    with ExitStack() as ends:

        def get(kind: str) -> Lab:
            if reason := missing(kind):
                pytest.skip(reason)
            if kind not in running:
                running[kind] = ends.enter_context(lab_of(kind, tmp_path_factory.mktemp(kind)))
            return running[kind]

        yield get


@pytest.mark.parametrize(("kind", "fault"), CASES, ids=[f"{kind}-{fault.name}" for kind, fault in CASES])
def test_a_fault_leaves_nothing_wrong_and_nothing_over(
    labs: Callable[[str], Lab], kind: str, fault: Fault, tmp_path: Path
) -> None:
    result = play(fault, labs(kind), tmp_path, SEED)
    print(f"seed {SEED}\n{result.row()}")
    assert result.problems == []
