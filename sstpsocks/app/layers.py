"""Where a value comes from: flags beat the environment, which beats the profile, which beats the file's defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from ..base.suggestion import did_you_mean
from ..errors import ConfigError
from .configfile import FileValue, Report
from .options import ENVIRONMENT_PREFIX, OPTIONS, Kind, Option, Place

Raw = str | int | float | bool | tuple[str, ...]
T = TypeVar("T")

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, checked for type, range and choices, and where it was given."""

    option: Option
    value: Raw = field(repr=False)
    """Not in the repr: it may be a password."""
    origin: str
    """How messages call it: "--mtu", "SSTPSOCKS_MTU" or "/etc/sstpsocks.toml, line 3: mtu"."""
    path: str = ""
    line: int = 0
    parts: tuple[tuple[str, int], ...] = ()
    """Of a table in a file what each entry is called, and its line."""

    def with_value(self, value: Raw) -> Setting:
        """Return the same with another value."""
        return replace(self, value=value)

    def item(self, index: int) -> Setting:
        """Return one entry of a table with its own place, for what is wrong with it; of a list the list itself."""
        if not self.parts:
            return self
        name, line = self.parts[index]
        return replace(self, origin=f"{self.path}, line {line}: {name}", line=line, parts=())

    def without(self, line: int) -> Setting | None:
        """Return a table without the entries on a line, None when nothing is left, or it is no table."""
        kept = [index for index, (_, own) in enumerate(self.parts) if own != line]
        if not kept or not isinstance(self.value, tuple):
            return None
        return replace(
            self, value=tuple(self.value[index] for index in kept), parts=tuple(self.parts[index] for index in kept)
        )

    def error(self, message: str, *, hint: str = "") -> ConfigError:
        """Return the error that says what is wrong with this value, and where it stands."""
        return ConfigError(f"{self.origin}: {message}", path=self.path, line=self.line, hint=hint)


Layer = dict[str, Setting]
"""The settings of one source by key."""


def flag_layer(arguments: Mapping[str, object]) -> Layer:
    """Return what the command line gave: attributes of argparse's result, None where not given."""
    layer: Layer = {}
    for option in OPTIONS:
        given = arguments.get(option.key)
        if given is None:
            continue
        if isinstance(given, list):
            given = tuple(str(item) for item in given)
        elif not isinstance(given, str | int):
            raise TypeError(f"argparse made {given!r} of {option.flag}")
        layer[option.key] = _from_text(Setting(option, given, option.flag))
    return layer


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Return what the environment gives. A variable that is set to nothing counts as not set."""
    layer: Layer = {}
    for option in OPTIONS:
        if Place.ENVIRONMENT in option.places and environ.get(option.variable):
            layer[option.key] = _from_text(Setting(option, environ[option.variable], option.variable))
    return layer


def misspelt_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a warning for every variable that looks like a misspelt one of ours."""
    known = [option.key.upper() for option in OPTIONS if Place.ENVIRONMENT in option.places]
    warnings = []
    for name in sorted(environ):
        rest = name.removeprefix(ENVIRONMENT_PREFIX)
        if rest != name and rest not in known:
            import difflib

            # Others may use the prefix for their own purposes, so only near misses are worth a word.
            close = difflib.get_close_matches(rest, known, n=1, cutoff=0.84)
            if close:
                meant = ENVIRONMENT_PREFIX + close[0]
                warnings.append(f"the environment variable {name} is not known; did you mean {meant}?")
    return warnings


def file_layer(path: Path, values: Mapping[str, FileValue], report: Report | None = None) -> Layer:
    """Return the settings of one table of the file. What is out of range is raised, or given to ``report``."""
    layer: Layer = {}
    for key, given in values.items():
        where = f"{path}, line {given.line}: {key}" if given.line else f"{path}: {key}"
        value = given.value
        option = given.option
        setting = Setting(option, value, where, str(path), given.line, given.parts)
        if option.kind is Kind.PATH:
            # A file's own paths are relative to it: the program may be started anywhere.
            setting = _replace(setting, str(path.parent / os.path.expanduser(str(value))))
        elif option.kind is Kind.LIST and not given.parts:
            items = value if isinstance(value, tuple) else (str(value),)
            setting = _replace(setting, _split_list(option, items))
        try:
            layer[key] = _in_range(setting)
        except ConfigError as error:
            if report is None:
                raise
            report(error)
    return layer


def _replace(setting: Setting, value: Raw) -> Setting:
    return setting.with_value(value)


def _split_list(option: Option, items: Iterable[str]) -> tuple[str, ...]:
    if option.key == "profile":  # names may hold spaces
        return tuple(part.strip() for item in items for part in item.split(",") if part.strip())
    if option.key == "rule":  # one rule has spaces and commas
        return tuple(part.strip() for item in items for part in item.split(";") if part.strip())
    return tuple(part for item in items for part in item.replace(",", " ").split())


def _from_text(setting: Setting) -> Setting:
    """Give the text of a flag or variable the type of its option."""
    option, value = setting.option, setting.value
    if isinstance(value, tuple):
        # Each flag names one profile, whatever is in the name.
        return setting if option.key == "profile" else _replace(setting, _split_list(option, value))
    if not isinstance(value, str):
        return _in_range(setting)
    match option.kind:
        case Kind.LIST:
            return _replace(setting, _split_list(option, (value,)))
        case Kind.PATH:
            if not value:
                raise setting.error("the file name is empty")
            return _replace(setting, os.path.expanduser(value))
        case Kind.SWITCH:
            if value.lower() not in _TRUE | _FALSE:
                raise setting.error(f'"{value}" is neither 1 (true, yes, on) nor 0 (false, no, off)')
            return _replace(setting, value.lower() in _TRUE)
        case Kind.INTEGER | Kind.COUNT:
            try:
                return _in_range(_replace(setting, int(value)))
            except ValueError:
                raise setting.error(f'"{value}" is not a whole number') from None
        case Kind.SECONDS:
            try:
                return _in_range(_replace(setting, float(value.removesuffix("s"))))
            except ValueError:
                raise setting.error(f'"{value}" is not a number of seconds') from None
        case Kind.TEXT:
            return _in_range(setting)


def _in_range(setting: Setting) -> Setting:
    """Check range and choices. Raises ConfigError."""
    option, value = setting.option, setting.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = option.minimum, option.maximum
        # Written so that not-a-number fails, too.
        if low is not None and high is not None and not low <= value <= high:
            raise setting.error(f"{value:g} is not from {low:g} to {high:g}")
    if option.choices and value not in option.choices:
        meant = did_you_mean(str(value), option.choices)
        raise setting.error(f'"{value}" is none of: {", ".join(option.choices)}', hint=meant)
    return setting


class Layers:
    """All sources in order of precedence, strongest first."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        self.all = tuple(layers)

    def find(self, key: str) -> Setting | None:
        """Return the strongest setting of one option."""
        return self.first_of(key)

    def first_of(self, *keys: str) -> Setting | None:
        """Return the setting of options that exclude each other from the strongest source that gives any of them.

        Raises ConfigError when one source gives two of them.
        """
        for layer in self.all:
            given = [layer[key] for key in keys if key in layer]
            if len(given) > 1:
                raise given[1].error(f"cannot be used together with {given[0].origin}")
            if given:
                return given[0]
        return None

    def text(self, key: str) -> str | None:
        """Return the value of an option that is a string."""
        setting = self.find(key)
        return None if setting is None else str(setting.value)

    def integer(self, key: str, default: int) -> int:
        """Return the value of an option that is a whole number."""
        setting = self.find(key)
        return default if setting is None else int(str(setting.value))

    def seconds(self, key: str, default: float) -> float:
        """Return the value of an option that is a number of seconds."""
        setting = self.find(key)
        return default if setting is None else float(str(setting.value))

    def switch(self, key: str) -> bool:
        """Return the value of an option that is on or off; off unless given."""
        setting = self.find(key)
        return setting is not None and setting.value is True

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """Return ``parse`` of the value, None when not given; a ValueError becomes a ConfigError."""
        setting = self.find(key)
        if setting is None:
            return None
        return parse_setting(setting, parse)


def parse_setting(setting: Setting, parse: Callable[[str], T]) -> T:
    """Return ``parse`` of the value; its ValueError becomes a ConfigError that says where the value stands."""
    try:
        return parse(str(setting.value))
    except ValueError as error:
        raise setting.error(str(error)) from None
