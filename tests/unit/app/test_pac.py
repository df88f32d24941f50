from __future__ import annotations

import os
from pathlib import Path

import pytest

from sstpsocks.app.cli.main import main
from sstpsocks.app.pac import pac_pages
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.table import RuleTable


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take the tester's own configuration away."""
    for name in [name for name in os.environ if name.startswith("SSTPSOCKS_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "APPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("0.0.0.0:1080", "127.0.0.1:1080"),
        ("[::1]:1080", "[::1]:1080"),
        ("[::]:1080", "[::1]:1080"),
    ],
)
def test_the_file_names_an_address_that_programs_of_this_machine_reach(place: str, named: str) -> None:
    page = pac_pages(lambda: RuleTable((), "work"), ["unix:/run/x", place])("/proxy.pac?x", "")
    assert page is not None
    assert f'"PROXY {named}"'.encode() in page.body


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("localhost:1090", "localhost:1090"),
        ("127.0.0.1:1080", "127.0.0.1:1080"),
        ("[::1]:1090", "[::1]:1090"),
        ("192.0.2.7:1090", "192.0.2.7:1090"),
        ("localhost", "localhost:1080"),
    ],
)
def test_the_file_names_the_port_by_which_it_was_asked(asked: str, named: str) -> None:
    page = pac_pages(lambda: RuleTable((), "work"), ["127.0.0.1:1080", "[::]:1090"])("/proxy.pac", asked)
    assert page is not None
    assert f'"PROXY {named}"'.encode() in page.body


def test_it_is_made_of_the_rules_that_hold_at_the_moment() -> None:
    table = RuleTable((), "work")
    pages = pac_pages(lambda: table, ["127.0.0.1:1080"])
    before = pages("/wpad.dat", "")
    table = RuleTable([parse_rule("printer.example -> direct")], "work")
    after = pages("/wpad.dat", "")
    assert before is not None
    assert after is not None
    assert (b"printer.example" in before.body, b"printer.example" in after.body) == (False, True)


def test_other_paths_and_unix_sockets_have_no_such_page() -> None:
    assert pac_pages(lambda: RuleTable((), "work"), ["127.0.0.1:1080"])("/index.html", "") is None
    assert pac_pages(lambda: RuleTable((), "work"), ["unix:/run/x"])("/proxy.pac", "") is None


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["pac", *arguments]) == 0
    return capsys.readouterr().out


def test_the_command_prints_what_the_port_would_answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'listen = 1234\ndefault_profile = ["work", "lab"]\n'
        'rule = [".lab.example -> lab", "printer.example -> direct"]\n'
        '[profiles.work]\nserver = "a"\n[profiles.lab]\nserver = "b"\n'
    )
    config.chmod(0o600)
    table = RuleTable([parse_rule(".lab.example -> lab"), parse_rule("printer.example -> direct")], "work")
    page = pac_pages(lambda: table, ["127.0.0.1:1234"])("/proxy.pac", "")
    assert page is not None
    assert printed(capsys, "--config", str(config)) == page.body.decode()


def test_the_command_needs_neither_server_nor_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert '"PROXY 127.0.0.1:1080"' in printed(capsys, "--rule", "a.example -> direct")
    assert '"PROXY [::1]:1081"' in printed(capsys, "--listen", "[::1]:1081")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0"], "pac: which port it will be is known only when it is open"),
        (["--listen", "unix:/run/x"], "pac: browsers need a TCP port"),
        (["--rule", "a.example -> nowhere"], "--rule: "),
    ],
)
def test_the_command_says_why_there_is_no_file(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pac", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"sstpsocks: {said}")
