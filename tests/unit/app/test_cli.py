from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sstpsocks import __version__
from sstpsocks.app.cli.main import main
from sstpsocks.app.cli.parser import connect_parser, parse_connect, split_command
from sstpsocks.app.options import OPTIONS, Place
from sstpsocks.base.build import COMPILED
from sstpsocks.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def sstpsocks(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program without a terminal, and with nothing of the tester's configuration."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    return subprocess.run(
        [sys.executable, "-m", "sstpsocks", *arguments],
        cwd=ROOT,
        env={**inherited, "XDG_CONFIG_HOME": "/nonexistent", "APPDATA": "/nonexistent", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_and_version_go_to_standard_output() -> None:
    result = sstpsocks("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "exit codes: 0 ended on request" in result.stdout
    words = result.stdout.replace(",", " ").split()
    for option in OPTIONS:
        assert (option.flag in words) is (Place.FLAG in option.places)
    build = "compiled" if COMPILED else "interpreted"
    assert sstpsocks("--version").stdout == f"sstpsocks {__version__} ({build})\n"
    assert "--once" in sstpsocks("demo", "--help").stdout


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, json\n"
        "from sstpsocks.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    bare = subprocess.run(
        [sys.executable, "-c", "import sys, argparse, tomllib; print(len(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for arguments in (["--help"], ["demo", "--help"], ["--version"], ["--password", "x"], ["--nonsense"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
        code, modules = json.loads(result.stderr.splitlines()[-1])
        assert code == (0 if arguments[-1] in ("--help", "--version") else 2)
        heavy = {"trio", "OpenSSL", "cryptography", "dns", "dpkt", "h11", "ssl", "asyncio", "logging", "idna"}
        assert heavy.isdisjoint(modules)
        assert len(modules) < int(bare.stdout) + 66


def test_help_answers_at_once() -> None:
    best = 10.0
    for _ in range(5):
        start = time.perf_counter()
        sstpsocks("--help")
        best = min(best, time.perf_counter() - start)
    # The aim is 0.15 s; the rest is for a machine that is busy with other tests.
    assert best < 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        ["--password", "hunter2", "vpn.example.org"],
        ["--password=hunter2", "vpn.example.org"],
        ["vpn.example.org", "--passwd", "hunter2"],
        ["sstp://alice:hunter2@vpn.example.org"],
        ["connect", "sstp://alice:hunter2@vpn.example.org:443"],
        ["--password"],
        ["--socks-password", "hunter2"],
    ],
)
def test_a_password_on_the_command_line_is_refused_with_the_reason(arguments: list[str]) -> None:
    result = sstpsocks(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "is refused" in result.stderr
    assert "--password-file" in result.stderr
    assert "hunter2" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "sstpsocks: no server was given. Name it: "),
        (["vpn.example.org"], "sstpsocks: no user name was given. "),
        (["vpn.example.org", "--user", "u"], "sstpsocks: there is no password, and no terminal to ask for one. "),
        (["--nonsense"], "sstpsocks: there is no option --nonsense. See: sstpsocks --help"),
        (["--mt", "1400"], 'sstpsocks: there is no option --mt. Did you mean "--mtu"? See: sstpsocks --help'),
        (["--mtu"], "sstpsocks: argument --mtu: expected one argument"),
        (["a", "b", "-x"], "sstpsocks: there is no option -x."),
        (["--listen", "1080", "demo"], 'sstpsocks: the command "demo" must be the first argument. '),
        (["demo", "--listen", "x"], "sstpsocks: --listen: "),
        (["demo", "--listen", "10.0.0.1:80"], "sstpsocks: --listen: the demo listens on this machine only"),
        (["demo", "x"], "sstpsocks: unrecognized arguments: x. See: sstpsocks demo --help"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], said: str) -> None:
    result = sstpsocks(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_gets_no_complaint() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "sstpsocks", "--help"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_closed_standard_error_changes_nothing_but_the_words() -> None:
    script = "import os, sys; os.close(2); from sstpsocks.__main__ import main; sys.exit(main(['--nonsense']))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    assert (result.returncode, result.stdout) == (2, b"")


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors in the child")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_descriptors_that_the_caller_closed_are_filled(closed: tuple[int, ...], tmp_path: Path) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    seen = tmp_path / "seen"
    script = (
        "import os, sys\n"
        "from sstpsocks.app.cli import main as cli\n"
        "code = cli.main(['connect', 'h', '--nonsense'])\n"
        "names = [stream and stream.fileno() for stream in (sys.stdout, sys.stderr)]\n"
        f"file = open({str(seen)!r}, 'w')\n"
        "file.write(f'{code} {names} {file.fileno() > 2}')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, preexec_fn=close)
    assert seen.read_text() == "2 [1, 2] True"


def test_the_command_may_be_left_out() -> None:
    assert split_command(["connect", "h", "-v"]) == ("connect", ["h", "-v"], True)
    assert split_command(["h", "-v"]) == ("connect", ["h", "-v"], False)
    assert split_command([]) == ("connect", [], False)
    assert split_command(["demo", "--once"]) == ("demo", ["--once"], True)
    assert parse_connect(["demo"], explicit=True)["server"] == ["demo"]
    with pytest.raises(ConfigError, match="must be the first"):
        parse_connect(["-v", "connect", "h"][:2], explicit=False)


def test_flags_that_are_not_given_are_none() -> None:
    given = parse_connect([], explicit=False)
    assert {option.key for option in OPTIONS if Place.FLAG in option.places} == set(given)
    assert set(given.values()) == {None}


def test_the_help_shows_every_default_there_is() -> None:
    text = " ".join(connect_parser().format_help().split())
    for option in OPTIONS:
        if option.default:
            assert f"(default {option.default})" in text


def test_an_interrupt_before_anything_runs_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_more: object) -> dict[str, object]:
        raise KeyboardInterrupt

    monkeypatch.setattr("sstpsocks.app.cli.main.parse_connect", interrupted)
    assert main([]) == 0


def test_a_bug_is_one_line_unless_details_are_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr("sstpsocks.app.config.load_configuration", broken)
    assert main(["h"]) == 6
    brief = capsys.readouterr().err
    assert brief == "sstpsocks: unexpected error: RuntimeError: oops. This is a bug, run with -vv for details\n"
    assert main(["h", "-vv"]) == 6
    details = capsys.readouterr().err
    assert details.startswith(brief)
    assert "Traceback" in details


def test_the_documentation_lists_every_option() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for option in OPTIONS:
        name = option.variable if Place.ENVIRONMENT in option.places else option.flag
        name = option.key if option.places == {Place.FILE} else name
        (row,) = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
        assert (f"`{option.variable}`" in row) is (Place.ENVIRONMENT in option.places)
        assert (f"`{option.flag}`" in row) is (Place.FLAG in option.places)
        assert (f"`{option.key}`" in row) is (Place.FILE in option.places)
        assert not option.default or f"default {option.default}" in row


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["--lisen", "1080", "h"], "--listen"),
        (["run", "h", "--lissten=1", "--", "ls"], "--listen"),
        (["pac", "--rul", "x"], "--rule"),
        (["h", "--reconnect", "nevr"], "never"),
        (["h", "--user", "u", "--auth", "mschapv3"], "mschapv2"),
        (["config", "chek"], "check"),
        (["pac", "--rule", "a.example -> drect"], "direct"),
        (["pac", "--rule", "all prot 25 -> refuse"], "port"),
    ],
)
def test_what_is_misspelt_is_told_with_what_was_meant(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert f'Did you mean "{meant}"?' in capsys.readouterr().err


def test_what_an_unknown_option_was_given_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["h", "--pasword", "hunter2"], ["h", "--pasword=hunter2"]):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert "there is no option --pasword." in said
        assert "hunter2" not in said


def test_a_misspelt_profile_is_told_with_what_was_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[profiles.work]\nserver = "h"\n')
    path.chmod(0o600)
    assert main(["--config", str(path), "--profile", "wrk"]) == 2
    assert 'there is no profile "wrk". Did you mean "work"? The profiles are: work' in capsys.readouterr().err
