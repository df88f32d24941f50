"""Datagrams and listening ports go through the same rules and names as connections."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import DeniedByRule, NameNotFound, NetworkUnreachable, TunnelDown
from sstpsocks.proxy.dial import Dialer
from tests.helpers.fake_network import FakeNetwork

HOST = IPv4Address("10.0.0.1")


async def test_a_datagram_to_an_address_goes_at_once(network: FakeNetwork) -> None:
    datagrams = Dialer(network, Resolver(network)).open_datagrams()
    assert datagrams.send_nowait(b"ntp?", HOST, 123) == HOST
    assert datagrams.send_nowait(b"ntp?", "10.0.0.1", 124) == HOST
    assert network.udp_ports[0].sent == [(b"ntp?", HOST, 123), (b"ntp?", HOST, 124)]


async def test_a_name_is_looked_up_in_the_tunnel_once(network: FakeNetwork) -> None:
    network.dns.records[("time.test", "A")] = ["10.0.0.1"]
    datagrams = Dialer(network, Resolver(network)).open_datagrams()
    assert datagrams.send_nowait(b"ntp?", "time.test", 123) is None
    assert await datagrams.send_to(b"ntp?", "time.test", 123) == HOST
    assert datagrams.send_nowait(b"again", "time.test", 123) == HOST
    assert network.udp_ports[0].sent == [(b"ntp?", HOST, 123), (b"again", HOST, 123)]
    with pytest.raises(NameNotFound):
        await datagrams.send_to(b"ntp?", "nobody.test", 123)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.1", "224.0.0.251", "255.255.255.255", "169.254.1.1"])
async def test_what_is_never_dialled_gets_no_datagram_either(network: FakeNetwork, address: str) -> None:
    datagrams = Dialer(network, Resolver(network)).open_datagrams()
    for host in (address, ip_address(address)):
        with pytest.raises(DeniedByRule):
            datagrams.send_nowait(b"", host, 53)
    if ":" not in address:
        network.dns.records[("rebound.test", "A")] = [address]
        with pytest.raises(DeniedByRule):
            await datagrams.send_to(b"", "rebound.test", 53)
    for port in (0, 65536):
        with pytest.raises(DeniedByRule):
            datagrams.send_nowait(b"", HOST, port)
    assert network.udp_ports[0].sent == []


async def test_without_ipv6_in_the_tunnel_a_datagram_has_no_way(network: FakeNetwork) -> None:
    datagrams = Dialer(network, Resolver(network)).open_datagrams()
    with pytest.raises(NetworkUnreachable):
        datagrams.send_nowait(b"", IPv6Address("2001:db8::1"), 53)


async def test_who_is_expected_is_told_to_the_tunnel(network: FakeNetwork) -> None:
    network.dns.records[("ftp.test", "A")] = ["10.0.0.1"]
    dialer = Dialer(network, Resolver(network))
    for host, peer in (
        (None, None),
        (IPv4Address(0), None),
        (IPv6Address("::"), None),
        (HOST, HOST),
        ("ftp.test", HOST),
    ):
        listener = await dialer.listen_tcp(0, host)
        assert network.listeners[-1] is listener
        assert network.listeners[-1].peer == peer
    with pytest.raises(DeniedByRule):
        await dialer.listen_tcp(0, "127.0.0.1")


async def test_without_a_tunnel_there_is_neither(network: FakeNetwork) -> None:
    dialer = Dialer(network, Resolver(network))
    datagrams = dialer.open_datagrams()
    network.up = False
    with pytest.raises(TunnelDown):
        dialer.open_datagrams()
    with pytest.raises(TunnelDown):
        await dialer.listen_tcp()
    with pytest.raises(TunnelDown):
        datagrams.send_nowait(b"", HOST, 53)
