"""RFC 6724: the examples of section 10.1 that a host with one interface can meet, and rules 3 and 7."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from sstpsocks.net.source_address import OwnAddress, choose_source, common_prefix_length, label_of, scope_of


def own(text: str, *, deprecated: bool = False, temporary: bool = False) -> OwnAddress:
    address, _, length = text.partition("/")
    return OwnAddress(IPv6Address(address), int(length or 64), deprecated, temporary)


def choose(destination: str, *candidates: OwnAddress) -> str | None:
    chosen = choose_source(candidates, IPv6Address(destination))
    backwards = choose_source(reversed(candidates), IPv6Address(destination))
    assert chosen == backwards, "the order must not matter where a rule decides"
    return None if chosen is None else str(chosen)


def test_prefer_same_address() -> None:
    assert choose("2001:db8:1::1", own("2001:db8:1::1"), own("2001:db8:2::1")) == "2001:db8:1::1"


def test_prefer_appropriate_scope() -> None:
    assert choose("2001:db8:1::1", own("2001:db8:3::1"), own("fe80::1")) == "2001:db8:3::1"
    assert choose("ff05::1", own("2001:db8:3::1"), own("fe80::1")) == "2001:db8:3::1"
    assert choose("fe80::9", own("2001:db8:3::1"), own("fe80::1")) == "fe80::1"
    assert choose("ff02::1:2", own("2001:db8:3::1"), own("fe80::1")) == "fe80::1"


def test_avoid_deprecated_addresses_but_use_one_rather_than_none() -> None:
    old, new = own("2001:db8:1::1", deprecated=True), own("2001:db8:9::1")
    assert choose("2001:db8:1::9", old, new) == "2001:db8:9::1"
    assert choose("2001:db8:1::9", old) == "2001:db8:1::1"


def test_prefer_matching_label() -> None:
    six_to_four = own("2002:c633:6401:0:d5e3:7953:13eb:22e8", temporary=True)
    assert choose("2002:c633:6401::1", six_to_four, own("2001:db8:1::2")) == str(six_to_four.address)
    assert choose("2001:db8:1::1", own("fd00::1"), own("2001:db8:3::1")) == "2001:db8:3::1"
    assert choose("fd99::1", own("fd00::1"), own("2001:db8:3::1")) == "fd00::1"


def test_prefer_temporary_addresses() -> None:
    private = own("2001:db8:1:0:d5e3:7953:13eb:22e8", temporary=True)
    assert choose("2001:db8:1::d5e3:0:0:1", own("2001:db8:1::2"), private) == str(private.address)


def test_use_longest_matching_prefix() -> None:
    assert choose("2001:db8:1::1", own("2001:db8:1::2"), own("2001:db8:3::2")) == "2001:db8:1::2"


def test_the_interface_identifier_does_not_count_for_the_prefix() -> None:
    near, far = own("2001:db8:1::1:1"), own("2001:db8:1::ffff:1")
    destination = IPv6Address("2001:db8:1::1:2")
    assert common_prefix_length(near, destination) == common_prefix_length(far, destination) == 64


def test_a_link_local_address_reaches_nothing_beyond_the_link() -> None:
    assert choose("2001:db8::1", own("fe80::1")) is None
    assert choose("2001:db8::1") is None


@pytest.mark.parametrize(
    ("address", "scope", "label"),
    [
        ("fe80::1", 2, 1),
        ("::1", 2, 0),
        ("fec0::1", 5, 11),
        ("ff08::1", 8, 1),
        ("2001:db8::1", 14, 1),
        ("fc00::1", 14, 13),
        ("2001::1", 14, 5),
        ("2002::1", 14, 2),
        ("3ffe::1", 14, 12),
        ("::ffff:10.0.0.1", 14, 4),
        ("::10.0.0.1", 14, 3),
    ],
)
def test_scopes_and_labels(address: str, scope: int, label: int) -> None:
    assert (scope_of(IPv6Address(address)), label_of(IPv6Address(address))) == (scope, label)
