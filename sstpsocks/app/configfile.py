"""The configuration file: where it is, what is in it, and on which line.

The library that parses TOML keeps no line numbers; the lines of keys are found by a second, simple scan.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ..base.suggestion import did_you_mean
from ..errors import ConfigError
from .options import BY_KEY, Kind, Option, Place, keys_of
from .private_files import looseness

FILE_NAME = "config.toml"
FOLDER_NAME = "sstpsocks"
PROFILES = "profiles"
DEFAULT_PROFILE = "default_profile"
HOSTS = "hosts"
USERS = "users"
USER_FIELDS = ("what it is", "name", "password or file")
"""What a user of the table is made of; NUL stands between them."""
_USER_KEYS = ("password", "password_file")

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_TABLE_LINE = re.compile(rf"\s*\[\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*\]")
_KEY_LINE = re.compile(rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
_PROFILES_HINT = f'Which of them are used says {DEFAULT_PROFILE} = ["a", "b"]'
_ERROR_POSITION = re.compile(r"\s*\(at line (\d+), column \d+\)$")


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value of the file and where it stands."""

    option: Option
    value: str | int | float | bool | tuple[str, ...] = field(repr=False)
    """Checked for its type only. Not in the repr: it may be a password."""
    line: int
    """Counted from 1; 0 when not known."""
    parts: tuple[tuple[str, int], ...] = ()
    """Of a table what each entry is called, "hosts.wiki.example", and its line."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file says, with profiles and defaults apart."""

    path: Path
    chosen: dict[str, dict[str, FileValue]]
    """The values of the chosen profiles by name and key, in the order of the choice; empty without one."""
    profiles: dict[str, dict[str, FileValue]]
    """The values of all profiles."""
    defaults: dict[str, FileValue]
    """The values at the top level by key."""


def config_folder(environ: Mapping[str, str], *, platform: str = sys.platform, home: str | None = None) -> Path | None:
    """Return the folder of the program's configuration, None when there is no home to look in."""
    if home is None:
        try:
            home = str(Path.home())
        except RuntimeError:
            home = ""
    if platform == "win32":
        base = environ.get("APPDATA", "")
    elif platform == "darwin":
        base = f"{home}/Library/Application Support" if home else ""
    else:
        base = environ.get("XDG_CONFIG_HOME", "")
        # XDG Base Directory Specification: "All paths set in these environment variables must be absolute. If an
        # implementation encounters a relative path ... it should consider the path invalid and ignore it."
        if not PurePath(base).is_absolute():
            base = f"{home}/.config" if home else ""
    return Path(base) / FOLDER_NAME if base else None


Report = Callable[[ConfigError], None]


def _refuse(error: ConfigError) -> None:
    raise error


def load(path: Path, profiles: Sequence[str] = (), *, report: Report = _refuse) -> ConfigFile:
    """Read the file and choose profiles: those given, else those that ``default_profile`` names.

    ``report`` is called with every mistake, and may go on to the next; what is wrong is then left out.

    Raises ConfigError with path and line: no such file, no TOML, an unknown key, a wrong type, an unknown profile,
    a file with a password that every user can read.
    """
    import tomllib  # loaded by those only who have a file

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read the configuration file {path}: {reason}", path=str(path)) from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        position = _ERROR_POSITION.search(str(error))
        line = int(position[1]) if position else 0
        reason = _ERROR_POSITION.sub("", str(error))
        raise _error(path, line, f"this is not TOML: {reason}") from None
    lines = _lines_of_keys(text)
    reader = _Reader(path, lines, report)
    known = reader.profiles(document)
    defaults = reader.values(document, (), {PROFILES, DEFAULT_PROFILE})
    chosen = {}
    for name in profiles or reader.default_profiles(document):
        if name in known:
            chosen[name] = known[name]
        else:
            listing = ", ".join(sorted(known)) or "none"
            line = 0 if profiles else lines.get((DEFAULT_PROFILE,), 0)
            hint = f"{did_you_mean(name, known)} The profiles are: {listing}".strip()
            report(_error(path, line, f'there is no profile "{name}"', hint=hint))
    _check_permissions(path, report, has_password=any(map(_has_password, (defaults, *known.values()))))
    return ConfigFile(path, chosen, known, defaults)


class _Reader:
    """Turns the tables of one document into checked values."""

    def __init__(self, path: Path, lines: dict[tuple[str, ...], int], report: Report) -> None:
        self._path = path
        self._lines = lines
        self._report = report

    def _wrong(self, line: int, message: str, *, hint: str = "") -> None:
        self._report(_error(self._path, line, message, hint=hint))

    def _line(self, *keys: str) -> int:
        return self._lines.get(keys, 0)

    def profiles(self, document: dict[str, Any]) -> dict[str, dict[str, FileValue]]:
        """Check every profile, also those that are not used: a misspelt key is best found at once."""
        tables = document.get(PROFILES, {})
        if not isinstance(tables, dict):
            self._wrong(self._line(PROFILES), '"profiles" must hold tables: [profiles.NAME]', hint=_PROFILES_HINT)
            return {}
        result = {}
        for name, table in tables.items():
            if isinstance(table, dict):
                result[name] = self.values(table, (PROFILES, name), set())
            else:
                line = self._line(PROFILES, name)
                self._wrong(line, f'"profiles.{name}" must be a table: [profiles.{name}]')
        return result

    def default_profiles(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Return the profiles to use when none is asked for."""
        names = document.get(DEFAULT_PROFILE, [])
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            line = self._line(DEFAULT_PROFILE)
            self._wrong(line, f'"{DEFAULT_PROFILE}" must be a string or a list of strings')
            return ()
        return tuple(dict.fromkeys(names))

    def values(self, table: dict[str, Any], where: tuple[str, ...], other: set[str]) -> dict[str, FileValue]:
        known = keys_of(Place.FILE)
        result: dict[str, FileValue] = {}
        for key, value in table.items():
            if key in other:
                continue
            line = self._line(*where, key)
            if key == HOSTS and isinstance(value, dict):
                hosts = self._hosts(value, where, line)
                before = result.get("host")
                if before is not None and isinstance(before.value, tuple):
                    parts = (*(before.parts or (("host", before.line),) * len(before.value)), *hosts.parts)
                    hosts = FileValue(hosts.option, (*before.value, *_texts(hosts)), line, parts)
                result["host"] = hosts
                continue
            if key == USERS:
                users = self._users(value, where, line)
                if users is not None:
                    result[key] = users
                continue
            if key not in known:
                self._wrong(line, f'unknown key "{key}"', hint=_hint_for(key, (*known, *other)))
                continue
            option = BY_KEY[key]
            typed = self._typed(option, value, line)
            if typed is not None:
                result[key] = FileValue(option, typed, line)
        return result

    def _hosts(self, table: dict[str, Any], where: tuple[str, ...], line: int) -> FileValue:
        """Return the table of names and their addresses as the option "host" has them."""
        pairs: list[str] = []
        parts: list[tuple[str, int]] = []
        for name, addresses in table.items():
            several = addresses if isinstance(addresses, list) else [addresses]
            own_line = self._line(*where, HOSTS, name) or line
            if all(isinstance(address, str) for address in several):
                pairs += [f"{name}={address}" for address in several]
                parts += [(f"{HOSTS}.{name}", own_line)] * len(several)
            else:
                # A dotted name without quotation marks is a table in TOML.
                hint = ""
                if isinstance(addresses, dict):
                    hint = f'Put the name in quotation marks: "{name}.{next(iter(addresses), "")}"'
                self._wrong(own_line, f'"{HOSTS}.{name}" must be {Kind.LIST.value}: its addresses', hint=hint)
        return FileValue(BY_KEY["host"], tuple(pairs), line, tuple(parts))

    def _users(self, table: Any, where: tuple[str, ...], line: int) -> FileValue | None:
        """Return the table of users with what each password is, None when there is nothing in it that is right."""
        if not isinstance(table, dict) or not table:
            # An empty list must not open the port to everybody.
            self._wrong(line, f'"{USERS}" must be a table of names with their passwords: [{USERS}]')
            return None
        entries: list[str] = []
        parts: list[tuple[str, int]] = []
        for name, value in table.items():
            own_line = self._line(*where, USERS, name) or line
            given = {"password": value} if isinstance(value, str) else value
            kinds = list(given) if isinstance(given, dict) else []
            if len(kinds) == 1 and kinds[0] in _USER_KEYS and isinstance(given[kinds[0]], str) and "\0" not in name:
                entries.append("\0".join((kinds[0], name, given[kinds[0]])))
                parts.append((f"{USERS}.{name}", own_line))
            else:
                unknown = [kind for kind in kinds if kind not in _USER_KEYS]
                hint = _hint_for(unknown[0], _USER_KEYS) if unknown else ""
                wanted = 'a password, or { password_file = "FILE" }'
                self._wrong(own_line, f'"{USERS}.{name}" must be {wanted}', hint=hint)
        return FileValue(BY_KEY[USERS], tuple(entries), line, tuple(parts)) if entries else None

    def _typed(self, option: Option, value: Any, line: int) -> str | int | float | bool | tuple[str, ...] | None:
        """Return the value, None when it is of the wrong type and that was reported."""
        kind = option.kind
        if kind is Kind.SWITCH:
            good = isinstance(value, bool)
        elif isinstance(value, bool):
            good = False
        elif kind in (Kind.INTEGER, Kind.COUNT):
            good = isinstance(value, int)
        elif kind is Kind.SECONDS:
            good = isinstance(value, int | float)
        elif kind is Kind.LIST and isinstance(value, list):
            good = all(isinstance(item, str) for item in value)
            value = tuple(value)
        elif option.key == "listen" and isinstance(value, int):
            good, value = True, str(value)  # a bare port is natural to write as a number
        else:
            good = isinstance(value, str)
        if not good:
            # The value itself stays out of the message: it may be a password.
            self._wrong(line, f'"{option.key}" must be {kind.value}')
            return None
        return value  # type: ignore[no-any-return]  # Any by tomllib's nature, checked above


def _texts(value: FileValue) -> tuple[str, ...]:
    return value.value if isinstance(value.value, tuple) else ()


def _has_password(values: Mapping[str, FileValue]) -> bool:
    users = values.get(USERS)
    named = users is not None and any(entry.startswith("password\0") for entry in _texts(users))
    return named or "password" in values or "proxy_password" in values


def _hint_for(key: str, known: Iterable[str]) -> str:
    return did_you_mean(key.replace("-", "_").lower(), known) or "docs/configuration.md lists the keys"


def _error(path: Path, line: int, message: str, *, hint: str = "") -> ConfigError:
    where = f"{path}, line {line}" if line else str(path)
    return ConfigError(f"{where}: {message}", path=str(path), line=line, hint=hint)


def _split_key(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, text))


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of every key by its full path, as far as a look at each line alone can tell."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    inside_string = ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside_string:
            if line.count(inside_string) % 2:
                inside_string = ""
            continue
        if header := _TABLE_LINE.match(line):
            table = _split_key(header[1])
            found.setdefault(table, number)
        elif key := _KEY_LINE.match(line):
            path = (*table, *_split_key(key[1]))
            for length in range(1, len(path) + 1):
                found.setdefault(path[:length], number)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                inside_string = quotes
    return found


def world_permissions(path: str | os.PathLike[str]) -> int:
    """Return what users outside owner and group may do, as bits of stat.S_IRWXO; 0 where files have no such bits."""
    if os.name != "posix":
        return 0
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return 0
    # A pipe such as /dev/fd/63 of a shell's <(command) is shared with nobody by its mode.
    return stat.S_IMODE(mode) & stat.S_IRWXO if stat.S_ISREG(mode) else 0


def _check_permissions(path: Path, report: Report, *, has_password: bool) -> None:
    permissions = world_permissions(path)
    if permissions & stat.S_IWOTH:
        text, hint = f"{path} can be changed by every user of this machine", f"Run: chmod o-w {path}"
        report(ConfigError(text, path=str(path), hint=hint))
    if has_password and (text := looseness(path)):
        text, hint = f"it holds a password, and {text}", f"Run: chmod 600 {path}"
        report(ConfigError(text, path=str(path), hint=hint))
