"""What several of these tests need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def world_readable() -> Iterator[Path]:
    """A folder that other users may enter, as pytest's own are not."""
    folder = Path(f"/tmp/sstpsocks-{os.getpid()}")
    folder.mkdir()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
