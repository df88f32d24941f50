"""The grammar of ``sstpsocks browser`` and how it begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...errors import ConfigError
from .parser import Parser, connect_parser

if TYPE_CHECKING:
    from ..config import Configuration
    from ..messages import Display


def browser_parser() -> Parser:
    """Return the parser of what comes before the two dashes: the options of connect, and the browser's."""
    parser = connect_parser()
    parser.prog = "sstpsocks browser"
    parser.usage = "sstpsocks browser [SERVER] [--url URL] [options of connect] [-- ARGUMENT_OF_THE_BROWSER ...]"
    parser.description = (
        "Bring a tunnel up and start an installed browser (Chromium, Chrome, Edge, Brave or Firefox) with a profile of "
        "its own whose only way out is the tunnel, names included. The tunnel ends with the browser."
    )
    parser.epilog = None
    group = parser.add_argument_group("browser")
    group.add_argument("--url", metavar="URL", help="the page to open")
    group.add_argument("--browser", metavar="NAME|PATH", help="which browser (default: the first that is found)")
    group.add_argument(
        "--keep-profile", metavar="NAME", help="keep cookies, history and the rest under this name (default: remove it)"
    )
    return parser


def begin_browser(
    arguments: Sequence[str], open_display: Callable[[Configuration], Display], heard: Callable[[int], None]
) -> int:
    """Run ``sstpsocks browser`` and return the exit code. ``heard`` is told how much may be said.

    Raises ConfigError.
    """
    own, more = list(arguments), []
    if "--" in own:
        at = own.index("--")
        own, more = own[:at], own[at + 1 :]
    given = vars(browser_parser().parse_args(own))
    if given["listen"]:
        raise ConfigError(
            "browser: the port is the browser's own, --listen has no place here",
            hint="For a port and a browser that you set up yourself: sstpsocks connect",
        )
    from ..browser.command import BrowserOptions, run_browser
    from ..config import load_configuration, verbosity_of

    options = BrowserOptions(
        url=given.pop("url"),
        browser=given.pop("browser"),
        keep_profile=given.pop("keep_profile"),
        arguments=tuple(more),
    )
    given["server"] = given["server"] or None
    heard(verbosity_of(given, os.environ))
    configuration = load_configuration(given)
    display = open_display(configuration)
    for warning in configuration.warnings:
        display.warning(warning)
    import trio

    return trio.run(run_browser, configuration, options, display)
