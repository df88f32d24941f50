"""Addresses from advertised prefixes: RFC 4862 section 5.5.3 step by step, and the identifiers of RFC 7217."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from sstpsocks.net.autoconf.advertisement import PrefixInformation
from sstpsocks.net.autoconf.slaac import (
    MAX_PREFIXES,
    AddressAutoconfiguration,
    link_local_address,
    stable_identifier,
)

IDENTIFIER = bytes.fromhex("00112233445566aa")
PREFIX = IPv6Network("2001:db8:7:1::/64")
ADDRESS = IPv6Address("2001:db8:7:1:11:2233:4455:66aa")
SECRET = bytes(range(16))
FOREVER = 0xFFFFFFFF


def slaac(valid: int = 86400, preferred: int = 14400) -> AddressAutoconfiguration:
    host = AddressAutoconfiguration(IDENTIFIER)
    host.receive_prefix(PrefixInformation(PREFIX, valid, preferred), 0.0)
    return host


def test_an_address_is_the_prefix_and_the_identifier() -> None:
    assert list(slaac().addresses) == [(ADDRESS, True)]
    assert link_local_address(IDENTIFIER) == IPv6Address("fe80::11:2233:4455:66aa")


@pytest.mark.parametrize(
    "information",
    [
        PrefixInformation(PREFIX, 86400, 14400, autonomous=False),
        PrefixInformation(IPv6Network("fe80::/64"), 86400, 14400),
        PrefixInformation(IPv6Network("ff02::/64"), 86400, 14400),
        PrefixInformation(IPv6Network("::/64"), 86400, 14400),
        PrefixInformation(PREFIX, 100, 101),
        PrefixInformation(PREFIX, 0, 0),
        PrefixInformation(IPv6Network("2001:db8::/48"), 86400, 14400),
        PrefixInformation(IPv6Network("2001:db8::/96"), 86400, 14400),
    ],
)
def test_prefixes_that_make_no_address(information: PrefixInformation) -> None:
    host = AddressAutoconfiguration(IDENTIFIER)
    host.receive_prefix(information, 0.0)
    assert not host.addresses
    assert host.poll_at() is None


def test_an_address_is_deprecated_and_then_removed() -> None:
    host = slaac()
    assert host.poll_at() == 14400.0
    host.handle_timer(14400.0)
    assert list(host.addresses) == [(ADDRESS, False)]
    assert host.poll_at() == 86400.0
    host.handle_timer(86400.0)
    assert not host.addresses
    assert host.poll_at() is None


def test_infinite_lifetimes_need_no_timer() -> None:
    assert slaac(FOREVER, FOREVER).poll_at() is None


def test_each_advertisement_prolongs_both_lifetimes() -> None:
    host = slaac()
    host.receive_prefix(PrefixInformation(PREFIX, 86400, 14400), 10000.0)
    host.handle_timer(14400.0)
    assert list(host.addresses) == [(ADDRESS, True)]
    assert host.poll_at() == 24400.0


def test_a_deprecated_address_may_become_preferred_again() -> None:
    host = slaac()
    host.handle_timer(20000.0)
    host.receive_prefix(PrefixInformation(PREFIX, 86400, 14400), 20000.0)
    assert list(host.addresses) == [(ADDRESS, True)]


def valid_until(host: AddressAutoconfiguration) -> float:
    host.handle_timer(0.0)
    ends = [due for due in (host.poll_at(),) if due is not None]
    assert ends
    return ends[0]


@pytest.mark.parametrize(
    ("remaining", "advertised", "ends_after"),
    [
        (86400, 10000, 10000),  # 1: more than two hours is taken, though less than what is left
        (3600, 5000, 5000),  # 1: so is more than what is left
        (3600, 60, 3600),  # 2: with two hours or less left, a shorter one is ignored
        (86400, 60, 7200),  # 3: otherwise two hours are left
        (86400, 0, 7200),
    ],
)
def test_the_two_hour_rule(remaining: int, advertised: int, ends_after: int) -> None:
    host = AddressAutoconfiguration(IDENTIFIER)
    host.receive_prefix(PrefixInformation(PREFIX, remaining, 0), 0.0)
    host.receive_prefix(PrefixInformation(PREFIX, advertised, 0), 0.0)
    assert valid_until(host) == ends_after


def test_a_prefix_that_is_withdrawn_is_deprecated_at_once() -> None:
    host = slaac()
    host.receive_prefix(PrefixInformation(PREFIX, 0, 0), 5.0)
    assert list(host.addresses) == [(ADDRESS, False)]


def test_no_more_addresses_than_the_bound() -> None:
    host = AddressAutoconfiguration(IDENTIFIER)
    for number in range(100):
        host.receive_prefix(PrefixInformation(IPv6Network(f"2001:db8:0:{number:x}::/64"), 600, 600), 0.0)
    assert len(host.addresses) == MAX_PREFIXES


def test_an_identifier_is_stable_for_a_network_and_unlike_in_any_other() -> None:
    first = stable_identifier(SECRET, b"vpn.example.com")
    assert first == stable_identifier(SECRET, b"vpn.example.com")
    others = {
        stable_identifier(SECRET, b"vpn.example.org"),
        stable_identifier(bytes(16), b"vpn.example.com"),
        stable_identifier(SECRET, b"vpn.example.com", prefix=PREFIX),
        stable_identifier(SECRET, b"vpn.example.com", taken=(first,)),
    }
    assert len(others | {first}) == 5
    assert all(len(identifier) == 8 and not identifier[0] & 0x02 for identifier in others)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="RFC 7217"):
        stable_identifier(b"short", b"vpn.example.com")
