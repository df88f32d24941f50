"""The snapshot (app/status/snapshot.py) out of JSON, also of an older or newer program.

Keys that are not known are skipped. Keys that are missing, and values of another type than expected, become the
field's default, or else nothing: 0, "", (), None. So a view may show less, and never breaks.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def decode(kind: type[T], document: object) -> T:
    """Return the dataclass ``kind`` made of a JSON object; of anything else one that holds nothing."""
    made: T = _decode(kind, document)
    return made


def _decode(kind: Any, document: object) -> Any:
    given = document if isinstance(document, Mapping) else {}
    values: dict[str, Any] = {}
    for field in fields(kind):
        hint = _hints(kind)[field.name]
        value = _value(hint, given[field.name]) if field.name in given else None
        if value is None and not _optional(hint):
            value = field.default if field.default is not MISSING else _nothing(hint)
        values[field.name] = value
    return kind(**values)


def _optional(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and type(None) in get_args(hint)


def _value(hint: Any, value: Any) -> Any:
    """Return the value as the hint wants it, None when it is no such value."""
    if isinstance(hint, types.UnionType):
        (hint,) = (each for each in get_args(hint) if each is not type(None))
        return None if value is None else _value(hint, value)
    origin = get_origin(hint)
    if origin is tuple:
        return _items(get_args(hint)[0], value)
    if origin is Mapping:
        of = get_args(hint)[1]
        return {key: item for key, item in value.items() if type(item) is of} if isinstance(value, dict) else None
    if is_dataclass(hint):
        return _decode(hint, value) if isinstance(value, dict) else None
    if hint is float:
        return float(value) if type(value) in (int, float) else None
    return value if type(value) is hint else None


def _items(hint: Any, value: Any) -> Any:
    if not isinstance(value, list):
        return None
    found = (_value(hint, item) for item in value)
    # Where None is a value (a gap in a chart) it keeps its place.
    return tuple(item for item in found if item is not None or _optional(hint))


def _nothing(hint: Any) -> Any:
    """Return the value that a missing field has."""
    if is_dataclass(hint):
        return _decode(hint, {})
    origin = get_origin(hint)
    return {} if origin is Mapping else () if origin is tuple else hint()
