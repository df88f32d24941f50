"""What the program says while it works: steps and advice for a person, log lines for everything else.

All of it goes to standard error; standard output stays clean.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO

from ..tunnel.steps import LATER_STEPS, Step, StepReport
from .log_lines import with_fields
from .readyfile import Ready
from .text import one_line
from .under_way import UnderWay, waited
from .values import split_host_port

LOGGER = logging.getLogger("sstpsocks")

GREEN, YELLOW, BOLD, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[0m"
_NAME_WIDTH = max(len(step.value) for step in Step)


class State(Protocol):
    """What is said when the tunnel goes down or comes up again."""

    @property
    def up(self) -> bool:
        """Whether the tunnel carries traffic."""
        ...

    @property
    def text(self) -> str:
        """What happened, on one line."""
        ...

    @property
    def word(self) -> str:
        """The state where "up again" or "down" would be wrong; else empty."""
        ...


def word_for(state: State) -> str:
    """Return what is said of the tunnel before the text of a change."""
    return state.word or ("up again" if state.up else "down")


class Display(Protocol):
    """Somebody who is told what happens."""

    def step(self, report: StepReport) -> None:
        """Take a step of a connect."""
        ...

    def state(self, state: State) -> None:
        """Take a change after the first connect."""
        ...

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Say that the port may be used."""
        ...

    def warning(self, text: str) -> None:
        """Pass on something that does not stop the program."""
        ...

    def note(self, text: str) -> None:
        """Say that something was done that the user asked for."""
        ...

    def interrupt(self) -> None:
        """Finish the line at hand: something else will write to the terminal."""
        ...

    def ending(self) -> None:
        """Say that the end was asked for and takes a moment."""
        ...

    def failed(self, text: str) -> None:
        """Say the one line that ends the program."""
        ...


UNIX = "unix:"  # how the ready file and we call a listener that is a Unix socket


def advice(ready: Ready, socks_user: str | None) -> list[str]:
    """Return lines that say what to do with the port."""
    login = f" --proxy-user {socks_user}" if socks_user else ""
    ports = [where for where in ready.listen if not where.startswith(UNIX)]
    if not ports:
        path = ready.listen[0].removeprefix(UNIX)
        return [f"curl --proxy socks5h://localhost{path}{login} http://intranet.example/"]
    where = _reachable(ports)
    host, port = split_host_port(where)
    lines = [
        f"curl --socks5-hostname {where}{login} http://intranet.example/",
        f"Browser: SOCKS v5 host {host.strip('[]')}, port {port}, with remote DNS;"
        f" or chromium --proxy-server=socks5://{where}",
    ]
    if ready.dns_listen:
        server, server_port = split_host_port(_reachable(ready.dns_listen))
        lines.append(f"dig @{server.strip('[]')} -p {server_port} intranet.example")
    return lines


def _reachable(listen: Sequence[str]) -> str:
    """Return the first listener as a local program would name it."""
    host, port = split_host_port(listen[0])
    local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what to say for it, nothing is bound
    return f"{local.get(host, host)}:{port}"


class TerminalDisplay:
    """For a person at a terminal: each step as it happens, then what to do."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._connected = False
        self._pending = 0
        """Width of the unfinished line on the screen, 0 for none."""
        self._under_way = UnderWay(self._show)
        self._rewrites = environ.get("TERM") != "dumb"
        # https://no-color.org: set and not empty, whatever the value.
        self._colours = self._rewrites and not environ.get("NO_COLOR")
        fancy = can_show(stream, "✓…→")
        self._check, self._ellipsis, self._arrow = ("✓", "…", "→") if fancy else ("+", ".", "->")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody is listening any more: the terminal went away, which is no reason to end the tunnel

    def _line(self, text: str) -> None:
        self.interrupt()
        self._write(f"{text}\n")

    def _colour(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colours else text

    def _width(self) -> int:
        try:
            # A pseudo-terminal that nobody has sized says 0.
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def step(self, report: StepReport) -> None:
        """Show the step; the line of a step that is under way is replaced when it is done."""
        # What the network tells by itself comes at any time; the steps of a reconnect are details.
        if self._quiet or (self._connected and report.step not in LATER_STEPS):
            return
        text = f"{report.step.value:<{_NAME_WIDTH}}  {one_line(report.text)}".rstrip()
        if not report.done:
            if self._rewrites:
                self._under_way.begin(text)
                self._show(text)
            return
        took = self._under_way.seconds if report.step not in LATER_STEPS else 0
        self._under_way.end()
        self._erase()
        mark = self._colour(YELLOW, "!") if report.failed else self._colour(GREEN, self._check)
        self._write(f"  {mark} {text}{waited(took)}\n")

    def _show(self, text: str) -> None:
        """Replace the unfinished line."""
        self._erase()
        # A line that wraps could not be replaced by a carriage return.
        line = f"  {self._ellipsis} {text}"[: self._width() - 1]
        self._write(line)
        self._pending = len(line)

    def _erase(self) -> None:
        # Spaces rather than an escape sequence: old Windows consoles know none.
        if self._pending:
            self._write("\r" + " " * self._pending + "\r")
            self._pending = 0

    def interrupt(self) -> None:
        """Leave the unfinished line as it is and go on below it."""
        self._under_way.end()
        if self._pending:
            self._pending = 0
            self._write("\n")

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Show address and port, and how to use them."""
        self._connected = True
        self._under_way.end()
        self._erase()
        if self._quiet:
            return
        where = ", ".join(ready.listen)
        self._line(self._colour(BOLD, f"The network behind {ready.server} is at SOCKS5 {self._arrow} {where}"))
        for line in advice(ready, socks_user):
            self._line(f"  {line}")
        self._line("Ctrl-C ends the tunnel.")

    def state(self, state: State) -> None:
        """Show that the tunnel was lost or is back."""
        # A prompt that is waited for says so itself, and must not be written over.
        if not self._connected or (self._quiet and state.up) or state.word == "waits":
            return
        word = word_for(state)
        self._line(self._colour(GREEN if state.up else YELLOW, f"Tunnel {word}: {one_line(state.text)}"))

    def warning(self, text: str) -> None:
        """Show a warning."""
        self._line(self._colour(YELLOW, f"Warning: {one_line(text)}"))

    def note(self, text: str) -> None:
        """Show it."""
        if not self._quiet:
            self._line(one_line(text))

    def ending(self) -> None:
        """Say that PPP and SSTP are being ended."""
        self._under_way.end()
        self._pending = 0
        if not self._quiet:
            # Below what the terminal shows of Ctrl-C itself, or an abandoned prompt.
            self._write(f"\nEnding{self._ellipsis} (Ctrl-C again leaves at once)\n")

    def failed(self, text: str) -> None:
        """Show the line that ends the program."""
        self._line(f"sstpsocks: {text}")


class LogDisplay:
    """For logs: every step and change is a line of the program's logger.

    What ends the program is a plain ``line`` on the stream, a ``record`` of the log, or both.
    """

    def __init__(self, stream: TextIO, *, line: bool = True, record: bool = False) -> None:
        self._stream = stream
        self._line, self._record = line, record
        self._connected = False

    def step(self, report: StepReport) -> None:
        """Log a step that is done; that one begins is a detail."""
        worth_a_line = not self._connected or report.step in LATER_STEPS
        level = logging.INFO if report.done and worth_a_line else logging.DEBUG
        if report.failed:
            level = logging.WARNING
        text = one_line(report.text) or ("done" if report.done else "begins")
        fields = with_fields("step", step=report.step.value, done=report.done, failed=report.failed)
        LOGGER.log(level, "%s: %s", report.step.value, text, extra=fields)

    def state(self, state: State) -> None:
        """Log a change."""
        fields = with_fields("state", up=state.up)
        if not self._connected:
            # The first connect: its steps are told one by one.
            LOGGER.debug("%s", one_line(state.text), extra=fields)
        else:
            level = logging.INFO if state.up else logging.WARNING
            LOGGER.log(level, "tunnel %s: %s", word_for(state), one_line(state.text), extra=fields)

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Log address, port and tunnel."""
        self._connected = True
        LOGGER.info(
            "ready: SOCKS and HTTP on %s, server %s, addresses %s, dns %s, mtu %d",
            ", ".join(ready.listen),
            ready.server,
            ", ".join(ready.addresses) or "none",
            ", ".join(ready.dns) or "none",
            ready.mtu,
            extra=with_fields(
                "ready",
                server=ready.server,
                listen=ready.listen,
                addresses=ready.addresses,
                dns=ready.dns,
                mtu=ready.mtu,
            ),
        )

    def warning(self, text: str) -> None:
        """Log a warning."""
        LOGGER.warning("%s", one_line(text), extra=with_fields("warning"))

    def note(self, text: str) -> None:
        """Log it."""
        LOGGER.info("%s", one_line(text), extra=with_fields("note"))

    def interrupt(self) -> None:
        """Do nothing: log lines are always whole."""

    def ending(self) -> None:
        """Log that the end was asked for."""
        LOGGER.info("ending, as asked", extra=with_fields("ending"))

    def failed(self, text: str) -> None:
        """Write the one line, without a time stamp: it looks the same wherever the program runs."""
        if self._record:
            LOGGER.error("%s", one_line(text), extra=with_fields("failed"))
        if not self._line:
            return
        try:
            self._stream.write(f"sstpsocks: {text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it; the exit code still says it


def can_show(stream: TextIO, characters: str) -> bool:
    """Whether the stream's encoding has the characters."""
    try:
        characters.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def choose_display(stream: TextIO, log_format: str | None, verbosity: int, environ: Mapping[str, str]) -> Display:
    """Return steps for a terminal, log lines for everything else or when a log format was asked for."""
    if log_format is None and stream.isatty():
        return TerminalDisplay(stream, environ, quiet=verbosity < 0)
    return LogDisplay(stream)
