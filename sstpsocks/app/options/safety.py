"""Options about what the program may do to this machine, and who may read its secrets."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("safety")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.switch(
        "allow-loose-files",
        "take files with passwords and keys that other users of this machine can read, such as secrets mounted into a "
        "container",
    ),
)
