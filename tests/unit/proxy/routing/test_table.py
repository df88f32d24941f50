from __future__ import annotations

from ipaddress import ip_address

from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.table import RuleTable


def table(*rules: str) -> RuleTable:
    return RuleTable(map(parse_rule, rules), "first")


def test_the_first_rule_that_is_about_a_name_decides() -> None:
    rules = table("a.corp.example -> refuse", ".corp.example -> work", "all -> direct")
    assert rules.decide_name("a.corp.example", 80).way == "refuse"
    assert rules.decide_name("b.corp.example", 80).way == "work"
    assert rules.decide_name("corp.example.org", 80).way == "direct"


def test_without_a_rule_the_default_is_taken() -> None:
    assert table(".corp.example -> work").decide_name("other.example", 80).way == "first"
    assert table("10.0.0.0/8 -> work").decide_address(ip_address("192.0.2.1"), 80).way == "first"


def test_a_rule_for_ports_is_about_those_alone() -> None:
    rules = table("all port 25,465-587 -> refuse", ".corp.example -> work")
    assert rules.decide_name("mail.corp.example", 25).way == "refuse"
    assert rules.decide_name("mail.corp.example", 500).way == "refuse"
    assert rules.decide_name("mail.corp.example", 993).way == "work"


def test_a_question_without_a_port_is_not_decided_by_rules_for_some_ports() -> None:
    rules = table(".corp.example port 443 -> direct", ".corp.example -> work")
    assert rules.decide_name("www.corp.example", None).way == "work"


def test_networks_above_the_deciding_rule_are_asked_about_the_addresses_of_a_name() -> None:
    rules = table("10.0.0.0/8 -> work", ".example -> home", "192.0.2.0/24 -> refuse")
    decision = rules.decide_name("www.example", 80)
    assert decision.way == "home"
    assert decision.for_address(ip_address("10.1.2.3")).way == "work"
    assert decision.for_address(ip_address("192.0.2.1")).way == "home"  # the rule below never had its turn


def test_of_the_networks_above_the_first_one_decides() -> None:
    rules = table("10.1.0.0/16 -> refuse", "10.0.0.0/8 -> work")
    decision = rules.decide_name("www.example", 80)
    assert decision.for_address(ip_address("10.1.2.3")).way == "refuse"
    assert decision.for_address(ip_address("10.2.2.3")).way == "work"


def test_names_do_not_match_what_looks_like_an_address() -> None:
    assert table(".example, 10.0.0.1 -> work").decide_address(ip_address("10.0.0.1"), 1).way == "work"
    assert table(".example -> work").decide_address(ip_address("10.0.0.1"), 1).way == "first"
