from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from sstpsocks.app.failures import describe
from sstpsocks.app.log_config import LogSettings
from sstpsocks.app.logs import set_up_logging
from sstpsocks.app.messages import LOGGER, LogDisplay, TerminalDisplay, choose_display
from sstpsocks.app.readyfile import Ready
from sstpsocks.app.text import message_and_hint, one_line
from sstpsocks.errors import (
    AuthenticationFailed,
    CertificateRejected,
    ConfigError,
    RemoteProtocolError,
    SstpsocksError,
    TransportFailed,
    TunnelClosed,
)
from sstpsocks.tunnel.steps import Step, StepReport

READY = Ready(listen=("127.0.0.1:1080",), server="vpn:443", addresses=("10.0.0.2",), dns=(), mtu=1400)


@dataclass(frozen=True)
class State:
    up: bool
    text: str
    word: str = ""


class Terminal(io.TextIOWrapper):
    """A terminal that keeps what it is sent."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, newline="")

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def _restored_logger() -> Iterator[None]:
    yield
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.propagate = True


def screen(text: str) -> list[str]:
    """Return the lines that stay visible after carriage returns."""
    lines = []
    for line in text.split("\n"):
        shown: list[str] = []
        for part in line.split("\r"):
            shown[: len(part)] = part
        lines.append("".join(shown).rstrip())
    return lines


def connect(display: TerminalDisplay | LogDisplay) -> None:
    display.step(StepReport(Step.RESOLVE, done=False, text="vpn.example.org"))
    display.step(StepReport(Step.RESOLVE, done=True, text="192.0.2.1"))
    display.step(StepReport(Step.TCP, done=False, text="connecting to 192.0.2.1:443, which takes a while"))
    display.step(StepReport(Step.TCP, done=True, text="connected"))


def test_a_terminal_sees_the_steps_and_then_what_to_do() -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    connect(display)
    display.ready(READY, None)
    lines = screen(terminal.text)
    assert lines[:2] == ["  ✓ resolve         192.0.2.1", "  ✓ TCP             connected"]
    assert "127.0.0.1:1080" in lines[2]
    assert "curl --socks5-hostname 127.0.0.1:1080 http://" in lines[3]
    assert "SOCKS v5 host 127.0.0.1, port 1080" in lines[4]
    assert "\x1b" not in terminal.text


async def test_a_step_that_lasts_says_for_how_long(autojump_clock: trio.testing.MockClock) -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    display.step(StepReport(Step.RESOLVE, done=False, text="vpn.example.org"))
    display.step(StepReport(Step.RESOLVE, done=True, text="192.0.2.1"))
    display.step(StepReport(Step.TCP, done=False, text="port 443"))
    await trio.sleep(3.5)
    assert screen(terminal.text)[-1] == "  … TCP             port 443 (3 s)"
    display.step(StepReport(Step.TCP, done=True, text="connected"))
    display.step(StepReport(Step.AUTHENTICATION, done=False, text=""))
    await trio.sleep(2.7)
    display.interrupt()
    shown = terminal.text
    await trio.sleep(5)
    assert terminal.text == shown, "somebody is being asked for a password"
    display.step(StepReport(Step.AUTHENTICATION, done=True, text="succeeded"))
    assert screen(terminal.text) == [
        "  ✓ resolve         192.0.2.1",
        "  ✓ TCP             connected (3 s)",
        "  … authentication (2 s)",
        "  ✓ authentication  succeeded",
        "",
    ]


@pytest.mark.parametrize(("step", "name"), [(Step.DHCP, "DHCP"), (Step.IPV6, "IPv6")])
def test_what_the_network_tells_by_itself_is_shown_whenever_it_comes(step: Step, name: str) -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    display.ready(READY, None)
    display.step(StepReport(Step.TCP, done=True, text="a step of a reconnect"))
    display.step(StepReport(step, done=True, text="what it told"))
    assert terminal.text.endswith(f"Ctrl-C ends the tunnel.\n  ✓ {name}            what it told\n")
    stream = io.StringIO()
    log = LogDisplay(stream)
    set_up_logging(stream, log, LogSettings())
    log.ready(READY, None)
    log.step(StepReport(Step.TCP, done=True, text="a step of a reconnect"))
    log.step(StepReport(step, done=True, text="what it told"))
    assert [line.split(maxsplit=2)[2] for line in stream.getvalue().splitlines()[1:]] == [f"{name}: what it told"]


def test_colours_are_for_terminals_that_want_them() -> None:
    for environ, coloured in (
        ({}, True),
        ({"NO_COLOR": "x"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ):
        terminal = Terminal()
        connect(TerminalDisplay(terminal, environ))
        assert ("\x1b[32m" in terminal.text) is coloured
        assert ("\r" in terminal.text) is (environ.get("TERM") != "dumb")


def test_an_encoding_without_check_marks_gets_ascii() -> None:
    terminal = Terminal("latin-1")
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    connect(display)
    display.ready(READY, "me")
    display.ending()
    assert terminal.text.isascii()
    assert screen(terminal.text)[0] == "  + resolve         192.0.2.1"
    assert "--proxy-user me" in terminal.text


def test_the_unfinished_step_stays_visible_when_it_fails() -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    display.step(StepReport(Step.TLS, done=False, text="shaking hands"))
    display.failed("no")
    assert screen(terminal.text) == ["  … TLS             shaking hands", "sstpsocks: no", ""]


def test_a_servers_text_cannot_steer_the_terminal() -> None:
    terminal = Terminal()
    TerminalDisplay(terminal, {"NO_COLOR": "1"}).step(StepReport(Step.HTTP, done=True, text="a\x1b[2Jb\r\nc\x9bd"))
    assert "\x1b" not in terminal.text
    assert "\x9b" not in terminal.text
    assert terminal.text.count("\n") == 1


def test_a_long_step_is_cut_so_that_it_can_be_replaced() -> None:
    terminal = Terminal()
    TerminalDisplay(terminal, {}).step(StepReport(Step.HTTP, done=False, text="x" * 500))
    assert len(terminal.text) == 79


def test_only_changes_after_the_first_connect_are_told() -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"})
    display.state(State(True, "first"))
    assert terminal.text == ""
    display.ready(READY, None)
    display.state(State(False, "lost it"))
    connect(display)
    display.state(State(True, "back"))
    assert screen(terminal.text)[-3:] == ["Tunnel down: lost it", "Tunnel up again: back", ""]


def test_a_state_with_a_word_of_its_own_is_neither_up_nor_down() -> None:
    stream = io.StringIO()
    display = choose_display(stream, None, 0, {})
    assert isinstance(display, LogDisplay)
    set_up_logging(stream, display, LogSettings())
    connect(display)
    display.ready(READY, None)
    display.state(State(True, "the server does not answer", "in doubt"))
    assert "tunnel in doubt: the server does not answer" in stream.getvalue()


def test_quiet_says_only_what_is_wrong() -> None:
    terminal = Terminal()
    display = TerminalDisplay(terminal, {"NO_COLOR": "1"}, quiet=True)
    connect(display)
    display.ready(READY, None)
    display.state(State(True, "up"))
    display.ending()
    assert terminal.text == ""
    display.state(State(False, "lost"))
    display.warning("careful")
    assert screen(terminal.text) == ["Tunnel down: lost", "Warning: careful", ""]


def test_listeners_for_all_addresses_are_shown_as_one_reaches_them() -> None:
    for listen, shown in ((("0.0.0.0:9",), "127.0.0.1:9"), (("[::]:9",), "[::1]:9"), (("[::1]:9", "x:1"), "[::1]:9")):
        terminal = Terminal()
        ready = Ready(listen=listen, server="s", addresses=(), dns=(), mtu=1400)
        TerminalDisplay(terminal, {}).ready(ready, None)
        assert f"curl --socks5-hostname {shown} " in terminal.text


def test_a_unix_socket_is_shown_as_one_reaches_it() -> None:
    for listen, shown in (
        (("unix:/run/s",), "curl --proxy socks5h://localhost/run/s http"),
        (("unix:/run/s", "127.0.0.1:9"), "curl --socks5-hostname 127.0.0.1:9 "),
    ):
        terminal = Terminal()
        TerminalDisplay(terminal, {}).ready(Ready(listen=listen, server="s", addresses=(), dns=(), mtu=1400), None)
        assert shown in terminal.text
        assert ", ".join(listen) in terminal.text


def test_a_terminal_that_went_away_does_not_matter() -> None:
    terminal = Terminal()
    for display in (TerminalDisplay(terminal, {}), LogDisplay(terminal)):
        terminal.close()
        connect(display)
        display.failed("x")


def test_without_a_terminal_there_are_log_lines_with_time_stamps() -> None:
    stream = io.StringIO()
    display = choose_display(stream, None, 0, {})
    assert isinstance(display, LogDisplay)
    set_up_logging(stream, display, LogSettings())
    connect(display)
    display.ready(READY, None)
    display.state(State(False, "lost\nit"))
    display.state(State(True, "back"))
    display.warning("careful")
    display.failed("no. Try")
    lines = stream.getvalue().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d [A-Z]+ +", line) for line in lines[:-1])
    assert [line.split(maxsplit=1)[1] for line in lines[:-1]] == [
        "INFO    resolve: 192.0.2.1",
        "INFO    TCP: connected",
        "INFO    ready: SOCKS and HTTP on 127.0.0.1:1080, server vpn:443, addresses 10.0.0.2, dns none, mtu 1400",
        "WARNING tunnel down: lost it",
        "INFO    tunnel up again: back",
        "WARNING careful",
    ]
    assert lines[-1] == "sstpsocks: no. Try"


def test_verbosity_decides_what_is_logged() -> None:
    counts = []
    for verbosity in (-1, 0, 1, 2):
        stream = io.StringIO()
        display = LogDisplay(stream)
        set_up_logging(stream, display, LogSettings(verbosity=verbosity))
        connect(display)
        counts.append(len(stream.getvalue().splitlines()))
    assert counts == [0, 2, 4, 4]


def test_log_lines_on_a_terminal_begin_on_a_line_of_their_own() -> None:
    terminal = Terminal()
    display = choose_display(terminal, None, 1, {"NO_COLOR": "1"})
    set_up_logging(terminal, display, LogSettings(verbosity=1))
    display.step(StepReport(Step.TLS, done=False, text="shaking hands"))
    LOGGER.debug("detail")
    lines = screen(terminal.text)
    assert lines[0] == "  … TLS             shaking hands"
    assert lines[1].endswith(" DEBUG   detail")
    assert isinstance(choose_display(terminal, "text", 0, {}), LogDisplay), "a log format asks for log lines"


def test_messages_are_one_line_with_one_hint() -> None:
    assert one_line(" a\n\tb\x00 ") == "a  b"
    assert message_and_hint("It failed", "Try x") == "It failed. Try x"
    assert message_and_hint("Did it?", "Yes") == "Did it? Yes"
    assert message_and_hint("It failed", "") == "It failed"


@pytest.mark.parametrize(
    ("error", "text", "exit_code"),
    [
        (ConfigError("no server", hint="Name it"), "no server. Name it", 2),
        (TransportFailed("refused"), "refused", 3),
        (CertificateRejected("wrong name", reason="x"), "wrong name", 4),
        (AuthenticationFailed("E=691"), "E=691", 5),
        (RemoteProtocolError("nonsense", layer="sstp"), "nonsense", 6),
        (
            TunnelClosed("gone"),
            "gone. Connect again, or have that done by itself (--reconnect auto, the default)",
            7,
        ),
        (KeyboardInterrupt(), "", 0),
        (BrokenPipeError(), "", 0),
    ],
)
def test_each_failure_has_one_line_and_its_exit_code(error: BaseException, text: str, exit_code: int) -> None:
    for wrapped in (error, BaseExceptionGroup("a", [BaseExceptionGroup("b", [error, error])])):
        failure = describe(wrapped)
        assert (failure.text, failure.exit_code, failure.bug) == (text, exit_code, False)


def test_the_most_telling_error_of_a_group_is_chosen() -> None:
    group = ExceptionGroup("x", [SstpsocksError("vague"), TunnelClosed("gone", hint="Wait")])
    assert describe(group).text == "gone. Wait"


def test_a_bug_is_called_one_even_beside_other_errors() -> None:
    failure = describe(ExceptionGroup("x", [TunnelClosed("gone"), ValueError("two\nlines")]))
    assert failure.bug
    assert failure.exit_code == 6
    assert failure.text == "unexpected error: ValueError: two lines. This is a bug, run with -vv for details"
