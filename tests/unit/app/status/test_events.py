"""The latest events, which are what the display is told."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

from sstpsocks.app.readyfile import Ready
from sstpsocks.app.status.events import MAX_TEXT, Events, WatchedDisplay
from sstpsocks.app.status.snapshot import MAX_EVENTS
from sstpsocks.tunnel.steps import Step, StepReport

READY = Ready(listen=("127.0.0.1:1080",), server="vpn.test:443", addresses=(), dns=(), mtu=1400)


def test_only_the_latest_are_kept_and_their_numbers_go_on() -> None:
    events = Events(lambda: 5.0)
    for number in range(MAX_EVENTS + 7):
        events.note("note", str(number))
    latest = events.latest()
    assert len(latest) == MAX_EVENTS
    assert (latest[0].number, latest[0].text) == (8, "7")
    assert latest[-1].time == 5.0


def test_what_a_server_says_is_one_short_line() -> None:
    events = Events()
    events.note("warning", "first\nsecond\x1b[31m\u202e" + "x" * 1000)
    (event,) = events.latest()
    assert event.text.startswith("first second [31m x")
    assert len(event.text) == MAX_TEXT


def test_the_display_hears_everything_and_so_do_the_events() -> None:
    inner, events = Mock(), Events()
    display = WatchedDisplay(inner, events)
    begins, done = StepReport(Step.TLS, False, "handshake"), StepReport(Step.TLS, True, "TLSv1.3")
    failed = StepReport(Step.TCP, True, "no answer; trying another", failed=True)
    state = SimpleNamespace(up=False, text="lost; dialling again")
    display.step(begins)
    display.step(done)
    display.step(failed)
    display.state(state)
    display.ready(READY, "alice")
    display.warning("careful")
    display.note("done")
    display.interrupt()
    display.ending()
    display.failed("it is over")
    assert [(event.kind, event.text, event.failed) for event in events.latest()] == [
        ("step", "TLS: TLSv1.3", False),
        ("step", "TCP: no answer; trying another", True),
        ("state", "lost; dialling again", True),
        ("note", "ready at 127.0.0.1:1080", False),
        ("warning", "careful", False),
        ("note", "done", False),
        ("note", "ending", False),
    ]
    assert [call[0] for call in inner.method_calls] == [
        "step", "step", "step", "state", "ready", "warning", "note", "interrupt", "ending", "failed",
    ]  # fmt: skip
    inner.ready.assert_called_once_with(READY, "alice")
