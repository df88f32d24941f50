"""Commands with one host, ping, resolve and -W, beside rules: never past them without a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sstpsocks.app.ask import only_tunnel
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.one_host import for_one_host
from sstpsocks.errors import ConfigError, DeniedByRule


def with_rules(*rules: str) -> Configuration:
    arguments = {"server": ["vpn.test"], "rule": list(rules)}
    return load_configuration(arguments, {}, has_terminal=False, login=False)


def with_two(*rules: str) -> Configuration:
    """Two tunnels, "one" and "two", the first the default."""
    only = with_rules(*(rule.replace("-> one", "-> tunnel").replace("-> two", "-> tunnel") for rule in rules))
    named = replace(only, name="one", others=(replace(only.tunnels[0], name="two"),))
    ways = [rule.rpartition("-> ")[2] for rule in rules]
    return replace(named, rules=tuple(replace(rule, way=way) for rule, way in zip(only.rules, ways, strict=True)))


def names(configuration: Configuration | None) -> list[str]:
    return [tunnel.name for tunnel in configuration.tunnels] if configuration is not None else []


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        (".ads.test -> refuse", "x.ads.test"),
        ("printer.test -> direct", "printer.test"),
        ("10.0.0.0/8 -> refuse", "10.1.2.3"),
        ("fd00::/8 -> refuse", "[fd00::1]"),
        ("10.0.0.0/8 -> refuse", "may-be-there.test"),
    ],
)
def test_a_host_that_may_go_another_way_is_refused_with_the_rule(rule: str, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        only_tunnel(with_rules(rule), "ping", host)
    assert rule in str(caught.value)
    assert host in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "host"),
    [
        ((".ads.test -> refuse",), "www.test"),
        (("all port 25 -> refuse",), "mail.test"),
        (("www.test -> tunnel", "all -> refuse"), "www.test"),
        (("10.0.0.0/8 -> refuse",), "192.168.1.1"),
        ((".ads.test -> refuse",), "not a host name"),
    ],
)
def test_a_host_that_the_rules_leave_to_the_tunnel_is_taken(rules: tuple[str, ...], host: str) -> None:
    configuration = with_rules(*rules)
    assert only_tunnel(configuration, "ping", host).tunnel is configuration.tunnel


def test_of_several_tunnels_the_rules_choose_the_one_that_is_asked() -> None:
    configuration = with_two(".two.test -> two", "10.2.0.0/16 -> two", "www.one.test -> one")
    assert names(only_tunnel(configuration, "ping", "a.two.test")) == ["two"]
    assert names(only_tunnel(configuration, "ping", "10.2.3.4")) == ["two"]
    assert names(only_tunnel(configuration, "ping", "10.3.3.4")) == ["one"]
    with pytest.raises(ConfigError, match=r"10\.2\.0\.0/16 -> two"):
        only_tunnel(configuration, "ping", "may-be-there.test")


def test_for_one_connection_only_the_tunnels_come_up_that_it_may_take() -> None:
    configuration = with_two(
        ".two.test port 22 -> two", "10.2.0.0/16 -> two", "printer.test -> direct", "all port 25 -> refuse"
    )
    first = for_one_host(configuration, "a.two.test", 22)
    assert (names(first), first is not None and first.rules) == (["two"], ())
    both = for_one_host(configuration, "other.test", 22)
    assert (names(both), both is not None and [str(rule) for rule in both.rules]) == (
        ["one", "two"],
        ["10.2.0.0/16 -> two"],
    )
    assert names(for_one_host(configuration, "10.9.9.9", 22)) == ["one"]
    with pytest.raises(DeniedByRule, match="all port 25"):
        for_one_host(configuration, "10.9.9.9", 25)
    alone = with_rules("printer.test -> direct")
    assert for_one_host(alone, "printer.test", 22) is None


def test_a_tunnel_for_one_connection_listens_nowhere() -> None:
    configuration = for_one_host(with_two("10.2.0.0/16 -> two"), "host.test", 22)
    assert configuration is not None
    assert configuration.listen.addresses == ()
    assert not configuration.dns_listen
    assert all(tunnel.listen is None and not tunnel.forwards for tunnel in configuration.tunnels)
