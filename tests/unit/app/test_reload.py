"""Which of a new configuration holds at once, and what is said of the rest."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio

from sstpsocks.app.config import load_configuration
from sstpsocks.app.messages import LOGGER, TerminalDisplay
from sstpsocks.app.reload import Reload
from sstpsocks.app.signals import run_until_signalled
from sstpsocks.dns.table import NameTable
from sstpsocks.library import Tunnel
from sstpsocks.proxy.outlet import Outlet
from sstpsocks.proxy.routing.router import Router
from sstpsocks.tunnel.name_settings import NameSettings

TOP = 'server = "vpn.example"\nuser = "alice"\npassword = "correct horse"\n'


class Told(TerminalDisplay):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, text: str) -> None:
        self.lines.append(text)

    def note(self, text: str) -> None:
        self.lines.append(text)

    def interrupt(self) -> None:
        pass


class FakeTunnel:
    """Has a table of names."""

    def __init__(self) -> None:
        self.table = NameTable()

    def replace_names(self, settings: NameSettings) -> bool:
        changed = settings != self.table.settings
        self.table.replace(settings)
        return changed


class World:
    """A program that runs with a configuration file."""

    def __init__(self, folder: Path, text: str = "", top: str = TOP) -> None:
        self.file = folder / "config.toml"
        self.write(text, top)
        again = partial(load_configuration, {"config": str(self.file)}, {}, has_terminal=False)
        self.told = Told()
        self.begun = replace(again(), again=again)
        self.reload = Reload(self.begun, self.told)
        self.reload.ready = True
        self.tunnel = FakeTunnel()
        self.reload.tunnels[""] = cast(Tunnel, self.tunnel)
        self.router = Router(self.begun.rules, {"tunnel": cast(Outlet, None)}, cast(Outlet, None))
        self.reload.router = self.router

    def write(self, text: str, top: str = TOP) -> None:
        self.file.touch(mode=0o600)
        self.file.write_text(top + text)

    def after(self, text: str, top: str = TOP) -> list[str]:
        """What is said when the file has become this."""
        self.write(text, top)
        self.told.lines.clear()
        self.reload.run()
        return self.told.lines


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    before = LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)
    yield
    LOGGER.setLevel(before[0])
    LOGGER.propagate, LOGGER.handlers[:] = before[1:]


@pytest.fixture
def users_file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "users"
        path.touch(mode=0o600)
        path.write_text(text)
        path.chmod(0o600)
        return f'socks_users_file = "{path.name}"\n'

    return write


def test_new_rules_hold_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, 'rule = ["all port 25 -> refuse"]\n')
    assert world.after('rule = ["all port 26 -> refuse"]\n') == ["configuration loaded again: rules"]
    assert [str(rule) for rule in world.router.table.rules] == ["all port 26 -> refuse"]
    assert world.after("") == ["configuration loaded again: rules"]
    assert world.router.table.rules == ()


def test_a_rule_past_all_tunnels_is_told_as_at_the_start(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.after('rule = ["printer.example -> direct"]\n')[0].startswith("connections and names go past all")


def test_users_come_and_go(tmp_path: Path, users_file: Callable[[str], str]) -> None:
    key = users_file("bob:one\n")
    world = World(tmp_path, key)
    users = world.reload.users_of()
    assert users.check(b"bob", b"one")
    users_file("carol:two\n")
    assert world.after(key) == ["configuration loaded again: users"]
    assert (users.check(b"bob", b"one"), users.check(b"carol", b"two")) == (False, True)
    assert world.after("") == ["configuration loaded again: users"]
    assert not users.required


def test_a_port_that_others_reach_does_not_lose_its_users_because_the_file_names_another(
    tmp_path: Path, users_file: Callable[[str], str]
) -> None:
    world = World(tmp_path, users_file("bob:one\n") + 'listen = "0.0.0.0:1080"\n')
    lines = world.after('listen = "127.0.0.1:1080"\n')
    assert lines[0] == "needs a restart: listen, socks_user, socks_password_file, socks_users_file, users"
    assert world.reload.users_of().check(b"bob", b"one")
    assert world.reload.users_of().required


def test_names_change_in_the_table_that_is_in_use(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.after('host = ["wiki.example=10.1.2.3"]\n') == ["configuration loaded again: names"]
    assert [str(address) for address in world.tunnel.table.addresses_of("wiki.example")] == ["10.1.2.3"]
    lines = world.after('dns_rest = "system"\n')
    assert "past the tunnel" in lines[0]
    assert world.tunnel.table.addresses_of("wiki.example") == ()


def test_the_log_level_changes(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.after("verbose = 1\n") == ["configuration loaded again: log level"]
    assert LOGGER.level == logging.DEBUG


def test_what_cannot_change_is_named_each_time_without_its_value(tmp_path: Path) -> None:
    world = World(tmp_path)
    other = TOP.replace("vpn.example", "other.example").replace("correct horse", "battery")
    for _ in range(2):
        assert world.after("mtu = 1300\n", other) == [
            "needs a restart: server, password, mtu",
            "configuration loaded again: nothing to change",
        ]
    assert world.after("") == ["configuration loaded again: nothing to change"]


TWO = """
[profiles.one]
server = "one.example"
[profiles.two]
server = "two.example"
[profiles.three]
server = "three.example"
"""


def several(*names: str, more: str = "") -> str:
    return f'user = "a"\npassword = "x"\ndefault_profile = {list(names)}\n{more}{TWO}'.replace("'", '"')


def test_tunnels_that_came_or_went_are_named_and_stay_as_they_are(tmp_path: Path) -> None:
    world = World(tmp_path, "", top=several("one", "two"))
    assert world.after("", several("one", "two", "three")) == [
        'needs a restart: the new tunnel "three"',
        "configuration loaded again: nothing to change",
    ]
    assert world.after("", several("one"))[0] == 'needs a restart: the end of the tunnel "two", which stays up'
    assert world.after("", several("three", "one"))[0] == (
        'needs a restart: the new tunnel "three", the end of the tunnel "two", which stays up'
    )
    assert world.after("", several("two", "one"))[0] == "needs a restart: which tunnel is the first"
    assert world.after("", several("one", "two")) == ["configuration loaded again: nothing to change"]


def test_beside_a_new_tunnel_other_changes_are_told_and_users_hold_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, "", top=several("one", "two"))
    changed = several("one", "two", "three", more="mtu = 1300\n").replace("one.example", "other.example")
    assert world.after('[users]\nbob = "y"\n', changed) == [
        'needs a restart: the new tunnel "three", server, mtu',
        "configuration loaded again: users",
    ]
    assert world.reload.users_of().check(b"bob", b"y")


def test_a_rule_for_a_tunnel_that_is_not_up_holds_after_a_restart_only(tmp_path: Path) -> None:
    world = World(tmp_path, "", top=several("one", "two"))
    world.router = world.reload.router = Router(
        (), {"one": cast(Outlet, None), "two": cast(Outlet, None)}, cast(Outlet, None)
    )
    rule = 'rule = [".three.example -> three"]\n'
    assert world.after("", several("one", "two", "three", more=rule))[0] == (
        'needs a restart: the new tunnel "three", rule'
    )
    assert world.router.table.rules == ()


@pytest.mark.parametrize("text", ['rule = ["all port x -> refuse"]\nmtu = 1300\n', "mtu = 7\n"])
def test_a_mistake_changes_nothing_and_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    world = World(tmp_path, 'rule = ["all port 25 -> refuse"]\n')
    (line,) = world.after(text)
    key = text.split()[0]
    assert line.startswith("the configuration was not loaded again and the old one holds: ")
    assert f"{world.file}, line 4: {key}" in line
    assert [str(rule) for rule in world.router.table.rules] == ["all port 25 -> refuse"]


def test_before_the_tunnel_is_up_nothing_is_loaded(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.reload.ready = False
    (line,) = world.after('rule = ["all port 25 -> refuse"]\n')
    assert "not up for the first time yet" in line
    assert world.router.table.rules == ()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")
async def test_only_where_it_is_wanted_a_hang_up_does_not_end_the_work() -> None:
    happened: list[str] = []

    async def work() -> int:
        signal.raise_signal(signal.Signals["SIGHUP"])
        with trio.move_on_after(5):
            while not happened:
                await trio.lowlevel.checkpoint()
        return 7

    def note(text: str) -> Callable[[], None]:
        return lambda: happened.append(text)

    assert await run_until_signalled(work, on_first=note("end"), on_second=note("end"), on_hang_up=note("again")) == 7
    assert happened == ["again"]
    happened.clear()
    assert await run_until_signalled(work, on_first=note("end"), on_second=note("end")) == 0
    assert happened == ["end"]
