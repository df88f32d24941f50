"""Profiles written as TOML, so that our own reader takes them."""

from __future__ import annotations

import re

from .profile import ImportedProfile, Value

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHORT = {'"': '\\"', "\\": "\\\\"}


def render(profiles: list[ImportedProfile], *, with_secrets: bool) -> str:
    """Return the file's text: one [profiles.NAME] for each, names made different."""
    taken: set[str] = set()
    parts = []
    for profile in profiles:
        name = _unique(_name(profile.name), taken)
        lines = [f"[profiles.{name if _BARE.fullmatch(name) else _string(name)}]"]
        values: dict[str, Value] = {**profile.settings, **(profile.secrets if with_secrets else {})}
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _name(text: str) -> str:
    """Return what can be typed behind --profile."""
    cleaned = "".join(mark if mark.isprintable() and mark not in "\"'\\[]" else "_" for mark in text.strip())
    return cleaned[:100].strip() or "imported"


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    return _string(value[0]) if len(value) == 1 else f"[{', '.join(map(_string, value))}]"


def _string(text: str) -> str:
    # TOML 1.0: basic strings escape quotation mark, backslash and control characters; of these no value has any.
    return '"' + "".join(_SHORT.get(mark, mark) for mark in text) + '"'
