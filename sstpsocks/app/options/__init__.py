"""The one table of options, a file for each topic.

The flags of the command line, the environment variables and the keys of the configuration file are all made from
it, so the three cannot drift apart. An option called "ca-file" is the flag ``--ca-file``, the variable
``SSTPSOCKS_CA_FILE`` and the key ``ca_file``.
"""

from __future__ import annotations

from . import (
    dns,
    eap,
    forward,
    general,
    limits,
    log,
    login,
    port,
    resilience,
    rules,
    safety,
    server,
    status,
    tunnel,
    way,
)
from .port import DEFAULT_LISTEN, DEFAULT_MAX_CONNECTIONS
from .table import ENVIRONMENT_PREFIX, Kind, Option, Place

__all__ = [
    "BY_KEY",
    "DEFAULT_LISTEN",
    "DEFAULT_MAX_CONNECTIONS",
    "ENVIRONMENT_PREFIX",
    "OPTIONS",
    "SHARED",
    "Kind",
    "Option",
    "Place",
    "keys_of",
    "option_of",
]

OPTIONS: tuple[Option, ...] = (
    *server.OPTIONS,
    *way.OPTIONS,
    *login.OPTIONS,
    *eap.OPTIONS,
    *port.OPTIONS,
    *tunnel.OPTIONS,
    *resilience.OPTIONS,
    *dns.OPTIONS,
    *rules.OPTIONS,
    *forward.OPTIONS,
    *limits.OPTIONS,
    *safety.OPTIONS,
    *status.OPTIONS,
    *log.OPTIONS,
    *general.OPTIONS,
)

BY_KEY: dict[str, Option] = {option.key: option for option in OPTIONS}
"""The options by the name that they have in the file."""


SHARED = frozenset(
    {
        "ready_file",
        "log_format",
        "log_file",
        "log_level",
        "trace",
        "trace_file",
        "verbose",
        "quiet",
        "max_connections",
        "max_connections_per_client",
        "dns_listen",
        "dns_allow_remote",
        "rule",
        "sandbox",
        "status",
        "status_user",
        "status_password_file",
        "status_name",
        "status_allow_remote",
    }
)
"""The keys of what tunnels that are up at the same time have in common."""


def option_of(key: str) -> Option:
    """Return the option of that key. Raises KeyError when there is none."""
    return BY_KEY[key]


def keys_of(place: Place) -> tuple[str, ...]:
    """Return the keys of the options that may be given there, in the order of the table."""
    return tuple(option.key for option in OPTIONS if place in option.places)
