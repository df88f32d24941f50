from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from sstpsocks.dns.table import NameTable, is_ours, never_exists, reverse_address
from sstpsocks.tunnel.name_settings import NameSettings, Servers, Target, Way

HEADQUARTERS = Servers((IPv4Address("10.1.0.53"),))

SPLIT = NameSettings(
    suffixes=(
        ("corp.test", Way.TUNNEL),
        ("hq.corp.test", HEADQUARTERS),
        ("public.corp.test", Way.SYSTEM),
        ("ads.test", Way.REFUSE),
    ),
    rest=Way.SYSTEM,
)


def split_table() -> NameTable:
    return NameTable(SPLIT, domains=lambda: ("told.test",), routes=lambda: (IPv4Network("203.0.113.0/24"),))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("corp.test", Way.TUNNEL),
        ("wiki.corp.test", Way.TUNNEL),
        ("hq.corp.test", HEADQUARTERS),
        ("a.b.hq.corp.test", HEADQUARTERS),
        ("www.public.corp.test", Way.SYSTEM),
        ("ads.test", Way.REFUSE),
        ("notcorp.test", Way.SYSTEM),
        ("corp.test.example", Way.SYSTEM),
        ("x.told.test", Way.TUNNEL),
        ("intranet", Way.TUNNEL),
        ("example.com", Way.SYSTEM),
        ("1.0.0.10.in-addr.arpa", Way.TUNNEL),
        ("10.in-addr.arpa", Way.TUNNEL),
        ("20.168.192.in-addr.arpa", Way.TUNNEL),
        ("7.113.0.203.in-addr.arpa", Way.TUNNEL),
        ("8.8.8.8.in-addr.arpa", Way.SYSTEM),
        ("d.f.ip6.arpa", Way.TUNNEL),
        ("1.0.0.2.ip6.arpa", Way.SYSTEM),
    ],
)
def test_the_longest_suffix_decides_and_what_is_private_stays_inside(name: str, target: Target) -> None:
    assert split_table().decide(name) == target


def test_without_a_word_of_the_user_everything_goes_through_the_tunnel() -> None:
    table = NameTable()
    assert {table.decide(name) for name in ("example.com", "wiki", "8.8.8.8.in-addr.arpa", "")} == {Way.TUNNEL}
    assert table.leaks() == ()


def test_a_suffix_of_a_dot_is_for_everything() -> None:
    table = NameTable(NameSettings(suffixes=(("", HEADQUARTERS), ("ads.test", Way.REFUSE))))
    assert table.decide("example.com") == HEADQUARTERS
    assert table.decide("x.ads.test") is Way.REFUSE


def test_what_is_asked_past_the_tunnel_is_told() -> None:
    assert split_table().leaks() == (
        "names below public.corp.test",
        "all names that the network behind the tunnel has not claimed",
    )


@pytest.mark.parametrize(
    ("name", "address", "whole"),
    [
        ("4.3.2.1.in-addr.arpa", "1.2.3.4", True),
        ("2.1.in-addr.arpa", "1.2.0.0", False),
        (f"{'1.' + '0.' * 31}ip6.arpa", "::1", True),
    ],
)
def test_reverse_names_are_read_backwards(name: str, address: str, whole: bool) -> None:
    found = reverse_address(name)
    assert found is not None
    assert (str(found[0]), found[1]) == (address, whole)


@pytest.mark.parametrize(
    "name", ["example.com", "256.1.1.1.in-addr.arpa", "5.4.3.2.1.in-addr.arpa", "xy.ip6.arpa", "g.ip6.arpa"]
)
def test_other_names_are_no_reverse_names(name: str) -> None:
    assert reverse_address(name) is None


def test_special_names_are_known() -> None:
    assert is_ours("localhost")
    assert is_ours("1.0.0.127.in-addr.arpa")
    assert not is_ours("localhost.example")
    assert never_exists("a.invalid")
    assert never_exists("abc.onion")
    assert not never_exists("invalid.example")
