from __future__ import annotations

import json
from typing import Any

import pytest

from sstpsocks.proxy.routing.language import Everything, NameIs, Rule, parse_rule
from sstpsocks.proxy.routing.pac import proxy_configuration
from sstpsocks.proxy.routing.table import RuleTable

PROXY = "PROXY 127.0.0.1:1080"


def ask(url: str, host: str, *rules: str) -> object:
    quickjs: Any = pytest.importorskip("quickjs")
    context = quickjs.Context()
    context.eval(proxy_configuration(RuleTable(map(parse_rule, rules), "work"), "127.0.0.1", 1080))
    return context.eval(f"FindProxyForURL({json.dumps(url)}, {json.dumps(host)})")


def test_what_is_not_direct_goes_to_the_port_with_no_way_round_it() -> None:
    assert ask("http://a.example/", "a.example") == PROXY
    assert ask("http://a.example/", "a.example", "a.example -> refuse", "all -> direct") == PROXY


def test_a_name_that_only_its_addresses_could_decide_goes_to_the_port() -> None:
    rules = ("10.0.0.0/8 -> work", "all -> direct")
    assert ask("http://a.example/", "a.example", *rules) == PROXY
    assert ask("http://192.0.2.1/", "192.0.2.1", *rules) == "DIRECT"


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "fe80::1"])
def test_this_machine_is_never_direct(host: str) -> None:
    assert ask(f"http://{host}/", host, "all -> direct") == PROXY


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://A.Example./", "A.Example."),
        ("http://[2001:DB8::1]/", "[2001:DB8::1]"),
        ("http://user:443@a.example/", "a.example"),
        ("http://a.example?x=:443/", "a.example"),
        ("http://a.example:/", "a.example"),
    ],
)
def test_every_way_of_writing_a_host_and_port_is_understood(url: str, host: str) -> None:
    assert ask(url, host, "a.example, 2001:db8::1 port 80 -> direct") == "DIRECT"


@pytest.mark.parametrize("url", ["gopher://a.example/", "a.example", "http://a.example:99999/", ""])
def test_an_unknown_port_is_never_direct(url: str) -> None:
    assert ask(url, "a.example", "all -> direct") == PROXY


def test_what_a_rule_holds_stays_inside_its_literal() -> None:
    evil = 'x"];FindProxyForURL=function(){return "DIRECT"};//\u2028'
    table = RuleTable([Rule((NameIs(evil),), (), "work"), Rule((Everything(),), (), evil)], "work")
    script = proxy_configuration(table, "127.0.0.1", 1080)
    assert script.isascii()
    quickjs: Any = pytest.importorskip("quickjs")
    context = quickjs.Context()
    context.eval(script)
    assert context.eval('FindProxyForURL("http://a.example/", "a.example")') == PROXY


def test_the_file_uses_nothing_that_could_look_a_name_up() -> None:
    script = proxy_configuration(RuleTable([parse_rule("10.0.0.0/8 -> direct")], "work"), "127.0.0.1", 1080)
    for helper in ("isInNet", "dnsResolve", "isResolvable", "myIpAddress", "dnsDomainIs"):
        assert f"{helper}(" not in script
