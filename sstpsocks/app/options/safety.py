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
    _TOPIC.choice(
        "sandbox",
        "WHEN",
        "give up all files, ports and programs that connect does not need (Linux, Landlock): on or nothing runs, try "
        "goes on without where the kernel has none; see docs/safety.md",
        choices=("on", "try", "off"),
        default="off",
    ),
)
