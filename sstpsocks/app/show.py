"""``sstpsocks config show``: what holds, and where each value came from, as a file that could be pasted.

Secrets are left out: their place says where they come from, and nothing else.
"""

from __future__ import annotations

import json
import re

from .layers import Layers, Raw, Setting
from .options import BY_KEY, OPTIONS, SHARED, Option, Place
from .sources import PORTS, Sources
from .toml_text import toml_key, toml_value

_USER_INFORMATION = re.compile(r"(://[^/@:]*):[^/@]*@")
_HIDDEN = "(hidden)"


def show_toml(sources: Sources) -> str:
    """Return the merged view as TOML, defaults and secrets as comments."""
    if len(sources.tunnels) == 1:
        ((name, layers),) = sources.tunnels.items()
        title = f"# profile {toml_key(name)}" if name else "# no profile"
        return "\n".join([title, *_lines(layers, _in_file())]) + "\n"
    names = ", ".join(toml_value(name) for name in sources.tunnels)
    lines = [f"default_profile = [{names}]"]
    lines += _lines(sources.shared, [option for option in _in_file() if option.key in (*SHARED, *PORTS)])
    for name, layers in sources.tunnels.items():
        lines += ["", f"[profiles.{toml_key(name)}]"]
        # A profile without a port has none of its own.
        lines += _lines(layers, [option for option in _in_file() if option.key not in SHARED], own_port=False)
    return "\n".join(lines) + "\n"


def show_json(sources: Sources) -> str:
    """Return the merged view as one JSON object."""
    document: dict[str, object] = {
        "file": str(sources.file.path) if sources.file is not None else None,
        "tunnels": {name: _values(layers) for name, layers in sources.tunnels.items()},
    }
    if len(sources.tunnels) > 1:
        shared = _values(sources.shared)
        document["shared"] = {key: value for key, value in shared.items() if key in (*SHARED, *PORTS)}
    return json.dumps(document, indent=2)


def _in_file() -> list[Option]:
    return [option for option in OPTIONS if Place.FILE in option.places]


def _lines(layers: Layers, options: list[Option], *, own_port: bool = True) -> list[str]:
    lines = []
    for option in options:
        setting = layers.find(option.key)
        if setting is not None:
            value = _shown(setting)
            mark = "# " if value == _HIDDEN else ""
            text = _HIDDEN if value == _HIDDEN else toml_value(value)
            lines.append(f"{mark}{option.key} = {text}  # {_origin(setting)}")
        elif option.default and (own_port or option.key != "listen"):
            lines.append(f"# {option.key} = {toml_value(_default(option))}  # default")
    return lines


def _values(layers: Layers) -> dict[str, object]:
    values: dict[str, object] = {}
    for option in OPTIONS:
        setting = layers.find(option.key)
        if setting is not None:
            values[option.key] = {"value": _shown(setting), "from": _source(setting), "where": setting.origin}
        elif option.default:
            values[option.key] = {"value": _default(option), "from": "default", "where": ""}
    return values


def _shown(setting: Setting) -> Raw:
    if setting.option.secret:
        return _HIDDEN
    value = setting.value
    # A proxy's address may carry a password.
    return _USER_INFORMATION.sub(r"\1:***@", value) if isinstance(value, str) else value


def _default(option: Option) -> Raw:
    text = option.default
    if option.kind.name in ("INTEGER", "SECONDS", "COUNT"):
        return float(text) if "." in text else int(text)
    if option.kind.name == "LIST":
        return tuple(text.split(","))
    return text


def _source(setting: Setting) -> str:
    if setting.path:
        return "file"
    return "environment" if setting.origin == BY_KEY[setting.option.key].variable else "flag"


def _origin(setting: Setting) -> str:
    return setting.origin.rpartition(": ")[0] if setting.path else setting.origin
