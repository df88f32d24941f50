"""The log: as lines, as JSON, for the journal; in files that move and disks that fill up."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sstpsocks.app.displays import Displays, open_display, shows_steps
from sstpsocks.app.journal import MESSAGE_IDS, JournalHandler, encode, stream_is_journal
from sstpsocks.app.log_config import LogSettings
from sstpsocks.app.log_file import LogFile
from sstpsocks.app.log_lines import LineFormatter
from sstpsocks.app.logs import log_format, set_up_logging
from sstpsocks.app.messages import LOGGER, Display
from sstpsocks.app.readyfile import Ready
from sstpsocks.base.log_context import CONNECTION, about_tunnel
from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from sstpsocks.tunnel.steps import Step, StepReport
from sstpsocks.tunnel.trace.tap import TraceTap

AF_UNIX = getattr(socket, "AF_UNIX", None)
PROXY = logging.getLogger("sstpsocks.proxy")
READY = Ready(listen=("127.0.0.1:1080",), server="vpn:443", addresses=("10.0.0.5",), dns=("10.0.0.1",), mtu=1400)
POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes and open files that move are POSIX matters")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def leave_logging_as_it_was() -> Iterator[None]:
    yield
    for name in ("sstpsocks", "sstpsocks.trace"):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def start(stream: io.StringIO, log: LogSettings) -> Display:
    display = open_display(stream, log, log_format(stream, log, {}), {})
    set_up_logging(stream, display, log, {})
    return display


@contextmanager
def connection(number: int) -> Iterator[None]:
    token = CONNECTION.set(number)
    try:
        yield
    finally:
        CONNECTION.reset(token)


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def without_time(line: dict[str, object]) -> dict[str, object]:
    assert line.pop("time")
    return line


# JSON


def test_every_line_is_an_object_with_stable_keys() -> None:
    stream = io.StringIO()
    display = start(stream, LogSettings(format="json", level="debug"))
    display.step(StepReport(Step.TLS, True, "TLSv1.3"))
    display.ready(READY, None)
    with about_tunnel("office"):
        display.state(TunnelState(TunnelStatus.RECONNECTING, "server closed the connection"))
    with connection(12):
        PROXY.info("name looked up")
    display.warning("take care")
    display.ending()
    display.failed("it broke")
    assert [without_time(line) for line in objects(stream)] == [
        {
            "level": "info",
            "message": "TLS: TLSv1.3",
            "event": "step",
            "step": "TLS",
            "done": True,
            "failed": False,
        },
        {
            "level": "info",
            "message": "ready: SOCKS and HTTP on 127.0.0.1:1080, server vpn:443, addresses 10.0.0.5, dns 10.0.0.1,"
            " mtu 1400",
            "event": "ready",
            "server": "vpn:443",
            "listen": ["127.0.0.1:1080"],
            "addresses": ["10.0.0.5"],
            "dns": ["10.0.0.1"],
            "mtu": 1400,
        },
        {
            "level": "warning",
            "message": "tunnel down: server closed the connection",
            "event": "state",
            "up": False,
            "tunnel": "office",
        },
        {"level": "info", "message": "name looked up", "event": "log", "source": "proxy", "connection": 12},
        {"level": "warning", "message": "take care", "event": "warning"},
        {"level": "info", "message": "ending, as asked", "event": "ending"},
        {"level": "error", "message": "it broke", "event": "failed"},
    ]


def test_a_message_that_says_its_connection_is_believed() -> None:
    stream = io.StringIO()
    start(stream, LogSettings(format="json"))
    with connection(3):  # whose turn it is
        PROXY.info("connection %d: refused", 12)
    assert objects(stream)[0]["connection"] == 12


def test_a_traceback_stays_within_its_object() -> None:
    stream = io.StringIO()
    start(stream, LogSettings(format="json"))
    try:
        raise RuntimeError("oops")
    except RuntimeError:
        PROXY.exception("two\nlines")
    (line,) = objects(stream)
    assert line["message"] == "two lines"
    assert "RuntimeError: oops" in str(line["exception"])


# Text


def test_all_lines_of_a_connection_name_it_once() -> None:
    stream = io.StringIO()
    start(stream, LogSettings())
    with connection(12):
        PROXY.info("connection %d: accepted", 12)
        PROXY.info("name looked up")
    PROXY.info("nobody in particular")
    texts = [line.split("INFO    ")[1] for line in stream.getvalue().splitlines()]
    assert texts == ["connection 12: accepted", "connection 12: name looked up", "nobody in particular"]


@pytest.mark.parametrize(
    ("log", "levels"),
    [
        (LogSettings(), "IWE"),
        (LogSettings(verbosity=-1), "WE"),
        (LogSettings(verbosity=2), "DIWE"),
        (LogSettings(verbosity=2, level="error"), "E"),
        (LogSettings(verbosity=-1, level="debug"), "DIWE"),
    ],
)
def test_the_level_counts_more_than_the_verbosity(log: LogSettings, levels: str) -> None:
    stream = io.StringIO()
    start(stream, log)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        PROXY.log(level, "x")
    assert "".join(line.split()[1][0] for line in stream.getvalue().splitlines()) == levels


# Files


@POSIX
def test_with_a_log_file_a_terminal_keeps_its_steps_and_the_file_gets_the_lines(tmp_path: Path) -> None:
    terminal, path = Terminal(), tmp_path / "log"
    display = start(terminal, LogSettings(file=str(path)))
    assert shows_steps(display)
    display.step(StepReport(Step.TLS, True, "TLSv1.3"))
    PROXY.info("hello")
    display.failed("it broke")
    assert "TLSv1.3" in terminal.getvalue()
    assert "hello" not in terminal.getvalue()
    assert terminal.getvalue().count("it broke") == 1
    texts = [line.split(maxsplit=2)[2] for line in path.read_text().splitlines()]
    assert texts == ["TLS: TLSv1.3", "hello", "it broke"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_terminal_the_file_gets_the_lines_and_standard_error_the_failure(tmp_path: Path) -> None:
    stream, path = io.StringIO(), tmp_path / "log"
    display = start(stream, LogSettings(file=str(path), format="json"))
    PROXY.info("hello")
    display.failed("it broke")
    assert stream.getvalue() == "sstpsocks: it broke\n"
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()] == ["hello", "it broke"]


@POSIX
def test_a_log_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    start(io.StringIO(), LogSettings(file=str(path)))
    PROXY.info("one")
    path.rename(tmp_path / "log.1")
    PROXY.info("two")
    assert "one" in (tmp_path / "log.1").read_text()
    assert "two" not in (tmp_path / "log.1").read_text()
    assert "two" in path.read_text()


def test_a_full_disk_drops_lines_tells_so_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, path = io.StringIO(), tmp_path / "log"
    start(stream, LogSettings(file=str(path)))
    PROXY.info("one")
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        PROXY.info("two")
        PROXY.info("three")
        patch.setattr(
            os, "write", lambda descriptor, data: write(descriptor, data[:10]) if len(data) > 10 else full(0, b"")
        )
        PROXY.info("four, of which only the beginning")
    PROXY.info("five")
    told = stream.getvalue().splitlines()
    assert told == [
        f"sstpsocks: the file {path} cannot be written: No space left on device; its lines are dropped until it can"
    ]
    lines = path.read_text().splitlines()
    assert [line.split(maxsplit=2)[2] for line in (lines[0], *lines[-2:])] == [
        "one",
        "3 lines before this one could not be written",
        "five",
    ]


@POSIX
def test_a_vanished_folder_is_no_reason_to_stop(tmp_path: Path) -> None:
    stream, folder = io.StringIO(), tmp_path / "logs"
    folder.mkdir()
    start(stream, LogSettings(file=str(folder / "log")))
    (folder / "log").unlink()
    folder.rmdir()
    PROXY.info("one")
    PROXY.info("two")
    assert stream.getvalue().count("cannot be written") == 1
    folder.mkdir()
    PROXY.info("three")
    assert "three" in (folder / "log").read_text()


def test_a_log_file_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write the file"):
        start(io.StringIO(), LogSettings(file=str(tmp_path / "missing" / "log")))
    with pytest.raises(ConfigError) as caught:
        start(io.StringIO(), LogSettings(trace=True, trace_file=str(tmp_path)))
    assert "--trace-file" in caught.value.hint


# The trace


def test_the_trace_goes_to_standard_error_or_a_file_whatever_the_level(tmp_path: Path) -> None:
    stream = io.StringIO()
    start(stream, LogSettings(verbosity=-1, trace=True))
    TraceTap("office").packet(b"", 1.0, outbound=True)
    time, text = stream.getvalue().rstrip().split(maxsplit=1)
    assert text == "-> office malformed, 0 octets: IPv4 packet of 0 octets"
    assert len(time) == len("17:14:02.123456")

    path = tmp_path / "trace"
    start(stream, LogSettings(trace=True, trace_file=str(path)))
    TraceTap("office").packet(b"", 1.0, outbound=False)
    assert " <- office malformed" in path.read_text()
    assert stream.getvalue().count("\n") == 1


def test_the_trace_is_json_where_the_log_is() -> None:
    stream = io.StringIO()
    start(stream, LogSettings(format="json", trace=True))
    TraceTap("office").note("tunnel up")
    (line,) = objects(stream)
    assert (line["event"], line["message"], line["source"]) == ("packet", "-- office tunnel up", "trace")


# The journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    if AF_UNIX is None:
        pytest.skip("needs Unix sockets")
    with socket.socket(AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(5)
        yield receiver


def parse(datagram: bytes) -> dict[str, str]:
    """Read the journal's own protocol."""
    fields = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(datagram[:8], "little")
            value, datagram = datagram[8 : 8 + size], datagram[9 + size :]
        fields[name.decode()] = value.decode()
    return fields


def test_the_journal_gets_level_tunnel_connection_and_message_id_as_fields(
    journal: socket.socket, tmp_path: Path
) -> None:
    LOGGER.addHandler(JournalHandler(io.StringIO(), str(tmp_path / "journal")))
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    display = open_display(io.StringIO(), LogSettings(), "journal", {})
    display.ready(READY, None)
    with about_tunnel("office"):
        display.state(TunnelState(TunnelStatus.RECONNECTING, "lost"))
    with connection(12):
        PROXY.error("two words")
    ready, down, error = (parse(journal.recv(65536)) for _ in range(3))
    assert ready["MESSAGE_ID"] == MESSAGE_IDS["ready"]
    assert ready["PRIORITY"] == "6"
    assert ready["SYSLOG_IDENTIFIER"] == "sstpsocks"
    assert ready["SSTPSOCKS_SERVER"] == "vpn:443"
    assert (down["MESSAGE_ID"], down["PRIORITY"]) == (MESSAGE_IDS["down"], "4")
    assert down["SSTPSOCKS_UP"] == "false"
    assert (down["SSTPSOCKS_TUNNEL"], down["MESSAGE"]) == ("office", "tunnel down: lost")
    assert (error["PRIORITY"], error["SSTPSOCKS_CONNECTION"]) == ("3", "12")
    assert "MESSAGE_ID" not in error


def test_values_with_lines_of_their_own_carry_a_length() -> None:
    assert encode([("A", "x"), ("B", "one\ntwo")]) == b"A=x\nB\n\x07" + bytes(7) + b"one\ntwo\n"
    assert parse(encode([("A", "x"), ("B", "one\ntwo"), ("C", "")])) == {"A": "x", "B": "one\ntwo", "C": ""}


def test_without_the_journals_socket_lines_carry_their_level() -> None:
    stream = io.StringIO()
    handler = JournalHandler(stream, "/nowhere/socket")
    handler.emit(logging.LogRecord("sstpsocks", logging.WARNING, "", 0, "take care", None, None))
    handler.close()
    assert stream.getvalue() == "<4>take care\n"


@POSIX
def test_the_journal_is_known_by_the_variable_that_names_standard_error(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as stream:
        state = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        assert stream_is_journal(stream, named)
        assert not stream_is_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not stream_is_journal(stream, {})
        assert not stream_is_journal(io.StringIO(), named)
        assert log_format(stream, LogSettings(), named) == "journal"
        assert log_format(stream, LogSettings(format="json"), named) == "json"
        assert log_format(stream, LogSettings(file="x"), named) == "text"


def test_several_displays_are_all_told() -> None:
    streams = [io.StringIO(), io.StringIO()]
    log = LogSettings(format="text")
    display = Displays(*(open_display(stream, log, "text", {}) for stream in streams))
    display.failed("it broke")
    assert [stream.getvalue() for stream in streams] == ["sstpsocks: it broke\n"] * 2


def test_what_cannot_be_encoded_is_written_all_the_same(tmp_path: Path) -> None:
    handler = LogFile(str(tmp_path / "log"), sys.stderr)
    handler.setFormatter(LineFormatter())
    handler.emit(logging.LogRecord("sstpsocks", logging.INFO, "", 0, "odd \udcff name", None, None))
    handler.close()
    assert "odd" in (tmp_path / "log").read_text()
