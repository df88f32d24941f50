"""Options about the configuration itself and about what is told of it."""

from __future__ import annotations

from .table import NOT_IN_A_FILE, Option, Topic

_TOPIC = Topic("configuration and output")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.file(
        "config",
        "the configuration file (TOML), instead of config.toml in the configuration folder",
        short="-c",
        places=NOT_IN_A_FILE,
    ),
    _TOPIC.list(
        "profile",
        "NAME",
        "use [profiles.NAME] of the configuration file; repeatable: each is a tunnel of its own, all up at once",
        places=NOT_IN_A_FILE,
    ),
    _TOPIC.file(
        "ready-file", "write a JSON object with the port and the addresses to FILE once the tunnel carries traffic"
    ),
)
