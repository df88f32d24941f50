from __future__ import annotations

from ipaddress import ip_address

import pytest

from sstpsocks.proxy.routing.language import RuleSyntaxError, check_ways, parse_rule


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("host.corp.example -> work", "host.corp.example -> work"),
        (".corp.example -> work", ".corp.example -> work"),
        ("*.corp.example->work", ".corp.example -> work"),
        ("  HOST.Corp.Example.   ->   work ", "host.corp.example -> work"),
        ("bücher.example -> work", "xn--bcher-kva.example -> work"),
        ("10.0.0.0/8, 192.168.1.7 -> work", "10.0.0.0/8, 192.168.1.7 -> work"),
        ("2001:DB8::/32 -> work", "2001:db8::/32 -> work"),
        ("[2001:db8::1] port 443 -> direct", "2001:db8::1 port 443 -> direct"),
        ("all port 25, 465-587 -> refuse", "all port 25,465-587 -> refuse"),
        ("port 25 -> refuse", "all port 25 -> refuse"),
        ("* -> direct", "all -> direct"),
        ("all. -> work", "all. -> work"),
        (".x -> the second customer", ".x -> the second customer"),
    ],
)
def test_a_rule_is_written_in_one_form(text: str, written: str) -> None:
    rule = parse_rule(text)
    assert str(rule) == written
    assert parse_rule(written) == rule


@pytest.mark.parametrize(
    ("text", "column", "says", "suggestion"),
    [
        ("", 1, "no ->", ""),
        (".corp.example work", 19, "no ->", "Write DESTINATION -> WAY"),
        (".corp.example => work", 14, "no ->", '".corp.example -> work"'),
        (".corp.example via work", 14, "no ->", '".corp.example -> work"'),
        (".corp.example ->", 17, "no way", "direct or refuse"),
        ("-> work", 1, "no destination", ""),
        ("a.example -> DIRECT", 14, "neither a tunnel nor a way", '"direct"'),
        ("10.1.2.3/8 -> work", 1, "no network", '"10.0.0.0/8"'),
        ("10.0.0.300 -> work", 1, "no network", ""),
        ("10.1 -> work", 1, "no network", ""),
        ("host.example:443 -> work", 1, "no network", '"host.example port 443"'),
        ("[2001:db8::1]:443 -> work", 1, "no network", '"2001:db8::1 port 443"'),
        ("https://host.example/path -> work", 1, "URLs", '"host.example"'),
        ("::ffff:10.0.0.0/104 -> work", 1, "IPv4 addresses are written as such", '"10.0.0.0/8"'),
        ("fe80::1%eth0 -> work", 1, "zone", ""),
        ("web*.example -> work", 1, "a star stands only", ""),
        ("a.example,, b.example -> work", 11, "before this comma", ""),
        ("a.example, -> work", 10, "behind this comma", ""),
        ("a.example b.example -> work", 11, "does not belong here", "separated by commas"),
        ("a.example ports 80 -> work", 11, "does not belong here", '"port"'),
        ("a.example port -> work", 15, "no port is named", ""),
        ("a.example port 0 -> work", 16, "no ports from 0", "1 to 65535"),
        ("a.example port 90-80 -> work", 16, "no ports from 90", '"80-90"'),
        ("a.example port https -> work", 16, "no port", "443"),
        ("a.example, all -> work", 12, "beside it", ""),
        ("ALL -> work", 1, "no destination", '"all"'),
        ("a b$.example -> work", 3, "does not belong", ""),
        ("-a$.example -> work", 1, "no host name", ""),
    ],
)
def test_a_mistake_has_its_column_and_what_was_meant(text: str, column: int, says: str, suggestion: str) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse_rule(text)
    assert str(caught.value).startswith(f"column {column}: ")
    assert says in str(caught.value)
    assert suggestion in caught.value.suggestion


@pytest.mark.parametrize(
    ("way", "suggestion"), [("wrok", '"work"'), ("block", '"refuse"'), ("zzz", "The ways are: work, home, direct")]
)
def test_a_tunnel_that_is_not_there_is_told(way: str, suggestion: str) -> None:
    rules = [parse_rule(".a.example -> work"), parse_rule(f".b.example -> {way}")]
    with pytest.raises(RuleSyntaxError, match=f'column 15: ".b.example -> {way}": there is no tunnel') as caught:
        check_ways(rules, ["work", "home"])
    assert suggestion in caught.value.suggestion


def test_a_domain_covers_itself_and_what_is_below_but_not_its_neighbour() -> None:
    rule = parse_rule(".corp.example -> work")
    assert rule.covers_name("corp.example")
    assert rule.covers_name("a.b.corp.example")
    assert not rule.covers_name("mycorp.example")
    assert not rule.covers_address(ip_address("10.0.0.1"))


def test_a_network_of_one_family_does_not_cover_the_other() -> None:
    assert parse_rule("0.0.0.0/0 -> work").covers_address(ip_address("10.0.0.1"))
    assert not parse_rule("0.0.0.0/0 -> work").covers_address(ip_address("2001:db8::1"))
