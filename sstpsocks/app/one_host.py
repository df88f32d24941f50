"""What it takes to reach one host: of several tunnels and rules those only that the host can meet.

The rules are asked before anything is dialled, so that no tunnel comes up for nothing. Where a rule about networks may
hold for a name, which takes a look-up to tell, all ways that are possible stay.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from ..errors import DeniedByRule
from ..proxy.routing.language import DIRECT, REFUSE
from ..proxy.routing.table import RuleTable
from ..proxy.rules import parse_target
from .config import Configuration
from .forward_config import NO_FORWARDS
from .rules_config import UNNAMED


def for_one_host(configuration: Configuration, host: str, port: int | None) -> Configuration | None:
    """Return the tunnels and rules that a host can meet, without any ports; None: it goes past all tunnels.

    Rules for some ports count where there is a port. Raises a DialError for what is never dialled or refused.
    """
    table = RuleTable(configuration.rules, configuration.name or UNNAMED)
    target = parse_target(host)
    decision = table.decide_name(target, port) if isinstance(target, str) else table.decide_address(target, port)
    rules = (*decision.doubts, *((decision.rule,) if decision.rule is not None else ()))
    ways = {decision.way, *(rule.way for rule in decision.doubts)}
    if ways == {REFUSE}:
        raise DeniedByRule(f"{host} is refused by {decision}")
    if ways == {DIRECT}:
        return None
    if len(ways) == 1:
        rules = ()
    if not any((tunnel.name or UNNAMED) in ways for tunnel in configuration.tunnels):
        ways.add(table.default)  # somebody has to look the name up, or to be there when all is refused
    return _only(replace(configuration, rules=rules), ways)


def _only(configuration: Configuration, names: Container[str]) -> Configuration:
    first, *others = (tunnel for tunnel in configuration.tunnels if (tunnel.name or UNNAMED) in names)
    return replace(
        configuration,
        name=first.name,
        tunnel=first.settings,
        password=first.password,
        proxy_passwords=first.proxy_passwords,
        own_listen=None,
        own_forwards=NO_FORWARDS,
        others=tuple(replace(tunnel, listen=None, forwards=NO_FORWARDS) for tunnel in others),
        listen=replace(configuration.listen, addresses=()),
        dns_listen=(),
        forwards=NO_FORWARDS,
        output=replace(configuration.output, ready_file=None),
    )
