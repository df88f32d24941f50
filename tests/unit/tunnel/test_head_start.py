"""The head start: a connection that is being made before anybody asks for it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from sstpsocks.errors import TransportFailed
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel.head_start import head_start
from sstpsocks.tunnel.settings import CredentialRequest, TrustSettings, TunnelSettings
from sstpsocks.tunnel.steps import Step, StepReport, ignore_steps


async def nobody(request: CredentialRequest) -> Credentials:
    raise AssertionError("connecting takes no credentials")


def settings_for(port: int) -> TunnelSettings:
    return TunnelSettings(
        host="127.0.0.1", port=port, trust=TrustSettings(server_name="vpn.example.com"), credentials=nobody
    )


@pytest.fixture
async def listener() -> AsyncIterator[trio.SocketListener]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield listener


def port_of(listener: trio.SocketListener) -> int:
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


async def test_the_server_hears_from_us_before_we_ask_for_the_connection(listener: trio.SocketListener) -> None:
    settings = settings_for(port_of(listener))
    async with head_start(settings, ignore_steps) as dial:
        with trio.fail_after(5):
            there = await listener.accept()
        async with there, await dial(settings, ignore_steps) as here:
            await here.send_all(b"hello")
            assert await there.receive_some() == b"hello"


async def test_only_the_first_call_gets_the_early_connection(listener: trio.SocketListener) -> None:
    settings = settings_for(port_of(listener))
    reports: list[StepReport] = []
    async with head_start(settings, ignore_steps) as dial:
        async with await dial(settings, reports.append) as first, await dial(settings, reports.append) as second:
            assert isinstance(first, trio.SocketStream)
            assert isinstance(second, trio.SocketStream)
            assert first.socket.getsockname() != second.socket.getsockname()
    # The steps of the first were told to whom the head start was given.
    assert [report.step for report in reports if report.done] == [Step.RESOLVE, Step.TCP]


async def test_a_failure_waits_until_the_connection_is_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listening: refused
        settings = settings_for(taken.getsockname()[1])
        async with head_start(settings, ignore_steps) as dial:
            for _ in range(2):  # the second try is a new one, and fails as well
                with pytest.raises(TransportFailed, match="refused the connection"):
                    await dial(settings, ignore_steps)


async def test_a_connection_that_nobody_fetched_is_closed(listener: trio.SocketListener) -> None:
    reports: list[StepReport] = []
    async with head_start(settings_for(port_of(listener)), reports.append):
        there = await listener.accept()
        while Step.TCP not in [report.step for report in reports if report.done]:
            await trio.lowlevel.checkpoint()
    async with there:
        with trio.fail_after(5):
            assert await there.receive_some() == b""


async def test_leaving_ends_a_connect_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    from sstpsocks.tunnel import head_start as module

    ended = False

    async def for_ever(_settings: object, _observe: object) -> trio.SocketStream:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    monkeypatch.setattr(module, "connect_transport", for_ever)
    with trio.fail_after(5):
        async with head_start(settings_for(1), ignore_steps):
            await trio.testing.wait_all_tasks_blocked()
    assert ended
