"""``sstpsocks status`` and ``sstpsocks top``: their grammar, and how they begin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .parser import Parser


def status_parser() -> Parser:
    """Return the parser of ``sstpsocks status``."""
    parser = Parser(
        prog="sstpsocks status",
        description="Ask a running sstpsocks what it does, and print it. Exit code 0: ready, 1: it runs and a tunnel "
        "is down, 3: nothing answers. It must have been started with --status.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print all that it tells, as JSON")
    _add_place(parser)
    return parser


def top_parser() -> Parser:
    """Return the parser of ``sstpsocks top``."""
    parser = Parser(
        prog="sstpsocks top",
        description="Watch a running sstpsocks in the terminal: throughput and round trips as charts, connections, "
        "events. Keys: q ends, s sorts, r reverses, Tab and digits choose the tunnel, e shows events, p pauses. It "
        "must have been started with --status.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--interval", metavar="S", type=_interval, default=1.0, help="seconds between two looks (default 1)"
    )
    _add_place(parser)
    return parser


def _interval(text: str) -> float:
    value = float(text)
    if not 0.2 <= value <= 3600:
        raise ValueError(text)
    return value


def _add_place(parser: Parser) -> None:
    group = parser.add_argument_group(
        "where it is (default: as SSTPSOCKS_STATUS, SSTPSOCKS_READY_FILE or the configuration file say)"
    )
    group.add_argument("--status", metavar="WHERE", help="its status port: [HOST:]PORT or unix:PATH")
    group.add_argument("--ready-file", metavar="FILE", help="its ready file, which tells where the status port is")
    group.add_argument("-c", "--config", metavar="FILE", help="its configuration file")
    group.add_argument("--profile", metavar="NAME", action="append", help="the profile that it uses")
    group.add_argument("--status-user", metavar="NAME", help="the user name that the status port wants")
    group.add_argument("--status-password-file", metavar="FILE", help="the password is the first line of FILE")


def begin_status(arguments: Sequence[str]) -> int:
    """Run ``sstpsocks status`` and return the exit code."""
    given: dict[str, Any] = vars(status_parser().parse_args(arguments))
    from ..top.find import find_place
    from ..top.report import run_status

    as_json = bool(given.pop("json"))
    return run_status(find_place(given, os.environ), as_json=as_json)


def begin_top(arguments: Sequence[str]) -> int:
    """Run ``sstpsocks top`` and return the exit code."""
    given: dict[str, Any] = vars(top_parser().parse_args(arguments))
    from ..top.find import find_place
    from ..top.run import run_top

    interval = float(given.pop("interval"))
    return run_top(find_place(given, os.environ), interval=interval)
