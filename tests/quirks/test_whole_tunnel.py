"""The same over the whole tunnel, TLS, sockets and streams included: what programs see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY, GATEWAY6
from sstpsocks.errors import NegotiationFailed, NetworkUnreachable, TunnelClosed
from sstpsocks.tunnel import connection as connection_module
from sstpsocks.tunnel.driver import Driver
from sstpsocks.tunnel.network import is_global_ipv6
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.states import TunnelState
from sstpsocks.tunnel.steps import Step, StepReport
from tests.helpers.demo_site import DemoSite, demo_site
from tests.unit.ppp.ppp_playbook import frame_of


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


def renegotiate(driver: Driver, line: str) -> None:
    """Have the server begin anew, by a request of the client that the client never sent."""
    driver.act(lambda: driver.link.ppp.receive_frame(frame_of(line), driver.now()))
    driver.act(lambda: driver.link.handle_timer(driver.now()))


@pytest.mark.parametrize("protocol", ["ipcp", "lcp"])
async def test_a_connection_of_a_program_survives_a_renegotiation(site: DemoSite, protocol: str) -> None:
    states: list[TunnelState] = []
    with trio.fail_after(20):
        async with Session(site.settings(dhcp="never"), on_state=states.append) as session:
            stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
            await stream.send_all(b"before")
            assert await stream.receive_some() == b"before"
            (driver,) = site.server._drivers
            (address,) = session.local_addresses
            option = f"address={address}" if protocol == "ipcp" else "mru=1400"
            renegotiate(driver, f"{protocol} Configure-Request 99 {option}")
            assert not driver.link.carries_ip
            await stream.send_all(b"after")
            assert await stream.receive_some() == b"after"
            assert session.local_addresses == (address,)
            await trio.aclose_forcefully(stream)
    assert [state.status.value for state in states] == ["connecting", "up"]
    assert len(site.asked) == 1, "the log-in is repeated with the credentials at hand"


@pytest.mark.parametrize("protocol", ["ipcp", "lcp"])
async def test_a_connection_by_ipv6_survives_a_renegotiation(tmp_path: Path, protocol: str) -> None:
    """IPV6CP is negotiated anew behind LCP; the addresses that the router gave stay."""
    told = trio.Event()

    def observe(report: StepReport) -> None:
        if report.step is Step.IPV6:
            told.set()

    with trio.fail_after(30):
        async with (
            demo_site(tmp_path, ipv6=True) as site,
            Session(site.settings(dhcp="never"), observe=observe) as session,
        ):
            await told.wait()
            addresses = session.local_addresses
            assert any(map(is_global_ipv6, addresses))
            stream = await session.connect_tcp(GATEWAY6, ECHO_PORT)
            await stream.send_all(b"before")
            assert await stream.receive_some() == b"before"
            (driver,) = site.server._drivers
            option = f"address={addresses[0]}" if protocol == "ipcp" else "mru=1400"
            renegotiate(driver, f"{protocol} Configure-Request 99 {option}")
            assert not driver.link.carries_ip
            await stream.send_all(b"after")
            assert await stream.receive_some() == b"after"
            assert session.local_addresses == addresses
            await trio.aclose_forcefully(stream)


async def test_ipv6_that_does_not_come_back_behind_a_renegotiation_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its addresses go, its connections end with the reason, and nobody waits for destinations that have no way."""
    monkeypatch.setattr(connection_module, "IPV6_PATIENCE", 0.3)
    reports: list[str] = []
    told = trio.Event()

    def observe(report: StepReport) -> None:
        if report.step is Step.IPV6:
            reports.append(report.text)
            told.set()

    with trio.fail_after(30):
        async with (
            demo_site(tmp_path, ipv6=True) as site,
            Session(site.settings(dhcp="never"), observe=observe) as session,
        ):
            await told.wait()
            four = await session.connect_tcp(GATEWAY, ECHO_PORT)
            six = await session.connect_tcp(GATEWAY6, ECHO_PORT)
            (driver,) = site.server._drivers
            driver.link.ppp.network._ipv6cp = None  # the server refuses IPV6CP from now on
            renegotiate(driver, "lcp Configure-Request 99 mru=1400")
            with pytest.raises(trio.BrokenResourceError):
                await six.receive_some()
            assert reports[-1] == "none any more: server renegotiated, and IPV6CP did not open again"
            assert not any(address.version == 6 for address in session.local_addresses)
            with pytest.raises(NetworkUnreachable, match="no IPv6"):
                await session.connect_tcp(GATEWAY6, ECHO_PORT)
            await four.send_all(b"still here")
            assert await four.receive_some() == b"still here"
            await trio.aclose_forcefully(four)
            await trio.aclose_forcefully(six)


async def test_a_server_that_then_takes_only_smaller_packets_ends_the_tunnel_with_the_reason(site: DemoSite) -> None:
    """The connections that run send packets that it takes no more; they are told, and the tunnel is dialled anew."""
    with trio.fail_after(20):
        async with Session(site.settings(dhcp="never", reconnect="never")) as session:
            (driver,) = site.server._drivers
            driver.link.ppp._lcp._mru = 1000
            renegotiate(driver, "lcp Configure-Request 99 mru=1400")
            with pytest.raises(TunnelClosed, match="takes packets of only 1000 octets, not 1400"):
                await session.wait_closed()


async def test_a_server_that_gives_another_address_than_asked_for_is_no_tunnel(site: DemoSite) -> None:
    with pytest.raises(NegotiationFailed, match=r"does not give us the address 10\.99\.99\.99: it offers") as caught:
        async with Session(site.settings(address=IPv4Address("10.99.99.99"))):
            pytest.fail("it is another address")
    assert "--address" in caught.value.hint
