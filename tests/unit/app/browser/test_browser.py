"""Which browser is started, and what keeps it in the tunnel."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from sstpsocks.app.browser.chromium import chromium_arguments, prepare_chromium
from sstpsocks.app.browser.command import BrowserOptions, own_port_only, run_browser
from sstpsocks.app.browser.find import Browser, Family, find_browser
from sstpsocks.app.browser.firefox import firefox_arguments, prepare_firefox
from sstpsocks.app.browser.profile import profile_folder, profiles_folder
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.messages import Display, State
from sstpsocks.app.readyfile import Ready
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.errors import ConfigError, TunnelDown
from sstpsocks.tunnel.steps import StepReport

WHERE = "127.0.0.1:40123"


def installed(*programs: str) -> dict[str, str]:
    return {program: f"/usr/bin/{program}" for program in programs}


# Which one


def test_the_first_that_is_installed_is_taken() -> None:
    there = installed("firefox-esr", "microsoft-edge")
    found = find_browser(None, {}, which=there.get, platform="linux")
    assert found == Browser("/usr/bin/microsoft-edge", Family.CHROMIUM)


def test_one_is_chosen_by_name() -> None:
    there = installed("firefox-esr", "chromium")
    found = find_browser("firefox", {}, which=there.get, platform="linux")
    assert found == Browser("/usr/bin/firefox-esr", Family.FIREFOX)


@pytest.mark.parametrize(
    ("path", "family"),
    [("/opt/librewolf", Family.FIREFOX), ("/opt/Firefox Nightly", Family.FIREFOX), ("/opt/vivaldi", Family.CHROMIUM)],
)
def test_one_is_chosen_by_path(path: str, family: Family) -> None:
    assert find_browser(path, {}, which=lambda name: name).family is family


@pytest.mark.parametrize("wanted", [None, "edge", "/opt/nothing"])
def test_without_a_browser_it_says_what_to_do(wanted: str | None) -> None:
    with pytest.raises(ConfigError) as refusal:
        find_browser(wanted, {}, which=lambda _name: None, exists=lambda _path: False)
    assert "firefox" in refusal.value.hint


def test_those_of_macos_and_windows_are_found_in_their_places() -> None:
    chrome = "/home/a/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    found = find_browser(
        None, {"HOME": "/home/a"}, which=lambda _: None, exists=lambda path: path == chrome, platform="darwin"
    )
    assert found == Browser(chrome, Family.CHROMIUM)
    edge = r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe"
    found = find_browser(
        "edge",
        {"PROGRAMFILES(X86)": r"C:\Program Files (x86)"},
        which=lambda _: None,
        exists=lambda path: path == edge,
        platform="win32",
    )
    assert found == Browser(edge, Family.CHROMIUM)


# What it is told


def test_chromium_is_left_no_way_but_the_port(tmp_path: Path) -> None:
    prepare_chromium(tmp_path)
    arguments = chromium_arguments(tmp_path, WHERE, "http://intranet.demo/", ("--incognito",))
    assert f"--proxy-server=socks5://{WHERE}" in arguments
    assert "--proxy-bypass-list=<-loopback>" in arguments
    assert "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1" in arguments
    assert "--disable-quic" in arguments
    assert arguments[-2:] == ["--incognito", "http://intranet.demo/"]
    preferences = json.loads((tmp_path / "Default" / "Preferences").read_text())
    assert preferences["webrtc"]["ip_handling_policy"] == "disable_non_proxied_udp"
    assert json.loads((tmp_path / "Local State").read_text())["dns_over_https"]["mode"] == "off"


def test_a_kept_profiles_preferences_stay_the_users(tmp_path: Path) -> None:
    prepare_chromium(tmp_path)
    (tmp_path / "Default" / "Preferences").write_text('{"mine": 1}')
    prepare_chromium(tmp_path)
    assert (tmp_path / "Default" / "Preferences").read_text() == '{"mine": 1}'


def test_firefox_is_left_no_way_but_the_port(tmp_path: Path) -> None:
    prepare_firefox(tmp_path, WHERE)
    lines = (tmp_path / "user.js").read_text().splitlines()
    preferences = dict(
        json.loads(f"[{match[1]}]") for line in lines if (match := re.fullmatch(r"user_pref\((.*)\);", line))
    )
    assert len(preferences) == len(lines)
    assert (preferences["network.proxy.socks"], preferences["network.proxy.socks_port"]) == ("127.0.0.1", 40123)
    assert preferences["network.proxy.type"] == 1
    assert preferences["network.proxy.socks_remote_dns"] is True
    assert preferences["network.proxy.failover_direct"] is False
    assert preferences["network.proxy.no_proxies_on"] == ""
    assert preferences["media.peerconnection.enabled"] is False
    assert preferences["network.trr.mode"] == 5
    assert firefox_arguments(tmp_path, "about:blank", ())[-3:] == ["--profile", str(tmp_path), "about:blank"]


# Its profile


async def test_a_profile_is_its_owners_and_goes_away() -> None:
    async with profile_folder(None, "chromium") as folder:
        (folder / "Default").mkdir()
        assert sys.platform == "win32" or folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


async def test_a_kept_profile_stays_and_is_used_by_one_browser_at_a_time(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    async with profile_folder("work", "chromium", environ) as folder:
        (folder / "cookies").write_text("x")
        with pytest.raises(ConfigError, match="another browser uses"):
            async with profile_folder("work", "chromium", environ):
                pytest.fail("two browsers on one profile")
        async with profile_folder("work", "firefox", environ) as other:
            assert other != folder
    async with profile_folder("work", "chromium", environ) as again:
        assert (again / "cookies").read_text() == "x"


@pytest.mark.parametrize("name", ["", "../elsewhere", "a/b", ".hidden", "x" * 65])
async def test_a_profiles_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--keep-profile"):
        async with profile_folder(name, "chromium", {"XDG_DATA_HOME": str(tmp_path)}):
            pytest.fail("this name must not be taken")


def test_profiles_are_kept_where_data_is(tmp_path: Path) -> None:
    assert profiles_folder({"XDG_DATA_HOME": str(tmp_path)}, "linux") == tmp_path / "sstpsocks" / "browser"


# Browser and tunnel, one as long as the other


@dataclass
class Told(Display):
    """A Display that remembers."""

    warnings: list[str] = field(default_factory=list)

    def step(self, report: StepReport) -> None: ...
    def state(self, state: State) -> None: ...
    def ready(self, ready: Ready, socks_user: str | None) -> None: ...
    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def note(self, text: str) -> None: ...
    def interrupt(self) -> None: ...
    def ending(self) -> None: ...
    def failed(self, text: str) -> None: ...


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Configuration:
    given = {"server": ["vpn.example"], "user": "a", "listen": ["127.0.0.1:1080"]}
    return load_configuration(given, {"SSTPSOCKS_PASSWORD": "x"}, has_terminal=False)


def stub(folder: Path, script: Sequence[str]) -> str:
    path = folder / "browser"
    path.write_text("#!/bin/sh\n" + "\n".join(script) + "\n")
    path.chmod(0o700)
    return str(path)


async def connect_for_ever(configuration: Configuration, display: Display) -> int:
    display.ready(Ready(listen=(WHERE,), server="vpn.example", addresses=(), dns=(), mtu=1400), None)
    await trio.Event().wait()
    return 0


on_unix = pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")


@on_unix
async def test_the_tunnel_ends_with_the_browser(configuration: Configuration, tmp_path: Path) -> None:
    browser = stub(tmp_path, [f'echo "$@" > {tmp_path}/arguments', "env >> " + str(tmp_path / "arguments"), "exit 3"])
    options = BrowserOptions(url="http://intranet.demo/", browser=browser, arguments=("--incognito",))
    told = Told()
    with trio.fail_after(10):
        assert await run_browser(configuration, options, told, connect_for_ever) == 3
    said = (tmp_path / "arguments").read_text()
    assert f"socks5://{WHERE}" in said
    assert "--incognito http://intranet.demo/" in said
    assert "SSTPSOCKS_" not in said
    assert "the browser ended with code 3; -v shows what it said" in told.warnings


@on_unix
async def test_the_browser_and_what_it_started_end_with_the_tunnel(
    configuration: Configuration, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    if sys.platform != "win32":
        os.mkfifo(held)
    # Both keep the pipe open: its end is read when the last of them is gone.
    browser = stub(tmp_path, [f"exec 3> {held}", "sleep 60 &", "echo begun >&3", "wait"])
    descriptor = os.open(held, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))

    async def lose(configuration: Configuration, display: Display) -> int:
        display.ready(Ready(listen=(WHERE,), server="vpn.example", addresses=(), dns=(), mtu=1400), None)
        await trio.lowlevel.wait_readable(descriptor)
        assert os.read(descriptor, 100) == b"begun\n"
        raise TunnelDown("lost for good")

    try:
        with trio.fail_after(20), pytest.RaisesGroup(TunnelDown):
            await run_browser(configuration, BrowserOptions(browser=browser), Told(), lose)
        with trio.fail_after(5):
            await trio.lowlevel.wait_readable(descriptor)
        assert os.read(descriptor, 100) == b""
    finally:
        os.close(descriptor)


async def test_no_option_is_smuggled_in_as_a_url(configuration: Configuration) -> None:
    with pytest.raises(ConfigError, match="no address of a page"):
        await run_browser(configuration, BrowserOptions(url="--no-sandbox"), Told(), connect_for_ever)


def test_the_port_is_the_browsers_own(configuration: Configuration) -> None:
    listen = own_port_only(configuration).listen
    assert listen.addresses == (TcpAddress("127.0.0.1", 0),)
    assert not listen.all_users
    assert not listen.open_to_all
    assert listen.same_user == (sys.platform == "linux")
