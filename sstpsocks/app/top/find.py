"""Where the running program's status port is: as said, or as the environment, the file or the ready file tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...base.listen_address import TcpAddress, UnixAddress
from ...errors import ConfigError
from ..layers import Layers
from ..listen_config import parse_listen_address
from ..messages import UNIX
from ..sources import read_sources
from ..values import split_host_port
from .client import NotRunning, Place

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - asked, not bound
_HINT = "Start it with --status 127.0.0.1:9090, and name that with --status or SSTPSOCKS_STATUS"


def find_place(given: Mapping[str, object], environ: Mapping[str, str]) -> Place:
    """Return where to ask. ``given``: what the command line says, None where it says nothing.

    Raises ConfigError for what cannot be understood or found out, NotRunning when nothing has written the ready file.
    """
    layers = read_sources(given, environ).shared
    credentials = _credentials(given, layers)
    status, ready_file = given.get("status"), given.get("ready_file")
    if isinstance(status, str):
        place = _place(status, "--status")
        if place is not None:
            return _with(place, credentials)
    if not isinstance(ready_file, str):
        setting = layers.find("status")
        values = setting.value if setting is not None and isinstance(setting.value, tuple) else ()
        for value in values:
            place = _place(value, setting.origin if setting is not None else "status")
            if place is not None:
                return _with(place, credentials)
        ready_file = layers.text("ready_file")
    if ready_file is None:
        raise ConfigError("it is not known where the status port is", hint=_HINT)
    return _with(_from_ready_file(Path(ready_file)), credentials)


def _place(text: str, origin: str) -> Place | None:
    """Return the place, None when a listener cannot be asked for by what was configured: port 0, systemd."""
    try:
        address = parse_listen_address(text.removeprefix("http://").rstrip("/"))
    except ValueError as error:
        raise ConfigError(f"{origin}: {error}") from None
    if isinstance(address, UnixAddress):
        return Place("", path=str(address.path))
    if isinstance(address, TcpAddress) and address.port:
        return Place(_ANYWHERE.get(address.host, address.host), address.port)
    return None


def _from_ready_file(path: Path) -> Place:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotRunning(f"there is no ready file {path}", hint="sstpsocks is not running, or not up yet") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the ready file {path}: {error}") from None
    places = document.get("status_listen") if isinstance(document, dict) else None
    if not isinstance(places, list) or not places:
        raise ConfigError(f"the ready file {path} names no status port", hint=_HINT)
    text = str(places[0])
    if text.startswith(UNIX):
        return Place("", path=text.removeprefix(UNIX))
    host, port = split_host_port(text)
    host = host.strip("[]")
    return Place(_ANYWHERE.get(host, host), port or 0)


def _credentials(given: Mapping[str, object], layers: Layers) -> tuple[str, str] | None:
    user = given.get("status_user") or layers.text("status_user")
    path = given.get("status_password_file") or layers.text("status_password_file")
    if not user or not path:
        return None
    try:
        lines = Path(str(path)).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--status-password-file: cannot read {path}: {error}") from None
    return str(user), lines[0] if lines else ""


def _with(place: Place, credentials: tuple[str, str] | None) -> Place:
    return Place(place.host, place.port, place.path, credentials)
