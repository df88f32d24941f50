"""Which browser of this machine to start."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from ...errors import ConfigError


class Family(Enum):
    """Browsers that are told the same in the same way."""

    CHROMIUM = "chromium"
    FIREFOX = "firefox"


@dataclass(frozen=True, slots=True)
class Browser:
    """A program to start."""

    path: str
    family: Family


_PROGRAMS: Mapping[str, tuple[Family, tuple[str, ...]]] = {
    "chromium": (Family.CHROMIUM, ("chromium", "chromium-browser")),
    "chrome": (Family.CHROMIUM, ("google-chrome", "google-chrome-stable", "chrome")),
    "edge": (Family.CHROMIUM, ("microsoft-edge", "microsoft-edge-stable", "msedge")),
    "brave": (Family.CHROMIUM, ("brave-browser", "brave")),
    "firefox": (Family.FIREFOX, ("firefox", "firefox-esr")),
}
"""What --browser takes, in the order in which they are looked for, and what the programs are called."""

_MACOS = {
    "chromium": "Chromium.app/Contents/MacOS/Chromium",
    "chrome": "Google Chrome.app/Contents/MacOS/Google Chrome",
    "edge": "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "brave": "Brave Browser.app/Contents/MacOS/Brave Browser",
    "firefox": "Firefox.app/Contents/MacOS/firefox",
}
_WINDOWS = {
    "chromium": r"Chromium\Application\chrome.exe",
    "chrome": r"Google\Chrome\Application\chrome.exe",
    "edge": r"Microsoft\Edge\Application\msedge.exe",
    "brave": r"BraveSoftware\Brave-Browser\Application\brave.exe",
    "firefox": r"Mozilla Firefox\firefox.exe",
}
_WINDOWS_ROOTS = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")

KNOWN = tuple(_PROGRAMS)


def find_browser(
    wanted: str | None,
    environ: Mapping[str, str] = os.environ,
    *,
    which: Callable[[str], str | None] = shutil.which,
    exists: Callable[[str], bool] = os.path.exists,
    platform: str = sys.platform,
) -> Browser:
    """Return the browser called ``wanted``, a name of KNOWN or a path; without, the first there is.

    Raises ConfigError.
    """
    if wanted is not None and wanted not in _PROGRAMS:
        return _named_by_path(wanted, which)
    for name in KNOWN if wanted is None else (wanted,):
        family, programs = _PROGRAMS[name]
        for program in programs:
            if (path := which(program)) is not None:
                return Browser(path, family)
        for path in _places(name, environ, platform):
            if exists(path):
                return Browser(path, family)
    missing = f"{wanted} is not installed" if wanted else "no browser is installed that can be told to use the tunnel"
    raise ConfigError(f"browser: {missing}", hint=f"Install one of {', '.join(KNOWN)}, or name one: --browser PATH")


def _named_by_path(wanted: str, which: Callable[[str], str | None]) -> Browser:
    path = which(wanted)
    if path is None:
        raise ConfigError(
            f"--browser: {wanted} cannot be run", hint=f"Give the path of one, or one of {', '.join(KNOWN)}"
        )
    # What is not Firefox or made of it, is taken for one made of Chromium: those have more names.
    name = os.path.basename(path.replace("\\", "/")).lower()
    firefox = any(word in name for word in ("firefox", "librewolf", "waterfox", "icecat"))
    return Browser(path, Family.FIREFOX if firefox else Family.CHROMIUM)


def _places(name: str, environ: Mapping[str, str], platform: str) -> list[str]:
    if platform == "darwin":
        return [f"{root}/Applications/{_MACOS[name]}" for root in ("", environ.get("HOME", ""))]
    if platform == "win32":
        roots = [environ[root] for root in _WINDOWS_ROOTS if environ.get(root)]
        return [f"{root}\\{_WINDOWS[name]}" for root in roots]
    return []
