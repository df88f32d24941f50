"""Runs the commands of extras.py that connect to nothing: config, completion, pac."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ...base.suggestion import did_you_mean
from ...errors import ConfigError
from ..failures import EXIT_OK
from .extras import completion_parser, config_check_parser, config_show_parser, pac_parser

_CONFIG_USAGE = "See: sstpsocks config check --help, sstpsocks config show --help"


def run_config(arguments: Sequence[str]) -> int:
    """Run ``sstpsocks config check`` or ``show`` and return the exit code."""
    action, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    match action:
        case "check":
            return _check(rest)
        case "show":
            return _show(rest)
        case "-h" | "--help":
            print("usage: sstpsocks config check [FILE] [--json]\n       sstpsocks config show [--json] [options]")  # noqa: T201
            return EXIT_OK
    meant = did_you_mean(action, ("check", "show"))
    raise ConfigError(
        f'config: "{action}" is neither check nor show' if action else "config: check or show?",
        hint=f"{meant} {_CONFIG_USAGE}".strip(),
    )


def _check(arguments: list[str]) -> int:
    given = config_check_parser().parse_args(arguments)
    from ..mistakes import find_mistakes
    from ..sources import default_file

    path = Path(given.file) if given.file else default_file(os.environ)
    verdict = find_mistakes(path, os.environ)
    print(verdict.to_json() if given.json else verdict.to_text())  # noqa: T201 - the report
    return verdict.exit_code


def _show(arguments: list[str]) -> int:
    given = vars(config_show_parser().parse_args(arguments))
    given["server"] = given["server"] or None
    as_json = given.pop("json")
    from ..show import show_json, show_toml
    from ..sources import read_sources

    sources = read_sources(given, os.environ)
    sys.stdout.write(show_json(sources) + "\n" if as_json else show_toml(sources))
    return EXIT_OK


def run_completion(arguments: Sequence[str]) -> int:
    """Run ``sstpsocks completion`` and return the exit code."""
    given = completion_parser().parse_args(list(arguments))
    from ..completion import completion, profile_names

    if given.shell == "profiles":
        text = "".join(f"{name}\n" for name in profile_names(given.config, os.environ))
    else:
        text = completion(given.shell)
    sys.stdout.write(text)
    return EXIT_OK


def run_pac(arguments: Sequence[str]) -> int:
    """Run ``sstpsocks pac`` and return the exit code."""
    given = vars(pac_parser().parse_args(list(arguments)))
    given["server"] = given["server"] or None
    from ..pac import pac_file
    from ..sources import read_sources

    sys.stdout.write(pac_file(read_sources(given, os.environ)))
    return EXIT_OK
