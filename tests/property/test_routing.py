"""The rules: writing and reading are inverse, nothing but its own error escapes, and the PAC file agrees with them."""

from __future__ import annotations

import json
import shutil
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import DeniedByRule
from sstpsocks.proxy.routing.language import (
    DIRECT,
    REFUSE,
    Destination,
    Everything,
    NameIs,
    NameUnder,
    PortRange,
    Rule,
    RuleSyntaxError,
    Within,
    parse_rule,
)
from sstpsocks.proxy.routing.pac import proxy_configuration
from sstpsocks.proxy.routing.table import RuleTable
from sstpsocks.proxy.rules import parse_target

# Few labels and few networks, so that rules and destinations meet.
LABELS = st.sampled_from(["a", "corp", "all", "port", "example", "mycorp", "x--y", "direct"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
IPV4 = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.sampled_from(["10.0.0.1", "10.1.2.3", "192.168.0.1", "127.0.0.1", "169.254.1.1", "255.255.255.255"]).map(
        IPv4Address
    ),
)
IPV6 = st.one_of(
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.sampled_from(["2001:db8::1", "fd00::1", "fe80::1", "::1", "::ffff:10.1.2.3"]).map(IPv6Address),
)
NETWORKS = st.one_of(
    st.builds(lambda address, length: IPv4Network((address, length), strict=False), IPV4, st.integers(0, 32)),
    st.builds(lambda address, length: IPv6Network((address, length), strict=False), IPV6, st.integers(0, 95)),
)
PORTS = st.builds(
    lambda one, other: PortRange(min(one, other), max(one, other)), st.integers(1, 500), st.integers(1, 500)
)
DESTINATIONS: st.SearchStrategy[tuple[Destination, ...]] = st.one_of(
    st.just((Everything(),)),
    st.lists(
        st.one_of(NAMES.map(NameIs), NAMES.map(NameUnder), NETWORKS.map(Within)), min_size=1, max_size=4, unique=True
    ).map(tuple),
)
RULES = st.builds(
    Rule,
    DESTINATIONS,
    st.lists(PORTS, max_size=3, unique=True).map(tuple),
    st.sampled_from([DIRECT, REFUSE, "work", "the second customer"]),
)


@given(RULES)
@settings(deadline=None)
def test_writing_and_reading_a_rule_are_inverse(rule: Rule) -> None:
    assert parse_rule(str(rule)) == rule


@given(
    st.one_of(
        st.text(),
        st.lists(
            st.sampled_from(
                ["all", "port", "->", ",", "-", "10.0.0.0/8", "::1", ".a", "*", "443", "[", "]", "direct", " "]
            )
        ).map(" ".join),
    )
)
@settings(deadline=None)
def test_any_text_is_a_rule_or_a_mistake_with_a_column(text: str) -> None:
    column = 0
    try:
        rule = parse_rule(text)
    except RuleSyntaxError as error:
        column = error.column
    else:
        assert parse_rule(str(rule)) == rule
    assert 0 <= column <= len(text)


# The PAC file, evaluated

ASK_ALL = "JSON.stringify(%s.map(function (question) { return FindProxyForURL(question[0], question[1]); }))"


def strings(answers: str | bytes) -> list[str]:
    return [str(answer) for answer in json.loads(answers)]


class QuickJs:
    def __init__(self) -> None:
        self._module = pytest.importorskip("quickjs")

    def run(self, script: str, questions: list[tuple[str, str]]) -> list[str]:
        context: Any = self._module.Context()
        context.eval(script)
        return strings(context.eval(ASK_ALL % json.dumps(questions)))


class Node:
    def __init__(self) -> None:
        program = shutil.which("node")
        if program is None:
            pytest.skip("there is no node")
        self._program = program

    def run(self, script: str, questions: list[tuple[str, str]]) -> list[str]:
        script += f"console.log({ASK_ALL % json.dumps(questions)});"
        done = subprocess.run([self._program, "-"], input=script.encode(), capture_output=True, timeout=60, check=True)
        return strings(done.stdout)


HOSTS = st.one_of(NAMES, IPV4.map(str), IPV6.map(str))
SCHEMES = st.sampled_from([("http", 80), ("https", 443), ("ws", 80), ("wss", 443)])
PLACES = st.tuples(HOSTS, SCHEMES, st.one_of(st.none(), st.integers(1, 600), st.just(65535)))

# Addresses that hold an IPv4 address are left to the port altogether.
HOLDS_IPV4 = tuple(map(IPv6Network, ("::/96", "64:ff9b::/96", "2002::/16")))


def expected(table: RuleTable, host: str, port: int) -> str:
    """DIRECT where the rules say so without a look-up."""
    try:
        target = parse_target(host)
    except DeniedByRule:
        return PROXY
    if isinstance(target, str):
        decision = table.decide_name(target, port)
        return "DIRECT" if decision.way == DIRECT and not decision.doubts else PROXY
    if isinstance(target, IPv6Address) and any(target in network for network in HOLDS_IPV4):
        return PROXY
    return "DIRECT" if table.decide_address(target, port).way == DIRECT else PROXY


PROXY = "PROXY [::1]:1080"


def compare(engine: QuickJs | Node, rules: list[Rule], places: list[tuple[str, tuple[str, int], int | None]]) -> None:
    table = RuleTable(rules, "work")
    questions, answers = [], []
    for host, (scheme, usual), given_port in places:
        in_url = f"[{host}]" if ":" in host else host
        port_text = "" if given_port is None else f":{given_port}"
        questions.append((f"{scheme}://{in_url}{port_text}/path?to=http://b:99/", host))
        answers.append(expected(table, host, usual if given_port is None else given_port))
    assert engine.run(proxy_configuration(table, "::1", 1080), questions) == answers


@given(st.lists(RULES, max_size=6), st.lists(PLACES, min_size=20, max_size=60))
@settings(deadline=None, max_examples=100)
def test_a_pac_file_agrees_with_the_rules(
    rules: list[Rule], places: list[tuple[str, tuple[str, int], int | None]]
) -> None:
    compare(QuickJs(), rules, places)


@given(st.lists(RULES, min_size=2, max_size=6), st.lists(PLACES, min_size=200, max_size=400))
@settings(deadline=None, max_examples=5)
def test_node_reads_the_pac_file_the_same_way(
    rules: list[Rule], places: list[tuple[str, tuple[str, int], int | None]]
) -> None:
    compare(Node(), rules, places)
