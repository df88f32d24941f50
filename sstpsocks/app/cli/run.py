"""The grammar of ``sstpsocks run`` and how it begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...errors import ConfigError
from .parser import Parser, connect_parser

if TYPE_CHECKING:
    from ..config import Configuration
    from ..messages import Display

_ANY_FREE_PORT = "127.0.0.1:0"


def run_parser() -> Parser:
    """Return the parser of what comes before the two dashes: the options of connect."""
    parser = connect_parser()
    parser.prog = "sstpsocks run"
    parser.usage = "sstpsocks run [--netns] [SERVER] [options of connect] -- COMMAND [ARGUMENT ...]"
    parser.description = (
        "Bring a tunnel up, run COMMAND with the proxy variables (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) set to it, and "
        "end the tunnel with the command. The exit code is the command's. The local port takes a free number and a "
        "password of its own."
    )
    parser.epilog = None
    group = parser.add_argument_group("run")
    group.add_argument(
        "--netns",
        action="store_true",
        help="run COMMAND in a network namespace whose only way out is the tunnel, for programs that know no proxy "
        "(Linux; no root rights)",
    )
    return parser


def split_run(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return our own arguments, and the command behind the first ``--``, which is empty when there is none."""
    before = list(arguments)
    if "--" not in before:
        return before, []
    at = before.index("--")
    return before[:at], before[at + 1 :]


def begin_run(
    arguments: Sequence[str], open_display: Callable[[Configuration], Display], heard: Callable[[int], None]
) -> int:
    """Run ``sstpsocks run`` and return the exit code. ``heard`` is told how much may be said. Raises ConfigError."""
    own, command = split_run(arguments)
    parser = run_parser()
    given = vars(parser.parse_args(own))
    if not command:
        raise ConfigError(
            "run: there is no command", hint="Write it behind two dashes: sstpsocks run SERVER -- COMMAND ARGUMENT"
        )
    netns = given.pop("netns")
    own_port = bool(given["listen"])
    if not own_port:
        # A port that a profile names is for connect, which may be running; that of one command is its own affair.
        given = vars(parser.parse_args([*own, "--listen", _ANY_FREE_PORT]))
        del given["netns"]
    given["server"] = given["server"] or None
    from ..config import load_configuration, verbosity_of

    heard(verbosity_of(given, os.environ))
    configuration = load_configuration(given)
    if netns:
        from ..netns import check_permission

        check_permission()
        if not own_port:
            configuration = replace(configuration, listen=replace(configuration.listen, addresses=()))
    display = open_display(configuration)
    for warning in configuration.warnings:
        display.warning(warning)
    import trio

    from ..run_command import run_command

    return trio.run(partial(run_command, configuration, command, display, netns=netns))
