"""``sstpsocks import``: read, print or write, and say what stays behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ...errors import ConfigError
from ..text import one_line
from .decoding import MAX_ARCHIVE
from .detect import Imported, read_profiles
from .link import SCHEME, read_link
from .profile import ImportedProfile
from .toml import render

STANDARD_INPUT = "-"


def run_import(source: str, output: str | None, *, with_secrets: bool) -> int:
    """Import from a file, a link or standard input, and return the exit code. Raises ConfigError."""
    imported = _read(source)
    text = render(imported.profiles, with_secrets=with_secrets)
    if output is None:
        sys.stdout.write(text)
    else:
        secret = with_secrets and any(profile.secrets for profile in imported.profiles)
        _write(Path(output), text, secret=secret)
    for line in imported.skipped:
        _say(f"skipped: {line}")
    for profile in imported.profiles:
        for line in _left_out(profile, with_secrets=with_secrets):
            _say(f"{profile.name}: not carried over: {line}")
    return 0


def _read(source: str) -> Imported:
    if source.lower().startswith(SCHEME):
        return Imported([read_link(source)])
    try:
        if source == STANDARD_INPUT:
            data = sys.stdin.buffer.read(MAX_ARCHIVE + 1)
        else:
            with Path(source).open("rb") as stream:
                data = stream.read(MAX_ARCHIVE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such file"
        raise ConfigError(f"cannot read {source}: {reason}", path=source) from None
    if len(data) > MAX_ARCHIVE:
        raise ConfigError(f"{source} is larger than {MAX_ARCHIVE} bytes", path=source)
    try:
        return read_profiles(data)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", path=source, line=error.line, hint=error.hint) from None


def _left_out(profile: ImportedProfile, *, with_secrets: bool) -> list[str]:
    secrets = (
        [] if with_secrets else [f"{key}: it is a secret; --with-secrets takes it along" for key in profile.secrets]
    )
    return [*secrets, *profile.not_carried]


def _write(path: Path, text: str, *, secret: bool) -> None:
    """Write a new file; the mode is there from the start, so that nobody can read a password in between."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already, and is not overwritten", path=str(path), hint="Name another --output"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot write {path}: {reason}", path=str(path)) from None


def _say(text: str) -> None:
    sys.stderr.write(f"{one_line(text)}\n")
