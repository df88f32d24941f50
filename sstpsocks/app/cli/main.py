"""The program's entry: find the command, run it, turn its end into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ..failures import EXIT_OK, describe
from ..values import is_loopback, parse_listen
from .parser import (
    BROWSER,
    CHECK,
    COMPLETION,
    CONFIG,
    DEMO,
    IMPORT,
    PAC,
    PING,
    RESOLVE,
    RUN,
    STATUS,
    TOP,
    check_parser,
    demo_parser,
    import_parser,
    parse_connect,
    split_command,
)

if TYPE_CHECKING:
    from ..check.throughput import Target
    from ..config import Configuration
    from ..log_config import LogSettings
    from ..messages import Display

_STANDARD_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code. Prints at most one line about a failure, never a traceback."""
    _fill_standard_streams()
    command, arguments, explicit = split_command(sys.argv[1:] if argv is None else argv)
    runner = _Runner()
    try:
        if command == DEMO:
            return runner.demo(arguments)
        if command == RUN:
            return runner.run(arguments)
        if command == BROWSER:
            return runner.browser(arguments)
        if command == CHECK:
            return runner.check(arguments)
        if command == IMPORT:
            return runner.import_profiles(arguments)
        if command in (CONFIG, COMPLETION, PAC):
            return runner.tell(command, arguments)
        if command in (PING, RESOLVE):
            return runner.ask(command, arguments)
        if command in (STATUS, TOP):
            return runner.watch(command, arguments)
        return runner.connect(arguments, explicit=explicit)
    except SystemExit as leaving:  # argparse after --help and --version
        _flush()
        return leaving.code if isinstance(leaving.code, int) else EXIT_OK
    except BaseException as error:
        failure = describe(error)
        if failure.text:
            runner.report(failure.text)
        if failure.bug and runner.verbosity >= 2:
            import traceback

            traceback.print_exception(error)
        _flush()
        return failure.exit_code


class _Runner:
    """Runs one command and remembers how much it may say."""

    def __init__(self) -> None:
        self.verbosity = 0
        self._display: Display | None = None

    def report(self, text: str) -> None:
        """Say the one line about a failure."""
        if self._display is not None:
            self._display.failed(text)
            return
        try:
            sys.stderr.write(f"sstpsocks: {text}\n")
        except (OSError, ValueError, AttributeError):
            pass  # standard error is closed (or None, without a console); the exit code still says it

    def connect(self, arguments: Sequence[str], *, explicit: bool) -> int:
        given = parse_connect(arguments, explicit=explicit)
        if given["stdio_forward"] is not None:
            return self._stdio(given)
        # Only now, when a command really runs, the heavy imports.
        from dataclasses import replace
        from functools import partial

        from ..config import load_configuration, verbosity_of

        self.verbosity = verbosity_of(given, os.environ)
        configuration = load_configuration(given)
        if sys.stdin is not None and not sys.stdin.isatty():
            # Asked now: a terminal that has hung up, when SIGHUP means the end, says that it is none.
            configuration = replace(configuration, again=partial(load_configuration, given))
        display = self._open_display(configuration.output.log)
        for warning in configuration.warnings:
            display.warning(warning)

        import trio

        from ..start import start_connect

        return trio.run(start_connect, configuration, display)

    def _stdio(self, given: dict[str, object]) -> int:
        from dataclasses import replace

        from ..config import load_configuration, verbosity_of
        from ..stdio import run_stdio, stdio_target

        target = stdio_target(str(given.pop("stdio_forward")))
        self.verbosity = verbosity_of(given, os.environ)
        configuration = load_configuration(given)
        # Messages would stand between those of ssh: only failures, unless more is asked for.
        display = self._open_display(replace(configuration.output.log, verbosity=self.verbosity or -1))
        for warning in configuration.warnings:
            display.warning(warning)
        import trio

        from ..signals import leave_at_once, run_until_signalled

        async def relay() -> int:
            return await run_stdio(configuration, target, display)

        async def until_signalled() -> int:
            return await run_until_signalled(relay, on_first=display.ending, on_second=leave_at_once)

        return trio.run(until_signalled)

    def check(self, arguments: Sequence[str]) -> int:
        given = vars(check_parser().parse_args(arguments))
        given["server"] = given["server"] or None
        from ..check.network import NetworkOptions
        from ..check.run import CheckOptions, run_check
        from ..config import load_configuration, verbosity_of

        look = NetworkOptions(
            probe=given.pop("probe"), download=_target(given, "throughput"), upload=_target(given, "upload")
        )
        options = CheckOptions(json=given.pop("json"), show_user=given.pop("show_user"), look=look)
        login = False if given.pop("no_login") else None
        self.verbosity = verbosity_of(given, os.environ)
        configuration = load_configuration(given, login=login)
        display = self._open_display(configuration.output.log)
        import trio

        from ..signals import leave_at_once, run_until_signalled

        async def check() -> int:
            return await run_check(configuration, options, display)

        async def until_signalled() -> int:
            return await run_until_signalled(check, on_first=display.ending, on_second=leave_at_once)

        return trio.run(until_signalled)

    def tell(self, command: str, arguments: Sequence[str]) -> int:
        from .run_extras import run_completion, run_config, run_pac

        code = {CONFIG: run_config, COMPLETION: run_completion, PAC: run_pac}[command](arguments)
        _flush()
        return code

    def watch(self, command: str, arguments: Sequence[str]) -> int:
        from .watch import begin_status, begin_top

        code = begin_status(arguments) if command == STATUS else begin_top(arguments)
        _flush()
        return code

    def ask(self, command: str, arguments: Sequence[str]) -> int:
        from .extras import ping_parser, resolve_parser

        given = vars((ping_parser() if command == PING else resolve_parser()).parse_args(arguments))
        from dataclasses import replace

        from ..ask import Question, only_tunnel, run_question
        from ..config import load_configuration, verbosity_of

        question = Question.of(command, given)
        given["server"] = given["server"] or None
        self.verbosity = verbosity_of(given, os.environ)
        configuration = only_tunnel(load_configuration(given), command, question.host)
        display = self._open_display(replace(configuration.output.log, verbosity=self.verbosity or -1))
        for warning in configuration.warnings:
            display.warning(warning)
        import trio

        from ..signals import leave_at_once, run_until_signalled

        async def ask() -> int:
            return await run_question(configuration, question, display)

        async def until_signalled() -> int:
            return await run_until_signalled(ask, on_first=display.ending, on_second=leave_at_once)

        return trio.run(until_signalled)

    def import_profiles(self, arguments: Sequence[str]) -> int:
        given = import_parser().parse_args(arguments)
        from ..importing.command import run_import

        code = run_import(given.source, given.output, with_secrets=given.with_secrets)
        _flush()
        return code

    def run(self, arguments: Sequence[str]) -> int:
        from .run import begin_run

        return begin_run(arguments, self._display_for, self._heard)

    def browser(self, arguments: Sequence[str]) -> int:
        from .browser import begin_browser

        return begin_browser(arguments, self._display_for, self._heard)

    def _display_for(self, configuration: Configuration) -> Display:
        return self._open_display(configuration.output.log)

    def _heard(self, verbosity: int) -> None:
        self.verbosity = verbosity

    def demo(self, arguments: Sequence[str]) -> int:
        given = demo_parser().parse_args(arguments)
        try:
            host, port = parse_listen(given.listen)
        except ValueError as error:
            raise ConfigError(f"--listen: {error}") from None
        if not is_loopback(host):
            raise ConfigError(f"--listen: the demo listens on this machine only, not on {host}")
        import trio

        from ...demo.run import run_demo
        from ..log_config import LogSettings
        from ..signals import leave_at_once, run_until_signalled

        display = self._open_display(LogSettings())

        async def demo() -> int:
            return await run_demo(host, port, once=given.once, observe=display.step)

        async def until_signalled() -> int:
            return await run_until_signalled(demo, on_first=display.ending, on_second=leave_at_once)

        return trio.run(until_signalled)

    def _open_display(self, log: LogSettings) -> Display:
        from ..displays import Displays, open_display
        from ..logs import log_format, set_up_logging

        self.verbosity = log.verbosity
        display = open_display(sys.stderr, log, log_format(sys.stderr, log, os.environ), os.environ)
        if "NOTIFY_SOCKET" in os.environ:
            from ..systemd import NotifyDisplay, notifier

            systemd = notifier(os.environ)
            display = Displays(display, NotifyDisplay(systemd)) if systemd is not None else display
        set_up_logging(sys.stderr, display, log)
        self._display = display
        return display


def _target(given: dict[str, Any], option: str) -> Target | None:
    """Take a URL out of what the command line gave. Raises ConfigError."""
    from ..check.throughput import UnusableUrlError, parse_target

    text = given.pop(option)
    if text is None:
        return None
    if not text:
        raise ConfigError(
            f"--{option}: no URL was named, and there is none that every network has",
            hint=f"Name something large behind the server: --{option} http://files.example/big.iso",
        )
    try:
        return parse_target(text)
    except UnusableUrlError as error:
        raise ConfigError(f"--{option} {text}: {error}") from None


def _fill_standard_streams() -> None:
    """Open what the caller closed of standard input, output and error, as nothing (``sstpsocks 2>&-``).

    Otherwise the next socket or file would get the free descriptor, and with it what is meant for the terminal.
    """
    try:
        # The lowest free descriptor is taken each time.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
            pass
        os.close(descriptor)
        if sys.stdout is None:
            sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        if sys.stderr is None:
            sys.stderr = os.fdopen(_STANDARD_ERROR, "w", encoding="utf-8", closefd=False)
    except OSError:
        return  # no device that swallows everything: the program goes on without


def _flush() -> None:
    """Hand out what was printed, and swallow that nobody reads it: ``sstpsocks --help | head -1``."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # Python would complain once more about the unwritten rest when it ends.
            _redirect_to_nowhere(descriptor)


def _redirect_to_nowhere(descriptor: int) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
    except OSError:
        pass  # nothing is left to be done about it
