from __future__ import annotations

import pytest
import trio

from tests.helpers.fake_network import FakeNetwork


@pytest.fixture
async def network(nursery: trio.Nursery) -> FakeNetwork:
    return FakeNetwork(nursery)
