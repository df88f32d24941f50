from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
import trio.testing

from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    HostUnreachable,
    NameLookupFailed,
    NameNotFound,
    NetworkUnreachable,
    TooManyConnections,
    TunnelDown,
)
from sstpsocks.proxy.dial import Dialer
from tests.helpers.fake_network import FakeNetwork, echo

ONE = IPv4Address("10.0.0.1")
TWO = IPv4Address("10.0.0.2")


@pytest.fixture
async def dialer(network: FakeNetwork) -> Dialer:
    network.dns.records["web.test", "A"] = [str(ONE), str(TWO)]
    network.add(str(ONE), 80, echo)
    return Dialer(network, Resolver(network))


async def test_a_name_is_looked_up_and_dialled(network: FakeNetwork, dialer: Dialer) -> None:
    stream = await dialer.open_tcp_stream("web.test", 80)
    assert stream.remote_address == (ONE, 80)
    assert network.dns.queries == [("web.test", "A", "udp")]


@pytest.mark.parametrize("host", ["10.0.0.1", ONE, "::ffff:10.0.0.1", IPv6Address("::ffff:10.0.0.1")])
async def test_an_address_is_dialled_as_it_is(network: FakeNetwork, dialer: Dialer, host: str | IPv4Address) -> None:
    stream = await dialer.open_tcp_stream(host, 80)
    assert stream.remote_address == (ONE, 80)
    assert network.dns.queries == []


async def test_the_next_address_is_tried(network: FakeNetwork, dialer: Dialer) -> None:
    network.add(str(ONE), 80, HostUnreachable("no route"))
    network.add(str(TWO), 80, echo)
    stream = await dialer.open_tcp_stream("web.test", 80)
    assert stream.remote_address == (TWO, 80)
    assert network.dialled == [(ONE, 80), (TWO, 80)]


async def test_when_all_fail_the_last_failure_is_told(network: FakeNetwork, dialer: Dialer) -> None:
    network.add(str(ONE), 80, ConnectTimedOut("no answer"))
    with pytest.raises(ConnectionRefused):
        await dialer.open_tcp_stream("web.test", 80)


@pytest.mark.parametrize("error", [TunnelDown("down"), TooManyConnections("full")])
async def test_other_addresses_do_not_help_when_the_tunnel_cannot(
    network: FakeNetwork, dialer: Dialer, error: TunnelDown | TooManyConnections
) -> None:
    network.add(str(ONE), 80, error)
    with pytest.raises(type(error)):
        await dialer.open_tcp_stream("web.test", 80)
    assert network.dialled == [(ONE, 80)]


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "::1", "127.1", "0.0.0.0", "224.0.0.1"])  # noqa: S104  # denied
async def test_this_machine_is_neither_dialled_nor_asked(network: FakeNetwork, dialer: Dialer, host: str) -> None:
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream(host, 80)
    assert network.dialled == []
    assert network.dns.queries == []


async def test_a_name_that_points_at_this_machine(network: FakeNetwork, dialer: Dialer) -> None:
    network.dns.records["evil.test", "A"] = ["127.0.0.1", "169.254.1.1", "0.0.0.0"]  # noqa: S104  # denied
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream("evil.test", 80)
    network.dns.records["half.test", "A"] = ["127.0.0.1", str(ONE)]
    assert (await dialer.open_tcp_stream("half.test", 80)).remote_address == (ONE, 80)
    assert network.dialled == [(ONE, 80)]


async def test_a_name_with_mapped_addresses_in_ipv6(network: FakeNetwork, dialer: Dialer) -> None:
    network.local_addresses = (*network.local_addresses, IPv6Address("fd00::2"))
    network.dns.records["evil.test", "AAAA"] = ["::ffff:127.0.0.1"]
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream("evil.test", 80)
    network.dns.records["mapped.test", "AAAA"] = ["::ffff:10.0.0.1"]
    assert (await dialer.open_tcp_stream("mapped.test", 80)).remote_address == (ONE, 80)


async def test_ipv6_without_ipv6_in_the_tunnel(network: FakeNetwork, dialer: Dialer) -> None:
    network.dns.records["six.test", "AAAA"] = ["fd00::1"]
    for host in ("fd00::1", IPv6Address("fd00::1"), "six.test"):
        with pytest.raises(NetworkUnreachable):
            await dialer.open_tcp_stream(host, 80)
    assert network.dialled == []


async def test_ipv6_with_ipv6_in_the_tunnel(network: FakeNetwork, dialer: Dialer) -> None:
    network.local_addresses = (*network.local_addresses, IPv6Address("fd00::2"))
    network.add("fd00::1", 80, echo)
    stream = await dialer.open_tcp_stream("fd00::1", 80)
    assert stream.remote_address == (IPv6Address("fd00::1"), 80)


@pytest.mark.parametrize("port", [0, -1, 65536])
async def test_ports_that_do_not_exist(network: FakeNetwork, dialer: Dialer, port: int) -> None:
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream("web.test", port)
    assert network.dns.queries == []


async def test_failures_of_the_look_up_are_passed_on(network: FakeNetwork, dialer: Dialer) -> None:
    with pytest.raises(NameNotFound):
        await dialer.open_tcp_stream("nothing.test", 80)
    network.dns_servers = ()
    with pytest.raises(NameLookupFailed):
        await dialer.open_tcp_stream("web.test", 80)
    network.up = False
    with pytest.raises(TunnelDown):
        await dialer.open_tcp_stream("web.test", 80)
    with pytest.raises(TunnelDown):
        await dialer.open_tcp_stream(ONE, 80)


async def test_a_name_without_a_dot_is_looked_for_in_the_search_domains(network: FakeNetwork, dialer: Dialer) -> None:
    network.search_domains = ("test",)
    stream = await dialer.open_tcp_stream("web", 80)
    assert stream.remote_address == (ONE, 80)


async def test_a_final_dot_keeps_a_name_out_of_the_search_domains(network: FakeNetwork, dialer: Dialer) -> None:
    network.search_domains = ("test",)
    with pytest.raises(NameNotFound):
        await dialer.open_tcp_stream("web.", 80)
    assert {name for name, _, _ in network.dns.queries} == {"web"}


async def test_a_search_domain_cannot_lead_to_this_machine(network: FakeNetwork, dialer: Dialer) -> None:
    """Who answers DHCP chooses the domain, and its DNS the address: loopback stays out of reach."""
    network.search_domains = ("evil.test",)
    network.dns.records["intranet.evil.test", "A"] = ["127.0.0.1"]
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream("intranet", 80)
    assert network.dialled == []


async def test_an_address_is_begun_at_once(network: FakeNetwork, dialer: Dialer) -> None:
    stream = dialer.begin(ONE, 80)
    assert stream is not None
    assert stream.remote_address == (ONE, 80)
    assert not stream.connected
    await trio.testing.wait_all_tasks_blocked()
    assert stream.connected


async def test_a_name_is_begun_at_once_when_it_is_known_to_have_one_address(
    network: FakeNetwork, dialer: Dialer
) -> None:
    network.dns.records["one.test", "A"] = [str(ONE)]
    network.dns.records["local.test", "A"] = ["127.0.0.1"]
    for name in ("one.test", "web.test"):
        assert dialer.begin(name, 80) is None, "somebody has to be asked"
        await dialer.open_tcp_stream(name, 80)
    with pytest.raises(DeniedByRule):
        await dialer.open_tcp_stream("local.test", 80)
    network.dialled.clear()
    stream = dialer.begin("ONE.test.", 80)
    assert stream is not None
    assert stream.remote_address == (ONE, 80)
    assert dialer.begin("web.test", 80) is None, "it has two, between which a race decides"
    assert dialer.begin("local.test", 80) is None, "open_tcp_stream() says why not"
    assert network.dialled == [(ONE, 80)]


async def test_what_is_begun_has_the_same_rules(network: FakeNetwork, dialer: Dialer) -> None:
    for host, port in (("127.0.0.1", 80), ("localhost", 80), (ONE, 0)):
        with pytest.raises(DeniedByRule):
            dialer.begin(host, port)
    with pytest.raises(NetworkUnreachable):
        dialer.begin("fd00::1", 80)
    network.up = False
    with pytest.raises(TunnelDown):
        dialer.begin(ONE, 80)
    assert network.dialled == []
