"""Rules in order: the first that is about a destination decides, and without one the default way is taken.

A name is decided before anybody looks it up. Rules about networks say nothing of a name; those that stand above the
rule that decided are kept as *doubts*: once the way that was chosen has looked the name up, they are asked in order
about each address. So the list means what it says when it is read from the top, no name is looked up to find out who
should look it up, and a name that is refused is not looked up at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...tunnel.network import IPAddress
from .language import Rule


@dataclass(frozen=True, slots=True)
class Decision:
    """Which way something goes, and by which rule."""

    way: str
    """DIRECT, REFUSE or the name of a tunnel."""
    rule: Rule | None
    """None: no rule is about it, the default was taken."""
    doubts: tuple[Rule, ...] = ()
    """Of a name: rules about networks that its addresses are to be shown to, in order, before this one holds."""

    def for_address(self, address: IPAddress) -> Decision:
        """Return what holds for one of the addresses of the name that this was decided about."""
        for rule in self.doubts:
            if rule.covers_address(address):
                return Decision(rule.way, rule)
        return Decision(self.way, self.rule)

    def __str__(self) -> str:
        return f'the rule "{self.rule}"' if self.rule is not None else "the default"


class RuleTable:
    """An immutable list of rules with the way that is taken when none of them applies."""

    def __init__(self, rules: Iterable[Rule], default: str) -> None:
        self.rules = tuple(rules)
        self.default = default

    def __repr__(self) -> str:
        return f"<RuleTable {len(self.rules)} rules, else {self.default}>"

    def decide_name(self, name: str, port: int | None) -> Decision:
        """Return the way of a normalised name; without a port only rules about all ports count."""
        doubts: list[Rule] = []
        for rule in self.rules:
            if rule.covers_port(port):
                if rule.covers_name(name):
                    return Decision(rule.way, rule, tuple(doubts))
                if rule.needs_addresses:
                    doubts.append(rule)
        return Decision(self.default, None, tuple(doubts))

    def decide_address(self, address: IPAddress, port: int | None) -> Decision:
        """Return the way of an address, which must not be an IPv4 address in IPv6 notation."""
        for rule in self.rules:
            if rule.covers_port(port) and rule.covers_address(address):
                return Decision(rule.way, rule)
        return Decision(self.default, None)
