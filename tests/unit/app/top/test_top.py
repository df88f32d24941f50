"""``sstpsocks top``: what keys do, what is on the screen, and that the terminal is as before."""

from __future__ import annotations

import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from sstpsocks.app.cli.main import main
from sstpsocks.app.top.screen import screen
from sstpsocks.app.top.view import HELP, ORDERS, View
from tests.helpers.snapshots import flow, snapshot, status_server, tunnel

FLOWS = (
    flow(1, "build.corp.example", receive_rate=10.0),
    flow(2, "nas.corp.example", receive_rate=5_000_000.0, octets_sent=9_000_000),
    flow(3, retransmissions=7, round_trip=0.3),
)
OFFICE = tunnel(flows=FLOWS)
LAB = tunnel("lab", up=False)
ROOT = Path(__file__).resolve().parents[4]


def pressed(view: View, keys: str) -> View:
    for key in keys:
        view = view.press(key)
    return view


def shown(view: View, width: int = 120, height: int = 30, *, blocks: bool = True) -> list[str]:
    """Return the lines on the screen; there must be as many as it has, and none may be too long."""
    console = Console(file=io.StringIO(), width=width, height=height, no_color=True, color_system=None)
    with console.capture() as capture:
        console.print(screen(view, width, height, blocks=blocks), end="")
    lines = capture.get().rstrip("\n").split("\n")
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    return lines


# Keys


def test_keys_choose_order_and_direction() -> None:
    view = View(snapshot(OFFICE))
    assert [each.number for each in view.flows] == [2, 1, 3]
    seen = [view.order]
    while (view := view.press("s")).order != "rate":
        seen.append(view.order)
    assert seen == list(ORDERS)
    assert [each.number for each in pressed(view, "s").flows] == [3, 2, 1], "the most received first"
    assert [each.number for each in pressed(view, "sr").flows] == [1, 2, 3]
    assert pressed(view, "S").order == "peer"
    assert [each.number for each in pressed(view, "S").flows] == [3, 1, 2], "addresses, then names, from A on"


def test_keys_choose_the_tunnel() -> None:
    view = View(snapshot(OFFICE, LAB))
    assert view.shown == OFFICE
    assert pressed(view, "\t").shown == LAB
    assert pressed(view, "\t\t").shown == OFFICE
    assert pressed(view, "2").shown == LAB
    assert pressed(view, "9").shown == OFFICE, "there is none of that number"
    assert pressed(view, "2").update(snapshot(OFFICE)).shown == OFFICE, "it is gone"
    assert View(snapshot()).press("\t").shown is None


def test_a_pause_holds_the_picture() -> None:
    view = View(snapshot(OFFICE)).press("p").update(snapshot(LAB))
    assert view.shown == OFFICE
    assert view.press("p").update(snapshot(LAB)).shown == LAB


@pytest.mark.parametrize("key", ["q", "Q", "\x03", "\x04"])
def test_keys_end_it(key: str) -> None:
    assert View(snapshot(OFFICE)).press(key).over


def test_other_keys_do_nothing() -> None:
    view = View(snapshot(OFFICE))
    assert pressed(view, "xyz\x1b[A0\ufffd²") == view


# The screen


def test_the_screen_of_a_wide_terminal() -> None:
    lines = shown(View(snapshot(OFFICE, LAB)), width=140)
    assert lines[0].startswith("sstpsocks 0.1.0  up 02:00:00  3 connections at 127.0.0.1:1080")
    assert lines[1].startswith(">1 office  UP 01:01:01  office.example.org:443  10.8.0.5  in 10.0 Mbit/s")
    assert lines[2].startswith(" 2 lab  RECONNECTING 01:01:01  lab.example.org:443  server closed the connection")
    assert re.match(r"in 10.0 Mbit/s  peak 10.0 Mbit/s\s+out 1.0 kbit/s .*round trip 12.3 ms", lines[3])
    assert "█" in lines[4]
    heading = next(number for number, line in enumerate(lines) if line.startswith("peer (by rate"))
    assert [line.split()[0] for line in lines[heading + 1 : heading + 4]] == [
        "nas.corp.example:443",
        "build.corp.example:443",
        "10.0.0.3:443",
    ]
    assert lines[-1].startswith(HELP[:40])


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [2, 3, 8, 12, 24, 60])
@pytest.mark.parametrize("events", [False, True])
def test_any_size_is_filled_and_not_exceeded(width: int, height: int, events: bool) -> None:
    view = View(snapshot(OFFICE, LAB), events=events)
    lines = shown(view, width, height)
    assert lines[-1].startswith("q quit"[:width])


def test_what_does_not_answer_is_told_in_the_first_line() -> None:
    view = View(snapshot(OFFICE), trouble="no status port answers at 127.0.0.1:9090")
    assert shown(view)[0].startswith("no status port answers at 127.0.0.1:9090  (trying again)")
    assert shown(View(snapshot(OFFICE), paused=True))[0].startswith("PAUSED")


def test_events_come_latest_first_and_failures_in_words() -> None:
    lines = shown(View(snapshot(OFFICE), events=True))
    heading = lines.index(next(line for line in lines if line.startswith("events")))
    assert re.match(r"\d\d:\d\d:\d\d warning  FAILED take care", lines[heading + 1])
    assert lines[heading + 2].endswith("state    tunnel is up")


def test_a_terminal_without_block_characters_gets_ascii() -> None:
    assert all(line.isascii() for line in shown(View(snapshot(OFFICE)), blocks=False))


def test_no_text_of_a_server_steers_the_terminal() -> None:
    bad = tunnel(up=False, text="\x1b[2J[bold]news", flows=(flow(1, "a\x1b]0;b\x07"),))
    text = "\n".join(shown(View(snapshot(bad))))
    assert "\x1b" not in text
    assert "[2J[bold]news" in text


# The command


def test_without_a_terminal_it_says_what_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    with status_server(snapshot(OFFICE)) as server:
        assert main(["top", "--status", str(server.port)]) == 2
    assert "needs a terminal. sstpsocks status and status --json are for scripts" in capsys.readouterr().err


def test_without_rich_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(["top", "--status", "9"]) == 2
    assert "needs the package rich. Install it with pip install 'sstpsocks[ui]'" in capsys.readouterr().err


def test_help_and_status_do_not_load_rich() -> None:
    program = (
        "import sys; from sstpsocks.app.cli.main import main; main(['top', '--help']); print('rich' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "False"


if sys.platform != "win32":
    import fcntl
    import pty
    import struct
    import termios

    class Screen:
        """The command in a terminal of its own."""

        def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
            self.process = process
            self.master = master
            self.text = ""

        def until(self, wanted: str) -> None:
            """Read what it writes until that is there; begin anew behind it."""
            deadline = time.monotonic() + 20
            while wanted not in self.text:
                assert time.monotonic() < deadline, f"no {wanted!r} in {self.text[-2000:]!r}"
                if select.select([self.master], [], [], 0.1)[0]:
                    try:
                        self.text += os.read(self.master, 65536).decode(errors="replace")
                    except OSError:
                        break
            assert wanted in self.text, self.text[-2000:]
            self.text = self.text.partition(wanted)[2]

        def press(self, keys: str) -> None:
            os.write(self.master, keys.encode())

        def resize(self, width: int, height: int) -> None:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

        def ended(self) -> int:
            """Wait for the end, reading what is left; a terminal that nobody reads would hold it up."""
            deadline = time.monotonic() + 20
            while self.process.poll() is None:
                assert time.monotonic() < deadline
                if select.select([self.master], [], [], 0.1)[0]:
                    try:
                        self.text += os.read(self.master, 65536).decode(errors="replace")
                    except OSError:
                        break
            code = self.process.wait(5)
            while select.select([self.master], [], [], 0.1)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    break
                self.text += data.decode(errors="replace")
            return code

        def modes(self) -> list[object]:
            return list(termios.tcgetattr(self.master))

    @contextmanager
    def top(port: int, **more: str) -> Iterator[Screen]:
        master, slave = pty.openpty()
        environ = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1", "XDG_CONFIG_HOME": "/nonexistent", **more}
        process = subprocess.Popen(
            [sys.executable, "-m", "sstpsocks", "top", "--status", str(port), "--interval", "0.2"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            cwd=ROOT,
            start_new_session=True,
        )
        screen = Screen(process, master)
        screen.resize(120, 24)
        try:
            yield screen
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(slave)
            os.close(master)

    LEAVES_THE_SCREEN = "\x1b[?1049l"
    SHOWS_THE_CURSOR = "\x1b[?25h"

    def test_keys_are_answered_and_the_terminal_is_as_before() -> None:
        with status_server(snapshot(OFFICE, LAB)) as server, top(server.port) as terminal:
            before = terminal.modes()
            terminal.until("by rate")
            assert terminal.modes() != before, "keys are read one by one"
            terminal.press("s")
            terminal.until("by received")
            terminal.press("e")
            terminal.until("events, the latest first")
            terminal.press("e2")
            terminal.until(">2 lab")
            server.answer = snapshot(tunnel("elsewhere"), LAB)
            terminal.until("elsewhere")
            terminal.resize(60, 10)
            terminal.until("in ")
            terminal.press("q")
            assert terminal.ended() == 0
            assert LEAVES_THE_SCREEN in terminal.text
            assert SHOWS_THE_CURSOR in terminal.text
            assert terminal.modes() == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_end_it_with_the_terminal_as_before(number: signal.Signals) -> None:
        with status_server(snapshot(OFFICE)) as server, top(server.port) as terminal:
            before = terminal.modes()
            terminal.until("by rate")
            terminal.process.send_signal(number)
            assert terminal.ended() == 0
            assert LEAVES_THE_SCREEN in terminal.text
            assert terminal.modes() == before
            assert "Traceback" not in terminal.text

    def test_a_program_that_goes_away_and_comes_back_is_told() -> None:
        with status_server(snapshot(OFFICE)) as server:
            port = server.port
            context = top(port)
            terminal = context.__enter__()
            terminal.until("by rate")
        try:
            terminal.until("no status port answers")
            with status_server(snapshot(tunnel("again")), port=port):
                terminal.until("again  UP")
                terminal.press("q")
                assert terminal.ended() == 0
        finally:
            context.__exit__(None, None, None)

    def test_without_colour_there_is_none() -> None:
        with status_server(snapshot(OFFICE)) as server, top(server.port, NO_COLOR="1") as terminal:
            terminal.until("by rate")
            terminal.press("q")
            terminal.ended()
            assert not re.search(r"\x1b\[[0-9;]*3[0-7][;m]", terminal.text)

    def test_nothing_there_is_said_before_the_screen_changes() -> None:
        with top(9) as terminal:
            assert terminal.ended() == 3
            assert "no status port answers at 127.0.0.1:9" in terminal.text
            assert "\x1b[?1049h" not in terminal.text
