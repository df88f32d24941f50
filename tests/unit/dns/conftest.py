from __future__ import annotations

import socket

import pytest
import trio

from tests.helpers.fake_network import FakeNetwork


@pytest.fixture
async def network(nursery: trio.Nursery) -> FakeNetwork:
    return FakeNetwork(nursery)


@pytest.fixture(autouse=True)
def no_system_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name with this machine's resolver fails the test."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the system resolver was asked")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("getaddrinfo", "getnameinfo"):
        monkeypatch.setattr(trio.socket, name, refuse)
