"""Router discovery: when it asks, what it believes, and for how long."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.autoconf.advertisement import (
    PrefixInformation,
    RecursiveServers,
    RouterAdvertisement,
    RouterSolicitation,
    SearchList,
)
from sstpsocks.net.autoconf.router import MAX_SERVERS, RouterDiscovery

ROUTER = IPv6Address("fe80::1")
DNS = IPv6Address("fd77::53")


def discovery() -> RouterDiscovery:
    return RouterDiscovery(SeededEntropy("host"), link_mtu=1400)


def advertise(host: RouterDiscovery, now: float = 0.0, **fields: object) -> None:
    host.receive_packet(ROUTER, 255, RouterAdvertisement(**fields).to_bytes(), now)  # type: ignore[arg-type]  # the test's own


def solicitations(host: RouterDiscovery, until: float) -> list[float]:
    """Let time pass and return when the host asked."""
    asked = []
    while (due := host.poll_at()) is not None and due <= until:
        host.handle_timer(due)
        asked += [due] * len(host.packets_to_send(due))
    return asked


def test_three_solicitations_four_seconds_apart_after_a_random_delay() -> None:
    host = discovery()
    host.start(100.0)
    first, second, third = solicitations(host, 200.0)
    assert 100.0 <= first < 101.0
    assert (second - first, third - second) == pytest.approx((4.0, 4.0))
    assert host.poll_at() is None


def test_different_hosts_wait_differently() -> None:
    delays = set()
    for seed in range(8):
        host = RouterDiscovery(SeededEntropy(seed), link_mtu=1400)
        host.start(0.0)
        delays.add(host.poll_at())
    assert len(delays) > 4


def test_a_default_router_ends_the_asking_and_another_does_not() -> None:
    host = discovery()
    host.start(0.0)
    advertise(host, router_lifetime=0)
    assert host.poll_at() is not None
    advertise(host, router_lifetime=1800)
    assert host.poll_at() is None


def test_a_timer_that_comes_early_does_nothing() -> None:
    host = discovery()
    host.start(0.0)
    due = host.poll_at()
    assert due is not None
    host.handle_timer(due - 0.001)
    assert host.packets_to_send(due) == []


@pytest.mark.parametrize(
    ("source", "hop_limit"),
    [("fe80::1", 254), ("fd77::1", 255), ("::", 255)],
)
def test_what_did_not_come_from_a_neighbour_is_discarded(source: str, hop_limit: int) -> None:
    host = discovery()
    message = RouterAdvertisement(router_lifetime=1800, servers=(RecursiveServers((DNS,), 60),)).to_bytes()
    with pytest.raises(RemoteProtocolError):
        host.receive_packet(IPv6Address(source), hop_limit, message, 0.0)
    assert not host.servers
    assert host.next_event() is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        bytes.fromhex("86000000000007080000000000000000")[:15],
        bytes.fromhex("86010000000007080000000000000000"),  # code 1
        bytes.fromhex("85000000000007080000000000000000"),  # a solicitation
        bytes.fromhex("860000000000070800000000000000000500000000000578"),  # an option of length 0
        bytes.fromhex("860000000000070800000000000000000502000000000578"),  # an option beyond the end
        bytes.fromhex("8600000000000708000000000000000005"),  # half an option
    ],
)
def test_a_malformed_advertisement_is_discarded(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        discovery().receive_packet(ROUTER, 255, message, 0.0)


def test_an_advertisement_of_a_real_server_is_understood() -> None:
    """Hop limit 64, a day valid and four hours preferred, one name server for half an hour."""
    message = bytes.fromhex(
        "8600abcd 40000708 00000000 00000000"
        "030440c0 00015180 00003840 00000000 fd770001000000000000000000000000"
        "19030000 00000708 fd770001000000000000000000000001"
    )
    advertisement = RouterAdvertisement.parse(message)
    assert advertisement.router_lifetime == 1800
    assert not advertisement.managed
    assert not advertisement.other
    assert advertisement.hop_limit == 64
    assert advertisement.prefixes == (PrefixInformation(IPv6Network("fd77:1::/64"), 86400, 14400),)
    assert advertisement.servers == (RecursiveServers((IPv6Address("fd77:1::1"),), 1800),)


def test_options_that_make_no_sense_are_skipped_and_the_rest_counts() -> None:
    message = RouterAdvertisement(router_lifetime=1800, mtu=1280).to_bytes() + bytes.fromhex(
        "030481c0 00015180 00003840 00000000 fd770001000000000000000000000000"  # a prefix of 129 bits
        "1f010000 00000708"  # an empty search list
        "19010000 00000708"  # no name server
        "1f020000 00000708 3f00000000000000"  # a label beyond its option
        "fe01000000000000"  # unknown
    )
    advertisement = RouterAdvertisement.parse(message)
    assert advertisement == RouterAdvertisement(router_lifetime=1800, mtu=1280)


def test_name_servers_and_domains_expire() -> None:
    host = discovery()
    advertise(
        host,
        servers=(RecursiveServers((DNS,), 60), RecursiveServers((IPv6Address("fd77::54"),), 30)),
        search_lists=(SearchList(("corp.example", "example"), 90),),
    )
    assert host.servers == (DNS, IPv6Address("fd77::54"))
    assert host.domains == ("corp.example", "example")
    assert host.poll_at() == 30.0
    host.handle_timer(30.0)
    assert list(host.servers) == [DNS]
    advertise(host, 50.0, servers=(RecursiveServers((DNS,), 60),))
    host.handle_timer(60.0)
    assert list(host.servers) == [DNS], "the second advertisement prolonged it"
    host.handle_timer(110.0)
    assert [*host.servers, *host.domains] == []
    assert host.poll_at() is None


def test_a_lifetime_of_zero_withdraws_and_the_infinite_one_stays() -> None:
    host = discovery()
    advertise(host, servers=(RecursiveServers((DNS,), 0xFFFFFFFF),))
    assert host.poll_at() is None
    host.handle_timer(1e9)
    assert list(host.servers) == [DNS]
    advertise(host, servers=(RecursiveServers((DNS,), 0),))
    assert not host.servers


def test_the_store_of_servers_is_bounded_and_the_shortest_lived_makes_room() -> None:
    host = discovery()
    for number in range(40):
        advertise(host, servers=(RecursiveServers((IPv6Address(f"fd77::{number:x}"),), 100 + number),))
    assert len(host.servers) == MAX_SERVERS
    assert IPv6Address("fd77::27") in host.servers


@pytest.mark.parametrize(("advertised", "used"), [(None, 1400), (1280, 1280), (1279, 1400), (1500, 1400), (1350, 1350)])
def test_only_a_sensible_mtu_is_taken(advertised: int | None, used: int) -> None:
    host = discovery()
    advertise(host, mtu=advertised)
    assert host.mtu == used


def test_servers_of_no_host_are_left_out() -> None:
    host = discovery()
    bad = tuple(map(IPv6Address, ("::", "::1", "ff02::fb")))
    advertise(host, servers=(RecursiveServers((*bad, DNS), 60),))
    assert list(host.servers) == [DNS]


def test_a_solicitation_has_no_link_layer_address() -> None:
    assert RouterSolicitation().to_bytes() == bytes.fromhex("8500000000000000")
