from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from trio.testing import MockClock

from sstpsocks.proxy.overdue import Overdue


@pytest.fixture
async def overdue(nursery: trio.Nursery) -> AsyncIterator[Overdue]:
    it = Overdue(10)
    nursery.start_soon(it.run)
    yield it
    nursery.cancel_scope.cancel()


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    made = [socket.socket() for _ in range(3)]
    yield made
    for client in made:
        client.close()


def closed(clients: list[socket.socket]) -> list[bool]:
    return [client.fileno() < 0 for client in clients]


async def test_each_client_has_its_time(
    overdue: Overdue, clients: list[socket.socket], autojump_clock: MockClock
) -> None:
    for client in clients:
        overdue.watch(client)
        await trio.sleep(3)
    await trio.sleep(0.9)
    assert closed(clients) == [False, False, False]
    await trio.sleep(0.2)
    assert closed(clients) == [True, False, False]
    await trio.sleep(3)
    assert closed(clients) == [True, True, False]
    await trio.sleep(3)
    assert closed(clients) == [True, True, True]
    assert len(overdue) == 0


async def test_who_said_what_it_wants_is_left_alone(
    overdue: Overdue, clients: list[socket.socket], autojump_clock: MockClock
) -> None:
    for client in clients:
        overdue.watch(client)
    overdue.forget(clients[0])
    overdue.forget(clients[0])
    await trio.sleep(20)
    assert closed(clients) == [False, True, True]


async def test_it_wakes_again_after_a_pause(
    overdue: Overdue, clients: list[socket.socket], autojump_clock: MockClock
) -> None:
    overdue.watch(clients[0])
    await trio.sleep(100)
    overdue.watch(clients[1])
    await trio.sleep(9.9)
    assert closed(clients) == [True, False, False]
    await trio.sleep(0.2)
    assert closed(clients) == [True, True, False]
