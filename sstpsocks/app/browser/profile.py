"""The browser's profile folder: a new one that goes with the browser, or one that was asked to be kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from ...errors import ConfigError
from ..signals import last_act

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ATTEMPTS = 20
_PAUSE = 0.1
"""Seconds; a browser's last processes still write for a moment after the first has ended."""


def profiles_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return where profiles are kept. Raises ConfigError."""
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "sstpsocks" / "browser"
    base = environ.get("XDG_DATA_HOME", "")
    # XDG Base Directory Specification: "All paths set in these environment variables must be absolute. If an
    # implementation encounters a relative path [...] it should consider the path invalid and ignore it."
    if os.path.isabs(base):
        return Path(base) / "sstpsocks" / "browser"
    try:
        return Path.home() / ".local" / "share" / "sstpsocks" / "browser"
    except RuntimeError:
        raise ConfigError("--keep-profile: there is no home folder to keep it in", hint="Set HOME") from None


@asynccontextmanager
async def profile_folder(keep: str | None, kind: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Path]:
    """Offer a folder that only its owner reads; ``kind`` tells the profiles of one browser from another's.

    Raises ConfigError.
    """
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="sstpsocks-browser-"))
        try:
            with last_act(partial(shutil.rmtree, folder, ignore_errors=True)):
                yield folder
        finally:
            await _remove(folder)
        return
    if not _NAME.fullmatch(keep):
        raise ConfigError(
            f'--keep-profile: "{keep}" is no name for a profile', hint="Use letters, digits, dots, - and _"
        )
    folder = profiles_folder(environ) / f"{keep}.{kind}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder, keep):
            yield folder
    except OSError as error:
        raise ConfigError(f"--keep-profile: cannot use {folder}: {error.strerror or error}") from None


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Keep a second start away: the browser would hand it to the first one, and that uses another tunnel."""
    with open(folder / ".sstpsocks-lock", "wb") as lock:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f'--keep-profile: another browser uses the profile "{name}" now',
                hint="Close it first, or give another name",
            ) from None
        yield


async def _remove(folder: Path) -> None:
    with trio.CancelScope(shield=True):  # what it holds was promised to go
        for _ in range(_ATTEMPTS):
            shutil.rmtree(folder, ignore_errors=True)
            if not await trio.Path(folder).exists():
                return
            await trio.sleep(_PAUSE)
