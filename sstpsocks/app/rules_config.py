"""Rules: from flags, environment and configuration file to what the router takes.

The language is loaded only where it is needed: that takes a good part of a round trip, which others need not wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .layers import Layers

if TYPE_CHECKING:
    from ..proxy.routing.language import Rule

UNNAMED = "tunnel"
"""What rules call a tunnel without a profile."""


def rules_of(layers: Layers, tunnels: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules; ``tunnels``: the names of the profiles. Raises ConfigError."""
    setting = layers.find("rule")
    if setting is None or not isinstance(setting.value, tuple):
        return ()
    from ..proxy.routing.language import RuleSyntaxError, check_ways, parse_rule

    rules: list[Rule] = []
    for number, text in enumerate(setting.value, 1):
        which = f"rule {number}, " if len(setting.value) > 1 else ""
        try:
            rules.append(parse_rule(text))
            check_ways(rules[-1:], [name or UNNAMED for name in tunnels])
        except RuleSyntaxError as error:
            raise setting.error(f"{which}{error}", hint=error.suggestion) from None
    return tuple(rules)


def check_names(tunnels: Sequence[str]) -> None:
    """Raise ConfigError for one of several tunnels that rules could not name."""
    if len(tunnels) < 2:
        return
    from ..proxy.routing.language import DIRECT, REFUSE, RuleSyntaxError, check_way_name

    for name in tunnels:
        if name in (DIRECT, REFUSE):
            raise ConfigError(f'a profile cannot be called "{name}", which rules use for another way')
        try:
            check_way_name(name)
        except RuleSyntaxError as error:
            raise ConfigError(f'the profile "{name}" cannot be used together with others: {error}') from None
