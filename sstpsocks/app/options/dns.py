"""Options about names: whose servers are asked, and the DNS port for local programs."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("names")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.list(
        "dns-listen",
        "[HOST:]PORT",
        "answer DNS queries of local programs there, by UDP and TCP, through the tunnel; repeatable",
    ),
    _TOPIC.switch("dns-allow-remote", "let --dns-listen take an address that other machines reach"),
    _TOPIC.list(
        "host", "NAME=ADDRESS", "the name has this address, whatever any server says; repeatable; [hosts] in a file"
    ),
    _TOPIC.list(
        "dns-suffix",
        "SUFFIX",
        "with --dns-rest: names in and below SUFFIX are asked of the tunnel's servers, too; repeatable",
    ),
    _TOPIC.list(
        "dns-server",
        "SUFFIX=WHO",
        "who is asked about SUFFIX (. for everything) and below it: an ADDRESS in the tunnel, refuse, or system, which "
        "is this machine's own DNS, past the tunnel; repeatable",
    ),
    _TOPIC.choice(
        "dns-rest",
        "WHO",
        "who is asked about names that belong to no suffix: the tunnel's servers, nobody, or this machine's own DNS, "
        "past the tunnel",
        choices=("tunnel", "refuse", "system"),
        default="tunnel",
    ),
)
