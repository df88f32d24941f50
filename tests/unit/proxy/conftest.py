from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.fake_network import FakeNetwork, echo
from tests.helpers.proxy_port import WEB


@pytest.fixture
async def network(nursery: trio.Nursery) -> FakeNetwork:
    return FakeNetwork(nursery)


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps when nothing happens; the threshold leaves the kernel time to pass on what was sent."""
    return MockClock(autojump_threshold=0.02)


@pytest.fixture
async def web(network: FakeNetwork) -> FakeNetwork:
    """A network with an echoing target under a name."""
    network.dns.records["web.test", "A"] = [WEB]
    network.add(WEB, 80, echo)
    return network
