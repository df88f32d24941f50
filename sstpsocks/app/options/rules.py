"""Options about which way a connection takes."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("rules")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "rule",
        "RULE",
        'which way a destination takes, the first that fits counts: "DESTINATIONS [port PORTS] -> TUNNEL", or direct '
        "(past all tunnels), or refuse; see docs/rules.md",
    ),
)
