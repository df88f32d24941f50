"""IPv6 configuration under arbitrary input: what is written is read back, and only the protocol error comes out."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.autoconf.advertisement import (
    PrefixInformation,
    RecursiveServers,
    RouterAdvertisement,
    SearchList,
)
from sstpsocks.net.autoconf.configuration import Ipv6Configuration
from sstpsocks.net.autoconf.dhcpv6_message import Dhcpv6Message, IaAddress, IaNa
from sstpsocks.net.autoconf.names import domain_names_to_bytes, parse_domain_names

octet = st.integers(0, 255)
uint16 = st.integers(0, 0xFFFF)
uint32 = st.integers(0, 0xFFFFFFFF)
addresses = st.builds(IPv6Address, st.binary(min_size=16, max_size=16))
networks = st.builds(
    lambda packed, length: IPv6Network((packed, length), strict=False),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 128),
)
labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=63)
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
name_lists = st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)
advertisements = st.builds(
    RouterAdvertisement,
    router_lifetime=uint16,
    managed=st.booleans(),
    other=st.booleans(),
    hop_limit=octet,
    reachable_time=uint32,
    retransmission_timer=uint32,
    mtu=st.none() | uint32,
    prefixes=st.lists(
        st.builds(PrefixInformation, networks, uint32, uint32, st.booleans(), st.booleans()), max_size=3
    ).map(tuple),
    servers=st.lists(
        st.builds(RecursiveServers, st.lists(addresses, min_size=1, max_size=3).map(tuple), uint32), max_size=2
    ).map(tuple),
    search_lists=st.lists(st.builds(SearchList, name_lists, uint32), max_size=2).map(tuple),
)
leases = st.builds(IaAddress, addresses, uint32, uint32, uint16)
associations = st.builds(IaNa, uint32, uint32, uint32, st.lists(leases, max_size=3).map(tuple), uint16)
messages = st.builds(
    Dhcpv6Message,
    type=octet,
    transaction_id=st.integers(0, 0xFFFFFF),
    client_id=st.none() | st.binary(min_size=3, max_size=130),
    server_id=st.none() | st.binary(min_size=3, max_size=130),
    associations=st.lists(associations, max_size=2).map(tuple),
    requested=st.lists(uint16, max_size=4).map(tuple),
    preference=octet,
    elapsed=st.none() | uint16,
    status=uint16,
    rapid_commit=st.booleans(),
    dns_servers=st.lists(addresses, max_size=3).map(tuple),
    domains=st.just(()) | name_lists,
    refresh_time=st.none() | uint32,
    sol_max_rt=st.none() | uint32,
    inf_max_rt=st.none() | uint32,
)


@settings(deadline=None, max_examples=200)
@given(advertisements)
def test_advertisements_are_read_as_written(advertisement: RouterAdvertisement) -> None:
    assert RouterAdvertisement.parse(advertisement.to_bytes()) == advertisement


@settings(deadline=None, max_examples=200)
@given(messages)
def test_dhcp_messages_are_read_as_written(message: Dhcpv6Message) -> None:
    assert Dhcpv6Message.parse(message.to_bytes()) == message


@settings(deadline=None, max_examples=100)
@given(name_lists)
def test_names_are_read_as_written(listed: tuple[str, ...]) -> None:
    assert parse_domain_names(domain_names_to_bytes(listed)) == listed


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=120))
def test_parsers_raise_only_the_protocol_error(data: bytes) -> None:
    for parse in (RouterAdvertisement.parse, Dhcpv6Message.parse, parse_domain_names):
        try:
            parse(data)
        except RemoteProtocolError:
            pass


steps = st.one_of(
    st.tuples(st.just("advertisement"), advertisements.map(RouterAdvertisement.to_bytes)),
    st.tuples(st.just("datagram"), messages.map(Dhcpv6Message.to_bytes)),
    st.tuples(st.just("reply"), messages.map(Dhcpv6Message.to_bytes)),
    st.tuples(st.just("time"), st.binary(min_size=1, max_size=2)),
)
flips = st.none() | st.tuples(uint16, st.integers(1, 255))


def flipped(data: bytes, flip: tuple[int, int] | None) -> bytes:
    if flip is None or not data:
        return data
    index = flip[0] % len(data)
    return data[:index] + bytes((data[index] ^ flip[1],)) + data[index + 1 :]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(steps, flips), max_size=25))
def test_nothing_breaks_the_machine_and_no_timer_spins(
    script: list[tuple[tuple[str, bytes], tuple[int, int] | None]],
) -> None:
    host = Ipv6Configuration(bytes(7) + b"\x01", duid=bytes(18), entropy=SeededEntropy(3), link_mtu=1400)
    now = 0.0
    host.start(now)
    asked = b""
    for (kind, data), flip in script:
        data = flipped(data, flip)
        try:
            if kind == "advertisement":
                host.receive_advertisement(IPv6Address("fe80::1"), 255, data, now)
            elif kind == "datagram":
                host.receive_datagram(data, now)
            elif kind == "reply" and len(asked) > 4:
                # One that the client takes for the answer to its last message.
                client_id = Dhcpv6Message.parse(asked).client_id or b""
                head = bytes((7, *asked[1:4], 0, 1)) + len(client_id).to_bytes(2, "big") + client_id
                host.receive_datagram(head + b"\x00\x02\x00\x03abc" + data[4:], now)
        except RemoteProtocolError:
            pass
        if kind == "time":
            now += int.from_bytes(data, "big")
        for _ in range(100):
            due = host.poll_at()
            if due is None or due > now:
                break
            host.handle_timer(max(due, now))
        else:
            raise AssertionError("a timer that spins")
        for datagram in host.datagrams_to_send(now):
            asked = datagram
        host.packets_to_send(now)
        while (event := host.next_event()) is not None:
            assert len(event.addresses) <= 16
            assert len(event.dns_servers) <= 16
            assert event.mtu <= 1400
