"""Options about the network inside the tunnel."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("tunnel")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.integer(
        "mtu", "N", "the largest IP packet in the tunnel, 576 to 4087", default="1400", minimum=576, maximum=4087
    ),
    _TOPIC.text(
        "address",
        "ADDRESS",
        "the IPv4 address to ask the server for, and to have or no tunnel; without, whichever the server gives",
    ),
    _TOPIC.choice(
        "reconnect",
        "WHEN",
        "what to do when an established tunnel is lost: auto dials again, never exits with 7",
        choices=("auto", "never"),
        default="auto",
    ),
    _TOPIC.list(
        "search-domain",
        "DOMAIN",
        "look for names without a dot in DOMAIN first, before the domains that the network tells by DHCP; repeatable",
    ),
    _TOPIC.switch("strict-routes", "once the network has pushed routes, let nothing through that they do not lead to"),
    _TOPIC.choice(
        "dhcp",
        "WHEN",
        "ask the network for routes and search domains (DHCPINFORM); anonymous gives no host name",
        choices=("auto", "anonymous", "never"),
        default="auto",
    ),
    _TOPIC.choice(
        "ipv6",
        "WHEN",
        "whether to have IPv6 in the tunnel: auto takes it where the server offers it; always asks SoftEther too, "
        "which stops everything for 4 s when asked",
        choices=("auto", "always", "never"),
        default="auto",
    ),
    _TOPIC.choice(
        "ecn",
        "WHEN",
        "explicit congestion notification inside the tunnel: ask for it, use it with those who ask, or never",
        choices=("active", "passive", "off"),
        default="passive",
    ),
)
