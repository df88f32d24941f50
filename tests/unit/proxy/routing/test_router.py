from __future__ import annotations

from ipaddress import ip_address

import pytest

from sstpsocks.errors import ConnectionRefused, DeniedByRule
from sstpsocks.proxy.datagrams import DialledDatagrams
from sstpsocks.proxy.outlet import Datagrams
from sstpsocks.proxy.routing.language import RuleSyntaxError, parse_rule
from sstpsocks.proxy.routing.router import Router
from sstpsocks.tunnel.network import IPAddress, TunnelListener, TunnelStream
from tests.helpers.fake_ports import FakeUdpPort


class Outlet:
    """Keeps what it is asked, knows the addresses of every name, and reaches nobody."""

    def __init__(self, *addresses: str) -> None:
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.ports: list[FakeUdpPort] = []
        self._addresses = list(map(ip_address, addresses))

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        self.dialled.append((str(host), port))
        return None

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        self.dialled.append((str(host), port))
        raise ConnectionRefused("nobody is here")

    def open_datagrams(self) -> Datagrams:
        self.ports.append(FakeUdpPort())
        return DialledDatagrams(self.ports[-1], self._address, self._found)

    def _address(self, host: str | IPAddress, port: int) -> IPAddress | None:
        return None if isinstance(host, str) else host

    async def _found(self, host: str | IPAddress, port: int) -> IPAddress:
        return (await self.resolve(str(host)))[0]

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        self.dialled.append((str(host), port))
        raise ConnectionRefused("nobody is here")

    async def resolve(self, name: str) -> list[IPAddress]:
        self.asked.append(name)
        return list(self._addresses)


class World:
    def __init__(self, *rules: str, addresses: tuple[str, ...] = ("10.0.0.7",)) -> None:
        self.work, self.home, self.direct = Outlet(*addresses), Outlet(*addresses), Outlet(*addresses)
        self.router = Router(map(parse_rule, rules), {"work": self.work, "home": self.home}, self.direct)

    async def dial(self, host: str, port: int = 80) -> None:
        with pytest.raises(ConnectionRefused):
            await self.router.open_tcp_stream(host, port)

    async def refuse(self, host: str, port: int = 80) -> None:
        with pytest.raises(DeniedByRule):
            await self.router.open_tcp_stream(host, port)
        assert self.work.dialled + self.home.dialled + self.direct.dialled == []


async def test_a_name_is_given_as_it_is_to_the_tunnel_that_the_rule_names() -> None:
    world = World(".corp.example -> home")
    await world.dial("Host.Corp.Example")
    assert world.home.dialled == [("Host.Corp.Example", 80)]
    assert world.home.asked + world.work.asked + world.direct.asked == []


async def test_what_no_rule_is_about_goes_to_the_first_tunnel() -> None:
    world = World(".corp.example -> home", "all port 22 -> direct")
    await world.dial("other.example")
    await world.dial("192.0.2.1")
    assert world.work.dialled == [("other.example", 80), ("192.0.2.1", 80)]


async def test_only_what_a_rule_sends_direct_is_direct() -> None:
    world = World("printer.home.example -> direct")
    await world.dial("printer.home.example")
    assert world.direct.dialled == [("printer.home.example", 80)]


async def test_a_refused_name_is_neither_dialled_nor_looked_up() -> None:
    world = World("10.0.0.0/8 -> home", ".ads.example -> refuse")
    await world.refuse("x.ads.example")
    with pytest.raises(DeniedByRule, match=r'by the rule ".ads.example -> refuse"'):
        world.router.begin("x.ads.example", 80)
    assert world.work.asked + world.home.asked + world.direct.asked == []


async def test_a_network_above_decides_about_the_addresses_that_the_chosen_way_found() -> None:
    world = World("10.0.0.0/8 -> home")
    assert world.router.begin("www.example", 80) is None
    await world.dial("www.example")
    assert (world.work.asked, world.home.asked, world.direct.asked) == (["www.example"], [], [])
    assert (world.work.dialled, world.home.dialled) == ([], [("10.0.0.7", 80)])


async def test_a_network_below_has_no_turn() -> None:
    world = World("www.example -> work", "10.0.0.0/8 -> refuse")
    await world.dial("www.example")
    assert (world.work.dialled, world.work.asked) == ([("www.example", 80)], [])


async def test_addresses_of_one_name_may_go_different_ways() -> None:
    world = World("10.0.0.0/8 -> home", "192.0.2.0/24 -> refuse", addresses=("10.0.0.7", "192.0.2.1", "198.51.100.1"))
    await world.dial("www.example")
    assert world.home.dialled == [("10.0.0.7", 80)]
    assert world.work.dialled == [("198.51.100.1", 80)]


async def test_a_name_with_only_refused_addresses_is_refused() -> None:
    await World("10.0.0.0/8 -> refuse").refuse("www.example")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "0.1.2.3"])
async def test_what_is_never_dialled_stays_so_on_every_way(address: str) -> None:
    await World("all -> direct").refuse(address)
    await World("0.0.0.0/0, ::/0 -> direct").refuse(address)
    await World("0.0.0.0/0, ::/0 -> direct", addresses=(address,)).refuse("www.example")


async def test_localhost_is_refused_by_every_rule() -> None:
    await World("localhost -> direct").refuse("localhost")


async def test_a_look_up_goes_the_way_of_the_name() -> None:
    world = World(".corp.example port 443 -> work", ".corp.example -> home", ".ads.example -> refuse")
    assert await world.router.resolve("www.corp.example") == [ip_address("10.0.0.7")]
    assert (world.work.asked, world.home.asked, world.direct.asked) == ([], ["www.corp.example"], [])
    with pytest.raises(DeniedByRule):
        await world.router.resolve("www.ads.example")


async def test_new_rules_hold_at_once_and_wrong_ones_change_nothing() -> None:
    world = World("all -> refuse")
    await world.refuse("www.example")
    world.router.replace([parse_rule("all -> home")])
    with pytest.raises(RuleSyntaxError):
        world.router.replace([parse_rule("all -> nowhere")])
    await world.dial("www.example")
    assert world.home.dialled == [("www.example", 80)]
