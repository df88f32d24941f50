"""The MTU that passes: the search, and what a check says of it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from sstpsocks.app.check.mtu import find_passing_size
from sstpsocks.app.check.network import _passing_mtu
from sstpsocks.errors import ConnectTimedOut, NameNotFound
from sstpsocks.library import Tunnel
from sstpsocks.tunnel.network import IPAddress

DNS, PEER = ip_address("10.0.0.53"), ip_address("10.0.0.1")


@given(st.integers(500, 1500), st.integers(576, 4087))
def test_the_search_finds_the_limit_whatever_it_is(limit: int, largest: int) -> None:
    tried: list[int] = []

    async def ping(size: int) -> bool:
        await trio.lowlevel.checkpoint()
        tried.append(size)
        return size <= limit

    found = trio.run(find_passing_size, ping, largest)
    assert found == (None if limit < 576 else min(limit, largest))
    assert len(tried) <= 2 * 14


async def test_a_loss_by_chance_is_no_limit() -> None:
    sent: list[int] = []

    async def ping(size: int) -> bool:
        await trio.lowlevel.checkpoint()
        sent.append(size)
        return len(sent) % 2 == 0

    assert await find_passing_size(ping, 1400) == 1400


def tunnel(passes: Callable[[IPAddress, int], bool], *, peer: IPAddress | None = PEER) -> Tunnel:
    """One of 1400 octets, in which echo requests come back from whom and up to where ``passes`` says."""

    async def ping(address: IPAddress, size: int = 84, limit: float = 5.0, *, df: bool = False) -> float:
        await trio.lowlevel.checkpoint()
        if not passes(address, size):
            raise ConnectTimedOut("silence")
        return 0.02

    async def resolve(name: str) -> list[IPAddress]:
        await trio.lowlevel.checkpoint()
        if name != "files.test":
            raise NameNotFound(f"there is no {name}")
        return [ip_address("10.0.0.80")]

    info = SimpleNamespace(dns=(DNS,), peer=peer, mtu=1400)
    return cast(Tunnel, SimpleNamespace(info=info, network=SimpleNamespace(ping=ping), resolve=resolve))


@pytest.mark.parametrize(
    ("passes", "probe", "told"),
    [
        pytest.param(lambda _, __: True, None, "1400, all that is asked for (to 10.0.0.53 and back)", id="all"),
        pytest.param(
            lambda _, size: size <= 1280,
            None,
            "1280 (to 10.0.0.53 and back): larger packets are lost; use --mtu 1280",
            id="a black hole",
        ),
        pytest.param(
            lambda who, _: who == PEER, None, "1400, all that is asked for (to 10.0.0.1 and back)", id="the server"
        ),
        pytest.param(
            lambda who, _: str(who) == "10.0.0.80", "files.test", "1400, all that is asked for (to 10.0.0.80 and back)",
            id="somebody named",
        ),
        pytest.param(lambda *_: True, "nx.test", "not measured: there is no nx.test", id="nobody of that name"),
        pytest.param(
            lambda *_: False,
            None,
            "not measured: 10.0.0.53 and 10.0.0.1 answered no echo request; name somebody who does with --probe HOST",
            id="silence",
        ),
        pytest.param(
            lambda _, size: size < 576, None, "not measured: 10.0.0.53 answers small echo requests only", id="small"
        ),
    ],
)  # fmt: skip
async def test_a_check_says_what_passes(passes: Callable[[IPAddress, int], bool], probe: str | None, told: str) -> None:
    assert await _passing_mtu(tunnel(passes), probe) == told
