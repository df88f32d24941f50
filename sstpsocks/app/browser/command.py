"""``sstpsocks browser``: a tunnel for as long as one browser runs.

Theory of operation. The tunnel comes up as by connect, with a port of its own on loopback; once traffic passes, the
browser is started with a profile that knows no other way than that port. The browser's end is the tunnel's; the
request to end (Ctrl-C), or the loss of the tunnel, is the browser's. It runs in a session of its own, so that Ctrl-C
at our terminal reaches us alone and things end in order. Who asks a second time has the browser killed.

A browser cannot give a SOCKS port a password. Where the system tells whose a connection is, other users' are cut.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from ...base.listen_address import TcpAddress
from ...errors import ConfigError
from ...proxy.peer_user import can_tell_users
from ..config import Configuration
from ..messages import Display, State
from ..readyfile import Ready
from ..signals import last_act
from ..start import start_connect
from .chromium import chromium_arguments, prepare_chromium
from .find import Browser, Family, find_browser
from .firefox import firefox_arguments, prepare_firefox
from .profile import profile_folder

BLANK = "about:blank"
GRACE = 5.0
"""Seconds that a browser has to end after it was asked to."""
_LINGER = 1.0
"""Seconds that its killed helpers have to be gone, where somebody waits for them."""
_LOOK = 0.02
_OUR_VARIABLES = "SSTPSOCKS_"

Connect = Callable[[Configuration, Display], Awaitable[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserOptions:
    """What is asked for."""

    url: str | None = None
    browser: str | None = None
    keep_profile: str | None = None
    arguments: tuple[str, ...] = ()
    """More arguments for the browser."""


class _BrowserDisplay:
    """Says what a connect says, without advice about a port that only the browser uses."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.up = trio.Event()
        self.where = ""
        self.step = display.step
        self.warning = display.warning
        self.note = display.note
        self.interrupt = display.interrupt
        self.ending = display.ending
        self.failed = display.failed

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Take note of the port."""
        self._display.interrupt()
        self.where = ready.listen[0]
        self.up.set()

    def state(self, state: State) -> None:
        """Say that the tunnel was lost or is back."""
        self._display.state(state)


async def run_browser(
    configuration: Configuration, options: BrowserOptions, display: Display, connect: Connect = start_connect
) -> int:
    """Bring the tunnel up, run the browser with it, end both; return the browser's exit code, 0 if it was ended.

    Raises SstpsocksError (possibly inside an exception group) when there is no browser or no tunnel.
    """
    url = options.url if options.url is not None else BLANK
    if url.startswith("-"):
        raise ConfigError(f'--url: "{url}" is no address of a page')
    browser = find_browser(options.browser)
    if not can_tell_users():
        display.warning("other users of this machine can use the browser's port as long as the browser runs")
    watched = _BrowserDisplay(display)
    quiet = configuration.output.log.verbosity < 1
    exit_code = 0

    async def browse(folder: Path, everything: trio.CancelScope) -> None:
        nonlocal exit_code
        await watched.up.wait()
        command = _command(browser, folder, watched.where, url, options.arguments)
        exit_code = await _run(command, quiet=quiet)
        if exit_code:
            more = "; -v shows what it said" if quiet else ""
            display.warning(f"the browser ended with code {exit_code}{more}")
        everything.cancel()

    async with profile_folder(options.keep_profile, browser.family.value) as folder, trio.open_nursery() as nursery:
        nursery.start_soon(browse, folder, nursery.cancel_scope)
        await connect(own_port_only(configuration), watched)
        nursery.cancel_scope.cancel()
    return exit_code


def own_port_only(configuration: Configuration) -> Configuration:
    """Return the configuration with the browser's port and no other: those that it names are for connect."""
    listen = replace(
        configuration.listen,
        addresses=(TcpAddress("127.0.0.1", 0),),
        credentials=None,
        users=(),
        open_to_all=False,
        same_user=can_tell_users(),
    )
    return replace(configuration.without_own_ports(), listen=listen, dns_listen=())


def _command(browser: Browser, folder: Path, where: str, url: str, more: tuple[str, ...]) -> list[str]:
    if browser.family is Family.FIREFOX:
        prepare_firefox(folder, where)
        return [browser.path, *firefox_arguments(folder, url, more)]
    prepare_chromium(folder)
    return [browser.path, *chromium_arguments(folder, where, url, more)]


async def _run(command: list[str], *, quiet: bool) -> int:
    """Run the browser until it ends and return a shell's exit code; end it when cancelled. Raises ConfigError."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OUR_VARIABLES)}
    errors = subprocess.DEVNULL if quiet else None
    try:
        process = await _start(command, environment, errors)
    except OSError as error:
        raise ConfigError(f"browser: {command[0]} cannot be run: {error.strerror or error}") from None
    with last_act(partial(_kill, process)):
        try:
            returned = await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                if process.returncode is None:
                    process.terminate()
                with trio.move_on_after(GRACE):
                    await process.wait()
                await _end(process)
    return returned if returned >= 0 else 128 - returned


if sys.platform == "win32":

    async def _start(command: list[str], environment: dict[str, str], errors: int | None) -> trio.Process:
        return await trio.lowlevel.open_process(command, env=environment, stdin=subprocess.DEVNULL, stderr=errors)

    def _kill(process: trio.Process) -> None:
        process.kill()

    async def _end(process: trio.Process) -> None:
        """End it if it did not when it was asked to; a browser's helpers there end with it."""
        process.kill()
        await process.wait()

else:

    async def _start(command: list[str], environment: dict[str, str], errors: int | None) -> trio.Process:
        return await trio.lowlevel.open_process(
            command, env=environment, stdin=subprocess.DEVNULL, stderr=errors, start_new_session=True
        )

    def _kill(process: trio.Process) -> None:
        """Kill it and what it started."""
        os.killpg(process.pid, signal.SIGKILL)

    async def _end(process: trio.Process) -> None:
        """End what is left of it and what it started, so that nobody writes to the profile any more."""
        try:
            _kill(process)
            with trio.move_on_after(_LINGER):
                while True:
                    os.killpg(process.pid, 0)
                    await trio.sleep(_LOOK)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left
        await process.wait()
