"""The whole configuration of a host: advertisements and DHCPv6 come together to one result."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.autoconf.advertisement import (
    PrefixInformation,
    RecursiveServers,
    RouterAdvertisement,
    RouterSolicitation,
    SearchList,
)
from sstpsocks.net.autoconf.configuration import HostAddress, Ipv6Configuration, Ipv6Configured
from sstpsocks.net.autoconf.dhcpv6 import IAID
from sstpsocks.net.autoconf.dhcpv6_message import Dhcpv6Message, IaAddress, IaNa, MessageType

ROUTER = IPv6Address("fe80::1")
PREFIX = IPv6Network("2001:db8:1:2::/64")
OURS = IPv6Address("2001:db8:1:2::7")
DNS = IPv6Address("2001:db8::53")


def host() -> Ipv6Configuration:
    configuration = Ipv6Configuration(
        bytes.fromhex("0000000000000007"), duid=bytes(18), entropy=SeededEntropy(1), link_mtu=1400
    )
    configuration.start(0.0)
    return configuration


def advertise(configuration: Ipv6Configuration, advertisement: RouterAdvertisement, now: float = 1.0) -> None:
    configuration.receive_advertisement(ROUTER, 255, advertisement.to_bytes(), now)


def asked(configuration: Ipv6Configuration, now: float) -> list[Dhcpv6Message]:
    configuration.handle_timer(now)
    return [Dhcpv6Message.parse(data) for data in configuration.datagrams_to_send(now)]


def test_it_asks_for_a_router_and_nothing_else() -> None:
    configuration = host()
    due = configuration.poll_at()
    assert due is not None
    configuration.handle_timer(due)
    assert configuration.packets_to_send(due) == [RouterSolicitation().to_bytes()]
    assert configuration.datagrams_to_send(due) == []
    assert configuration.next_event() is None
    assert configuration.link_local == IPv6Address("fe80::7")


def test_an_advertisement_gives_everything() -> None:
    configuration = host()
    advertise(
        configuration,
        RouterAdvertisement(
            router_lifetime=1800,
            hop_limit=64,
            mtu=1300,
            prefixes=(PrefixInformation(PREFIX, 86400, 14400),),
            servers=(RecursiveServers((DNS,), 1800),),
            search_lists=(SearchList(("corp.example",), 1800),),
        ),
    )
    assert configuration.next_event() == Ipv6Configured((HostAddress(OURS, True),), (DNS,), ("corp.example",), 1300)
    assert configuration.next_event() is None
    assert asked(configuration, 100.0) == [], "neither flag is set"


def test_the_same_advertisement_again_is_no_news() -> None:
    configuration = host()
    advertisement = RouterAdvertisement(router_lifetime=1800, prefixes=(PrefixInformation(PREFIX, 86400, 14400),))
    advertise(configuration, advertisement)
    assert configuration.next_event() is not None
    advertise(configuration, advertisement, 60.0)
    assert configuration.next_event() is None


def test_time_takes_it_all_away_again() -> None:
    configuration = host()
    advertise(
        configuration,
        RouterAdvertisement(
            router_lifetime=1800,
            prefixes=(PrefixInformation(PREFIX, 600, 300),),
            servers=(RecursiveServers((DNS,), 900),),
        ),
    )
    told = []
    while (due := configuration.poll_at()) is not None:
        configuration.handle_timer(due)
        if (event := configuration.next_event()) is not None:
            told.append((due, event.addresses, event.dns_servers))
    assert told == [
        (301.0, (HostAddress(OURS, False),), (DNS,)),
        (601.0, (), (DNS,)),
        (901.0, (), ()),
    ]


def test_the_other_flag_has_dhcp_asked_for_name_servers() -> None:
    configuration = host()
    advertise(configuration, RouterAdvertisement(router_lifetime=1800, other=True))
    (request,) = asked(configuration, 3.0)
    assert request.type == MessageType.INFORMATION_REQUEST
    reply = Dhcpv6Message(
        type=MessageType.REPLY,
        transaction_id=request.transaction_id,
        client_id=request.client_id,
        server_id=b"server",
        dns_servers=(DNS,),
        domains=("corp.example",),
    )
    configuration.receive_datagram(reply.to_bytes(), 3.1)
    event = configuration.next_event()
    assert event is not None
    assert (event.addresses, event.dns_servers, event.search_domains) == ((), (DNS,), ("corp.example",))


def test_the_managed_flag_has_dhcp_asked_for_an_address() -> None:
    configuration = host()
    advertise(configuration, RouterAdvertisement(router_lifetime=1800, managed=True, other=True))
    (solicit,) = asked(configuration, 3.0)
    assert solicit.type == MessageType.SOLICIT
    leased = IPv6Address("2001:db8:9::5")
    reply = Dhcpv6Message(
        type=MessageType.REPLY,
        transaction_id=solicit.transaction_id,
        client_id=solicit.client_id,
        server_id=b"server",
        associations=(IaNa(IAID, addresses=(IaAddress(leased, 3600, 7200),)),),
        rapid_commit=True,
    )
    configuration.receive_datagram(reply.to_bytes(), 3.1)
    event = configuration.next_event()
    assert event is not None
    assert event.addresses == (HostAddress(leased, True),)
