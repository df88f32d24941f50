from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from sstpsocks.app.cli.main import main
from sstpsocks.app.configfile import load

FILE = """
listen = 1090
[profiles.work]
server = "vpn.example.org"
user = 'CORP\\alice'
password = "hunter2"
proxy = "http://bob:hunter2@proxy:3128"
[profiles."my lab"]
server = ["h1", "h2"]
password_command = "echo \\"x\\""
listen = 1091
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    monkeypatch.setenv("SSTPSOCKS_CONFIG", str(path))
    monkeypatch.setenv("SSTPSOCKS_MTU", "1300")
    return path


def shown(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert main(["config", "show", *flags]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    return out


def test_each_value_says_where_it_came_from(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--profile", "work", "--dhcp", "never").splitlines()
    assert "# profile work" in lines
    assert f'server = "vpn.example.org"  # {config}, line 4' in lines
    assert f"# password = (hidden)  # {config}, line 6" in lines
    assert f'proxy = "http://bob:***@proxy:3128"  # {config}, line 7' in lines
    assert "mtu = 1300  # SSTPSOCKS_MTU" in lines
    assert 'dhcp = "never"  # --dhcp' in lines
    assert "# connect_timeout = 15  # default" in lines


@pytest.mark.parametrize("flags", [["--profile", "work"], ["--profile", "work", "--profile", "my lab"]])
def test_it_can_be_pasted(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    pasted = tmp_path / "pasted.toml"
    pasted.write_text(shown(capsys, *flags))
    load(pasted)
    document = tomllib.loads(pasted.read_text())
    if len(flags) > 2:
        assert document["default_profile"] == ["work", "my lab"]
        assert document["profiles"]["my lab"]["password_command"] == 'echo "x"'
        assert document["profiles"]["my lab"]["listen"] == "1091"
        assert "listen" not in document["profiles"]["work"]
        document = {**document["profiles"]["work"], "listen": document["listen"]}
    assert document["user"] == "CORP\\alice"
    assert document["listen"] == "1090"


def test_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(shown(capsys, "--json", "--profile", "work"))
    work = document["tunnels"]["work"]
    assert document["file"] == str(config)
    assert work["mtu"] == {"value": 1300, "from": "environment", "where": "SSTPSOCKS_MTU"}
    assert work["password"]["value"] == "(hidden)"
    assert work["hlak"]["from"] == "default"
    assert work["user"]["from"] == "file"


def test_users_are_hidden_and_forwards_of_all_tunnels_shown(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forwards = 'local_forward = "80:a:80"\n[users]\nbob = "hunter2"\n[profiles.work]\nlocal_forward = "81:b:81"'
    config.write_text(config.read_text().replace("[profiles.work]", forwards, 1))
    both = shown(capsys, "--profile", "work", "--profile", "my lab")
    top, _, profiles = both.partition("[profiles.work]")
    assert 'local_forward = "80:a:80"' in top
    assert "81:b:81" not in top
    assert 'local_forward = "81:b:81"' in profiles
    assert "# users = (hidden)" in shown(capsys, "--profile", "work")
    document = json.loads(shown(capsys, "--json", "--profile", "work", "--profile", "my lab"))
    assert document["shared"]["local_forward"]["value"] == ["80:a:80"]
