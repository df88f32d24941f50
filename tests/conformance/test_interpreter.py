"""The interpreter itself: a script that is wrong, or a stack that is, must be reported by line and in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from .interpreter import Interpreter, ScriptFailure
from .wire import ScriptError


def run(tmp_path: Path, text: str) -> None:
    path = tmp_path / "example.txt"
    path.write_text(text, encoding="utf-8")
    Interpreter(path).run()


def failure(tmp_path: Path, text: str) -> str:
    with pytest.raises(ScriptFailure) as raised:
        run(tmp_path, text)
    return str(raised.value)


def error(tmp_path: Path, text: str) -> str:
    with pytest.raises(ScriptError) as raised:
        run(tmp_path, text)
    return str(raised.value)


def test_a_failure_names_the_line_and_each_difference(tmp_path: Path) -> None:
    text = failure(tmp_path, "# A rule\ncall connect\n\nexpect SYN,ACK seq 0 ack 1 win 5 <mss 7>\n")
    assert text.startswith("example.txt:4: expect SYN,ACK seq 0 ack 1 win 5 <mss 7>\n")
    assert "the stack sent SYN seq 0 win 65535 <mss 1000" in text
    assert "flags: expected SYN,ACK, got SYN" in text
    assert "ack: expected 1, got 0" in text
    assert "win: expected 5, got 65535" in text
    assert "option mss: expected 7, got 1000" in text


def test_a_failure_shows_the_packets_before_it(tmp_path: Path) -> None:
    text = failure(tmp_path, "call connect\nexpect SYN seq 0\nat 0.1 send RST,ACK seq 0 ack 1\nstate ESTABLISHED\n")
    assert "state: expected ESTABLISHED, is CLOSED" in text
    assert "0.000  sent      SYN seq 0" in text
    assert "0.100  received  RST,ACK seq 0 ack 1" in text


def test_what_is_not_expected_fails(tmp_path: Path) -> None:
    assert "example.txt:2: at 5 expect nothing" in failure(tmp_path, "call connect\nat 5 expect nothing\n")
    assert "at the end of the script unexpected: SYN seq 0" in failure(tmp_path, "call connect\n")


def test_what_is_expected_and_not_sent_fails(tmp_path: Path) -> None:
    text = failure(tmp_path, "call connect\nexpect SYN seq 0\nat 0.5 expect SYN seq 0\n")
    assert "at 0.500: expected SYN seq 0, but nothing was sent" in text


def test_too_early_and_too_late_fail(tmp_path: Path) -> None:
    opening = "call connect\nexpect SYN seq 0\n"
    assert "unexpected: SYN" in failure(tmp_path, opening + "at 1.1..1.5 expect SYN seq 0\n")
    assert "but nothing was sent" in failure(tmp_path, opening + "at 0.1..0.9 expect SYN seq 0\n")
    run(tmp_path, opening + "at 0.9..1.1 expect SYN seq 0\n")


def test_an_option_that_must_not_be_there_fails(tmp_path: Path) -> None:
    assert "option mss: must not be there" in failure(tmp_path, "call connect\nexpect SYN <!mss>\n")
    assert "expected no options" in failure(tmp_path, "call connect\nexpect SYN <>\n")


def test_a_wrong_ip_header_fails(tmp_path: Path) -> None:
    assert "IP ttl: expected 9, got 64" in failure(tmp_path, "call connect\nexpect SYN ip{ttl 9}\n")
    assert "IP df: expected 0, got 1" in failure(tmp_path, "call connect\nexpect SYN ip{!df}\n")


def test_an_exception_of_the_stack_is_a_failure_of_the_line(tmp_path: Path) -> None:
    text = failure(tmp_path, "call udp-bind 7\ncall udp-send 70000 to 9\n")
    assert text.startswith("example.txt:2: call udp-send 70000 to 9\n")
    assert "LocalProtocolError" in text


def test_a_call_that_must_fail_and_does_not_fails(tmp_path: Path) -> None:
    text = failure(tmp_path, "call connect raises DeniedByRule\n")
    assert "the call did not raise DeniedByRule" in text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("send SYM seq 0", "no such flag or packet: SYM"),
        ("send ACK seq 1", "an ack number if and only if"),
        ("send ACK ack 1", "which sequence number?"),
        ("send SYN seq x", "not a range of sequence numbers: x"),
        ("send SYN <speed 9>", "no such TCP option: speed"),
        ("expect SYN seq", "seq without a number"),
        ("expect SYN quickly", "not understood: quickly"),
        ("at 1..2 send SYN", "a range of times is for what is expected"),
        ("mtu 500", "mtu comes before everything else"),
        ("call dance", "no such call: dance"),
        ("colour blue", "no such verb: colour"),
        ("after lunch", "no prelude lunch"),
        ("peer b hat 1", "peer has no hat"),
    ],
)
def test_a_line_that_makes_no_sense_is_said_so(tmp_path: Path, line: str, reason: str) -> None:
    text = error(tmp_path, f"call connect\nexpect SYN\n{line}\n")
    assert text.startswith(f"example.txt:3: {line}")
    assert reason in text


def test_time_does_not_go_backwards(tmp_path: Path) -> None:
    assert "time goes backwards" in error(tmp_path, "at 1 send RST seq 0\nat 0.5 send RST seq 0\n")


def test_settings_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    assert "StackConfig has no speed" in error(tmp_path, "config speed=9\ncall connect\n")
