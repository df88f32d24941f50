from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sstpsocks.app.readyfile import Ready, ReadyFile
from sstpsocks.errors import ConfigError

READY = Ready(
    listen=("127.0.0.1:1080",),
    server="vpn.example.org:443",
    addresses=("10.0.0.2",),
    dns=("10.0.0.1", "10.0.0.3"),
    mtu=1400,
)


def test_the_file_holds_one_json_object(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    file = ReadyFile(path)
    file.claim()
    assert not path.exists()
    file.write(READY)
    assert json.loads(path.read_text()) == {
        "listen": ["127.0.0.1:1080"],
        "server": "vpn.example.org:443",
        "addresses": ["10.0.0.2"],
        "dns": ["10.0.0.1", "10.0.0.3"],
        "mtu": 1400,
    }
    assert [entry.name for entry in tmp_path.iterdir()] == ["ready.json"], "nothing temporary is left"
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_routes_and_search_domains_are_in_it_when_they_are_known() -> None:
    known = json.loads(replace(READY, routes=("172.30.0.0/16",), search=("lab.test",)).to_json())
    assert (known.pop("routes"), known.pop("search")) == (["172.30.0.0/16"], ["lab.test"])
    assert known == json.loads(READY.to_json())


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    before = os.umask(0)
    try:
        ReadyFile(path).write(READY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_replaced_only_when_it_says_something_else(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    file = ReadyFile(path)
    file.write(READY)
    path.unlink()
    file.write(READY)
    assert not path.exists(), "the same again is not written"
    file.write(Ready(listen=READY.listen, server=READY.server, addresses=("10.0.0.9",), dns=(), mtu=1400))
    assert json.loads(path.read_text())["addresses"] == ["10.0.0.9"]


def test_a_file_of_an_earlier_run_is_removed_before_dialling(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("{}")
    file = ReadyFile(path)
    file.claim()
    assert not path.exists()
    file.remove()


def test_a_file_that_cannot_be_written_is_an_error_before_dialling(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        ReadyFile(tmp_path / "missing" / "ready").claim()
    with pytest.raises(ConfigError, match="not a regular file"):
        ReadyFile(tmp_path).claim()
    with pytest.raises(ConfigError, match="cannot write"):
        ReadyFile(tmp_path / "missing" / "ready").write(READY)
    assert tmp_path.is_dir()
