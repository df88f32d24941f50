"""``sstpsocks config check``: every mistake of a configuration file, not only the first.

Theory of operation. The reader of the file goes on behind a wrong key or type. What remains is built into settings, as
a connect would, for each profile by itself and for those that are up together; whatever is wrong then is reported, its
key taken out, and the rest built again, until nothing is wrong. That another key is missing, which was itself taken
out, is no mistake of its own. Nothing is asked for, run or connected to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..tunnel.client_certificate import PassphraseNeeded
from .config import build
from .configfile import HOSTS, ConfigFile, load
from .layers import Layer, Layers, Setting, file_layer
from .options import BY_KEY
from .rules_config import rules_of
from .sources import combine

EXIT_MISTAKES = 2

_PASSWORDS = ("password", "password_file", "password_command", "keyring")
_KEY = re.compile(r'(?:unknown key )?"?([A-Za-z_][A-Za-z0-9_-]*(?:\.[^\s:"]+)?)"?(: | must | \Z|\Z)')


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong."""

    line: int
    """Counted from 1; 0 when it is about the whole file."""
    key: str
    """Empty when it is about none."""
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in one file."""

    path: Path
    profiles: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Return 0, or 2 as for every error of the configuration."""
        return EXIT_MISTAKES if self.mistakes else 0

    def to_text(self) -> str:
        """Return a line for each mistake, as compilers write them."""
        lines = []
        for mistake in self.mistakes:
            where = f"{self.path}:{mistake.line}" if mistake.line else str(self.path)
            key = f"{mistake.key}: " if mistake.key else ""
            lines.append(f"{where}: {key}{mistake.message}" + (f". {mistake.hint}" if mistake.hint else ""))
        lines += [f"{self.path}: warning: {warning}" for warning in self.warnings]
        if not self.mistakes:
            lines.append(f"{self.path}: no mistakes; profiles: {', '.join(self.profiles) or 'none'}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return one JSON object."""
        mistakes = [
            {"line": mistake.line or None, "key": mistake.key or None, "message": mistake.message, "hint": mistake.hint}
            for mistake in self.mistakes
        ]
        document = {
            "file": str(self.path),
            "profiles": self.profiles,
            "mistakes": mistakes,
            "warnings": self.warnings,
        }
        return json.dumps(document, indent=2)


def find_mistakes(path: Path, environ: Mapping[str, str]) -> Verdict:
    """Look for everything that is wrong with a file."""
    # Only the file is judged, not what the environment would make of it.
    others = {
        name: value
        for name, value in environ.items()
        if not name.startswith("SSTPSOCKS_") and not name.lower().endswith("_proxy")
    }
    search = _Search(path)
    try:
        file = load(path, report=search.add)
    except ConfigError as error:
        search.add(error)
        return search.verdict(())
    defaults = file_layer(file.path, file.defaults, search.add)
    profiles = {name: file_layer(file.path, values, search.add) for name, values in file.profiles.items()}
    if len(profiles) < 2:
        search.build(profiles, defaults, file, others)
        return search.verdict(tuple(profiles))
    # Rules may name any of the profiles, so they are not about each one alone.
    alone = {key: setting for key, setting in defaults.items() if key != "rule"}
    for name, profile in profiles.items():
        search.build({name: profile}, alone, file, others)
    if file.chosen:
        search.build({name: profiles[name] for name in file.chosen}, defaults, file, others)
    else:
        search.try_rules(defaults, tuple(profiles))
    return search.verdict(tuple(profiles))


class _Search:
    """The mistakes found so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mistakes: dict[Mistake, None] = {}
        self._warnings: dict[str, None] = {}

    def verdict(self, profiles: tuple[str, ...]) -> Verdict:
        ordered = sorted(self._mistakes, key=lambda mistake: mistake.line)
        return Verdict(self._path, profiles, tuple(ordered), tuple(self._warnings))

    def add(self, error: ConfigError) -> None:
        """Remember a mistake, each once."""
        line = _line_of(error)
        text = str(error).removeprefix(f"{self._path}, line {line}: ").removeprefix(f"{self._path}: ")
        key = ""
        found = _KEY.match(text)
        known = found is not None and found[1].partition(".")[0] in (*BY_KEY, HOSTS)
        if found is not None and (known or text.startswith("unknown key")):
            key = found[1]
            text = text.removeprefix(f"{key}: ")
        self._mistakes[Mistake(line, key, text, error.hint)] = None

    def try_rules(self, defaults: Layer, profiles: tuple[str, ...]) -> None:
        """Look at the rules as with all profiles together."""
        try:
            rules_of(Layers((defaults,)), profiles)
        except ConfigError as error:
            self.add(error)

    def build(
        self, profiles: Mapping[str, Layer], defaults: Layer, file: ConfigFile, environ: Mapping[str, str]
    ) -> None:
        """Build settings until nothing is wrong with what is left."""
        tables = [dict(defaults), *(dict(profile) for profile in profiles.values())]
        taken_out: set[str] = set()
        while True:
            given: Layer = {}
            if not any("server" in table for table in tables):
                # It may be named by a flag; what is here can be judged without.
                given["server"] = Setting(BY_KEY["server"], ("server.invalid",), "SERVER")
            # Of several profiles each is judged alone, too; one may have a password and another ask for it.
            shared, *own = (any(key in table for key in _PASSWORDS) for table in tables)
            login = None if shared or (own and all(own)) else False
            try:
                named = dict(zip(profiles, tables[1:], strict=True))
                sources = combine((given, {}), named, tables[0], file)
                configuration = build(sources, environ, has_terminal=False, login=login)
            except ConfigError as error:
                # A pass phrase that a terminal is asked for is not missing.
                known = isinstance(error, PassphraseNeeded) or any(_mentions(error, key) for key in taken_out)
                if not known:
                    self.add(error)
                keys, fewer = _take_out(tables, error)
                taken_out |= keys
                if not keys and not fewer:
                    return
            else:
                self._warnings |= dict.fromkeys(configuration.warnings)
                return


def _mentions(error: ConfigError, key: str) -> bool:
    words = re.findall(r"[\w-]+", f"{error} {error.hint}")
    return BY_KEY[key].flag in words or key in words


def _line_of(error: ConfigError) -> int:
    """Return the line that the error is about, also where it only says so."""
    said = re.search(r", line (\d+): ", str(error))
    return error.line or (int(said[1]) if said is not None else 0)


def _take_out(tables: list[Layer], error: ConfigError) -> tuple[set[str], bool]:
    """Remove what stands on the line of the error; return the keys that are gone, and whether a table lost an entry."""
    found = set()
    fewer = False
    line = _line_of(error)
    for table in tables:
        for key, setting in list(table.items()):
            if line and line in (setting.line, *(own for _, own in setting.parts)):
                rest = setting.without(line)
                if rest is not None:
                    table[key] = rest
                    fewer = True
                else:
                    del table[key]
                    found.add(key)
    return found, fewer
