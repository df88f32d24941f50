"""Values written as TOML 1.0."""

from __future__ import annotations

import re

from .layers import Raw

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_key(key: str) -> str:
    """Return a key, in quotation marks where it needs them."""
    return key if _BARE.fullmatch(key) else _string(key)


def toml_value(value: Raw) -> str:
    """Return a value; of a list with one item the item."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    return _string(value[0]) if len(value) == 1 else f"[{', '.join(map(_string, value))}]"


def _string(text: str) -> str:
    return '"' + "".join(_escaped(mark) for mark in text) + '"'


def _escaped(mark: str) -> str:
    # TOML 1.0: "Any Unicode character may be used except those that must be escaped: quotation mark, backslash, and
    # the control characters other than tab".
    if mark in _SHORT:
        return _SHORT[mark]
    return f"\\u{ord(mark):04X}" if ord(mark) < 0x20 or ord(mark) == 0x7F else mark
