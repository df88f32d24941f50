from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps when nothing happens; the threshold leaves the kernel time to pass on what was sent."""
    return MockClock(autojump_threshold=0.01)
