"""Settings of the local port: where it is, and who may use it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ..base.listen_address import DEFAULT_MODE, Activated, ListenAddress, TcpAddress, UnixAddress
from ..errors import ConfigError
from . import values
from .credentials import first_line_of
from .layers import Layers, Setting
from .options import DEFAULT_LISTEN, DEFAULT_MAX_CONNECTIONS, option_of
from .private_files import check_private
from .users_config import MAX_SOCKS_FIELD, users_of

if TYPE_CHECKING:
    from ..proxy.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenSettings:
    """Where and to whom the port is offered."""

    addresses: tuple[ListenAddress, ...]
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password that local programs must give (RFC 1929, HTTP Basic), None for none."""
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """More of them, out of a file or the table [users]."""
    max_connections: int = DEFAULT_MAX_CONNECTIONS
    max_per_client: int | None = None
    """How many of them one client may have; None: as many as there are."""
    same_user: bool = False
    """Whether other users of this machine are cut off."""
    open_to_all: bool = False
    """Whether other machines may reach it: there are credentials, or the user said so."""
    in_force: Users | None = field(default=None, repr=False, compare=False)
    """Who may use it as long as it runs, exchangeable; None: just ``all_users``."""

    @property
    def all_users(self) -> tuple[tuple[str, str], ...]:
        """Everybody who may use the port; nobody: it asks nobody."""
        return ((self.credentials,) if self.credentials else ()) + self.users


def listen_settings(layers: Layers) -> ListenSettings:
    """Return the settings of the port. Raises ConfigError."""
    setting = layers.find("listen")
    addresses = (parse_listen_address(DEFAULT_LISTEN),) if setting is None else listen_addresses(setting)
    credentials = credentials_of(layers, "socks_user", "socks_password_file")
    users = users_of(layers)
    allowed = bool(credentials or users) or layers.switch("allow_remote")
    check_reach(
        addresses,
        allowed,
        "would let other machines into the private network without a password",
        "Listen on 127.0.0.1, or ask for credentials with --socks-user and --socks-password-file, "
        "or say --allow-remote",
        setting,
    )
    return ListenSettings(
        addresses=addresses,
        credentials=credentials,
        users=users,
        max_connections=layers.integer("max_connections", DEFAULT_MAX_CONNECTIONS),
        max_per_client=layers.integer("max_connections_per_client", 0) or None,
        same_user=_same_user(layers),
        open_to_all=allowed,
    )


def check_reach(
    addresses: Sequence[ListenAddress], allowed: bool, danger: str, hint: str, setting: Setting | None = None
) -> None:
    """Refuse addresses that other machines reach, unless that is allowed; ``setting``: where they were given.

    Raises ConfigError.
    """
    wrong = setting.error if setting is not None else ConfigError
    for address in addresses:
        if isinstance(address, TcpAddress) and not (allowed or values.is_loopback(address.host)):
            raise wrong(f"listening on {address.host} {danger}", hint=hint)


def _same_user(layers: Layers) -> bool:
    if not layers.switch("same_user"):
        return False
    from ..proxy.peer_user import can_tell_users  # not before the server is called: it is for those only who ask

    if not can_tell_users():
        raise ConfigError(
            "--same-user: only Linux tells whose a connection is",
            hint="Ask for credentials with --socks-user and --socks-password-file, or listen on a Unix socket",
        )
    return True


def listen_addresses(setting: Setting) -> tuple[ListenAddress, ...]:
    """Return where to listen. Raises ConfigError."""
    given = setting.value if isinstance(setting.value, tuple) else (str(setting.value),)
    folder = Path(setting.path).parent if setting.path else Path()
    try:
        return tuple(dict.fromkeys(parse_listen_address(text, folder) for text in given))
    except ValueError as error:
        raise setting.error(str(error)) from None


def parse_listen_address(text: str, folder: Path = Path()) -> ListenAddress:
    """Read ``[HOST:]PORT``, ``unix:PATH[?mode=0600]`` or ``systemd[:NAME]``; ``folder``: what a path is relative to.

    Raises ValueError.
    """
    stripped = text.strip()
    kind, _, rest = stripped.partition(":")
    if kind == "unix":
        return _parse_unix(rest, folder)
    if kind == "systemd":
        return Activated(rest)
    return TcpAddress(*values.parse_listen(stripped))


def _parse_unix(text: str, folder: Path) -> UnixAddress:
    path, _, query = text.partition("?")
    if not path or "\0" in path:
        raise ValueError("unix: needs the path of the socket behind it")
    mode = DEFAULT_MODE
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key != "mode":
            raise ValueError(f'"{key}" behind unix:{path} is not known, only mode is')
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise ValueError(f'"{value}" is no mode of a file, such as 0600 or 0660')
    return UnixAddress((folder / os.path.expanduser(path)).absolute(), mode)


def credentials_of(layers: Layers, user_key: str, file_key: str) -> tuple[str, str] | None:
    """Return the user name and password that are asked for at a port, None for none. Raises ConfigError."""
    user, file = layers.find(user_key), layers.find(file_key)
    if user is None and file is None:
        return None
    if user is None or file is None:
        both = " and ".join(option_of(key).flag for key in (user_key, file_key))
        raise ConfigError(f"credentials for the local port need both: {both}")
    name = str(user.value)
    check_private(layers, file)
    password = first_line_of(str(file.value), file.origin)
    for setting, text in ((user, name), (file, password)):
        if not 1 <= len(text.encode()) <= MAX_SOCKS_FIELD:
            raise setting.error(f"SOCKS5 takes 1 to {MAX_SOCKS_FIELD} octets (RFC 1929)")
    return name, password
