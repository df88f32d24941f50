"""One UDP socket in front of several tunnels: each datagram goes the way of the rules."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
import trio

from sstpsocks.errors import ConnectionRefused, DeniedByRule, DialError, TunnelDown
from sstpsocks.proxy.routing.direct import Direct
from sstpsocks.tunnel.network import IPAddress

from .test_router import World

WORK, HOME = IPv4Address("10.1.0.1"), IPv4Address("10.2.0.1")
RULES = ("10.2.0.0/16 -> home", "10.3.0.0/16 -> refuse")


async def test_each_datagram_goes_its_way_and_answers_come_from_all() -> None:
    world = World(*RULES)
    datagrams = world.router.open_datagrams()
    assert world.work.ports + world.home.ports == []
    for address in (WORK, HOME, WORK):
        assert datagrams.send_nowait(b"?", address, 123) == address
    [work], [home] = world.work.ports, world.home.ports
    assert work.sent == [(b"?", WORK, 123)] * 2
    assert home.sent == [(b"?", HOME, 123)]
    for port, address in ((work, WORK), (work, WORK), (home, HOME)):
        port.arrive(b"!", address, 123)
    # A busy tunnel does not keep the other one waiting.
    assert [(await datagrams.receive_from())[1] for _ in range(3)] == [WORK, HOME, WORK]
    with pytest.raises(DeniedByRule):
        datagrams.send_nowait(b"?", IPv4Address("10.3.0.1"), 123)


async def test_a_name_goes_where_its_address_belongs() -> None:
    world = World(*RULES, addresses=(str(HOME),))
    datagrams = world.router.open_datagrams()
    assert datagrams.send_nowait(b"?", "time.test", 123) is None
    assert await datagrams.send_to(b"?", "time.test", 123) == HOME
    assert world.home.ports[0].sent == [(b"?", HOME, 123)]
    assert world.work.ports == []


async def test_a_lost_tunnel_takes_only_its_own_socket() -> None:
    world = World(*RULES)
    datagrams = world.router.open_datagrams()
    datagrams.send_nowait(b"?", WORK, 123)
    datagrams.send_nowait(b"?", HOME, 123)
    world.work.ports[0].lose()
    assert datagrams.receive_nowait() is None
    world.home.ports[0].arrive(b"!", HOME, 123)
    assert datagrams.receive_nowait() == (b"!", HOME, 123)
    datagrams.send_nowait(b"back", WORK, 123)
    assert world.work.ports[1].sent == [(b"back", WORK, 123)]
    world.work.ports[1].lost = True
    with pytest.raises(TunnelDown):
        datagrams.send_nowait(b"?", WORK, 123)
    datagrams.send_nowait(b"again", WORK, 123)
    assert world.work.ports[2].sent == [(b"again", WORK, 123)]


async def test_errors_of_all_ways_are_told_and_closing_closes_all() -> None:
    world = World(*RULES)
    datagrams = world.router.open_datagrams()
    told: list[tuple[type[DialError], IPAddress]] = []
    datagrams.on_error = lambda error, address, _port: told.append((type(error), address))
    datagrams.send_nowait(b"?", WORK, 123)
    world.work.ports[0].refuse(WORK, 123)
    assert told == [(ConnectionRefused, WORK)]
    datagrams.close()
    assert world.work.ports[0].closed
    with pytest.raises(trio.ClosedResourceError):
        datagrams.send_nowait(b"?", WORK, 123)


async def test_the_tunnel_that_leads_to_who_is_expected_listens() -> None:
    world = World(*RULES)
    for host in (None, IPv4Address(0), WORK, HOME):
        with pytest.raises(ConnectionRefused):
            await world.router.listen_tcp(0, host)
    assert [host for host, _ in world.work.dialled] == ["None", "None", str(WORK)]
    assert [host for host, _ in world.home.dialled] == [str(HOME)]
    with pytest.raises(DeniedByRule):
        await world.router.listen_tcp(0, "10.3.0.1")


async def test_no_port_is_opened_past_the_tunnels(nursery: trio.Nursery) -> None:
    with pytest.raises(DeniedByRule):
        await Direct(nursery).listen_tcp(0, WORK)
