"""Tunnels that are dialled when somebody wants them, and requests that wait for a tunnel that is down."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import trio

from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY
from sstpsocks.errors import AuthenticationFailed, ConfigError, TunnelDown
from sstpsocks.library import Tunnel, run_tunnel
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel import lifecycle as lifecycle_module
from sstpsocks.tunnel import session as session_module
from sstpsocks.tunnel.settings import CredentialRequest
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from tests.helpers.demo_site import PASSWORD, DemoSite, demo_site

pytestmark = pytest.mark.usefixtures("in_a_hurry")


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_module, "EAGER_DELAY", 0.05)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


async def until(tunnel: Tunnel, status: TunnelStatus) -> None:
    with trio.fail_after(10):
        while tunnel.state.status is not status:
            await tunnel.network._news.park()


async def echoes(tunnel: Tunnel) -> bool:
    stream = await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
    try:
        await stream.send_all(b"hello")
        return await stream.receive_some() == b"hello"
    finally:
        await stream.aclose()


async def test_nothing_is_dialled_before_the_first_request_which_waits_for_it(site: DemoSite) -> None:
    async with run_tunnel(site.settings(on_demand=True)) as tunnel:
        await trio.testing.wait_all_tasks_blocked()
        assert not tunnel.state.up
        assert site.asked == []
        assert tunnel.dialer.begin(GATEWAY, ECHO_PORT) is None
        assert await echoes(tunnel)
        assert tunnel.state.status is TunnelStatus.UP
        assert len(site.asked) == 1


async def test_a_name_or_a_dns_query_dials_it_too(site: DemoSite) -> None:
    for ask in ("name", "query"):
        async with run_tunnel(site.settings(on_demand=True)) as tunnel:
            if ask == "name":
                assert await tunnel.dialer.resolve("www.intranet.demo") or True
            else:
                assert tunnel.answers is not None
                reply = await tunnel.answers.answer(dns.message.make_query("www.intranet.demo", "A"))
                assert reply.rcode() is not dns.rcode.SERVFAIL
            assert tunnel.state.status is TunnelStatus.UP


async def test_it_is_ended_when_idle_and_dialled_again(site: DemoSite) -> None:
    async with run_tunnel(site.settings(on_demand=True, idle_timeout=0.3)) as tunnel:
        assert await echoes(tunnel)
        await until(tunnel, TunnelStatus.IDLE)
        assert tunnel.record.losses == {}
        with trio.fail_after(5):
            while site.server.connected_users:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert await echoes(tunnel)
        assert tunnel.record.connects == 2


async def test_an_open_connection_keeps_it_up(site: DemoSite) -> None:
    async with run_tunnel(site.settings(on_demand=True, idle_timeout=0.2)) as tunnel:
        stream = await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
        with trio.move_on_after(0.8):
            await until(tunnel, TunnelStatus.IDLE)
        assert tunnel.state.status is TunnelStatus.UP
        await stream.aclose()


async def test_a_server_that_is_away_is_told_at_once_and_not_dialled_for_nobody(site: DemoSite) -> None:
    await site.stop()
    async with run_tunnel(site.settings(on_demand=True)) as tunnel:
        with pytest.raises(TunnelDown, match="refused"), trio.fail_after(5):
            await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
        assert tunnel.state.status is TunnelStatus.IDLE
        assert tunnel.record.connect_failures.total() == 1


async def test_a_refused_password_is_the_end_on_demand_too(site: DemoSite) -> None:
    site.answers = ["wrong"]
    async with run_tunnel(site.settings(on_demand=True)) as tunnel:
        for _again in range(3):
            with pytest.raises(TunnelDown), trio.fail_after(5):
                await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
        with pytest.raises(AuthenticationFailed):
            await tunnel.wait_closed()
    assert len(site.asked) == 1


async def test_without_hold_requests_fail_at_once_while_it_is_down(site: DemoSite) -> None:
    async with run_tunnel(site.settings()) as tunnel:
        await site.stop()
        await until(tunnel, TunnelStatus.RECONNECTING)
        begun = time.monotonic()
        with pytest.raises(TunnelDown):
            await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
        assert time.monotonic() - begun < 0.5


async def test_held_requests_go_through_when_it_is_back(site: DemoSite) -> None:
    async with run_tunnel(site.settings(hold=10.0)) as tunnel, trio.open_nursery() as nursery:
        await site.stop()
        await until(tunnel, TunnelStatus.RECONNECTING)
        results: list[bool] = []

        async def one() -> None:
            results.append(await echoes(tunnel))

        for _number in range(5):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert results == []
        await site.start(nursery)
        with trio.fail_after(10):
            while len(results) < 5:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert all(results)
        nursery.cancel_scope.cancel()


async def test_a_held_request_fails_when_its_time_is_over(site: DemoSite) -> None:
    async with run_tunnel(site.settings(hold=0.3)) as tunnel:
        await site.stop()
        await until(tunnel, TunnelStatus.RECONNECTING)
        begun = time.monotonic()
        with pytest.raises(TunnelDown):
            await tunnel.open_tcp_stream(GATEWAY, ECHO_PORT)
        assert 0.25 < time.monotonic() - begun < 3


async def test_the_budget_ends_it(site: DemoSite) -> None:
    async with run_tunnel(site.settings(reconnect_budget=0.3)) as tunnel:
        await site.stop()
        with pytest.raises(Exception, match="refused"), trio.fail_after(10):
            await tunnel.wait_closed()
        assert tunnel.state.status is TunnelStatus.STOPPED


async def test_a_listening_port_keeps_it_up(site: DemoSite) -> None:
    async with run_tunnel(site.settings(on_demand=True, idle_timeout=0.2)) as tunnel:
        listener = await tunnel.dialer.listen_tcp()
        with trio.move_on_after(0.6):
            await until(tunnel, TunnelStatus.IDLE)
        assert tunnel.state.up
        listener.close()
        await until(tunnel, TunnelStatus.IDLE)


async def test_somebody_who_is_asked_for_credentials_is_waited_for(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "ASKING_TAKES", 0.01)
    typed = trio.Event()
    seen: list[TunnelStatus] = []

    async def source(request: CredentialRequest) -> Credentials:
        await typed.wait()
        return Credentials(request.username, PASSWORD)

    def on_state(state: TunnelState) -> None:
        seen.append(state.status)
        if state.status is TunnelStatus.WAITING:
            typed.set()

    with trio.fail_after(10):
        async with run_tunnel(site.settings(credentials=source), on_state=on_state) as tunnel:
            assert tunnel.state.up
    assert seen[:4] == [TunnelStatus.CONNECTING, TunnelStatus.WAITING, TunnelStatus.CONNECTING, TunnelStatus.UP]


async def test_a_source_that_fails_while_it_is_waited_for_is_the_end(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "ASKING_TAKES", 0.01)

    async def source(_request: CredentialRequest) -> Credentials:
        await trio.sleep(0.1)
        raise ConfigError("nobody types")

    with pytest.raises(ConfigError), trio.fail_after(10):
        async with run_tunnel(site.settings(credentials=source)):
            pytest.fail("nobody could log in")
