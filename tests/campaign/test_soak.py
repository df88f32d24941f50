"""The short form of the soak: five minutes of mixed load."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.campaign.bench import Bench
from tests.campaign.labs import Sstpd, missing
from tests.campaign.soak import soak

SEED = int(os.environ.get("SSTPSOCKS_TEST_SEED", "1"))
SECONDS = 280.0


@pytest.mark.timeout(SECONDS + 200)
def test_mixed_load_leaves_memory_flat_and_every_octet_right(tmp_path: Path) -> None:
    if reason := missing("sstpd"):
        pytest.skip(reason)
    lab = Sstpd(tmp_path)
    (tmp_path / "client").mkdir()
    bench = Bench(lab, tmp_path / "client", SEED, "soak")
    try:
        problems, numbers = soak(bench, SEED, SECONDS, 0.5)
    finally:
        bench.close()
        lab.close()
    print(json.dumps({"seed": SEED, **numbers}))
    if problems:
        pytest.fail("; ".join(problems))
