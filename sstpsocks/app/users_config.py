"""Who may use the local port: the table ``[users]`` of the configuration file, and the file of --socks-users-file."""

from __future__ import annotations

from pathlib import Path

from .configfile import USER_FIELDS
from .credentials import first_line_of
from .layers import Layers, Setting
from .private_files import check_private

MAX_SOCKS_FIELD = 255  # RFC 1929 section 2: lengths are one octet, 1 to 255
MAX_USERS_FILE = 1 << 20  # octets


def users_of(layers: Layers) -> tuple[tuple[str, str], ...]:
    """Return the users with their passwords. Raises ConfigError; no message shows what a password is."""
    users = dict(_users_of_file(layers))
    table = layers.find("users")
    if table is not None and isinstance(table.value, tuple):
        for index, entry in enumerate(table.value):
            kind, name, text = entry.split("\0", len(USER_FIELDS) - 1)
            setting = table.item(index)
            if name in users:
                raise setting.error("this user is in the file of socks_users_file as well")
            password = text if kind == "password" else _password_of(layers, setting, text)
            if not all(1 <= len(part.encode()) <= MAX_SOCKS_FIELD for part in (name, password)):
                raise setting.error(f"name and password have 1 to {MAX_SOCKS_FIELD} octets each (RFC 1929)")
            users[name] = password
    return tuple(users.items())


def _password_of(layers: Layers, setting: Setting, path: str) -> str:
    """Return the first line of a file that the table names, relative to the file in which the table stands."""
    named = setting.with_value(str(Path(setting.path).parent / Path(path).expanduser()))
    check_private(layers, named)
    return first_line_of(str(named.value), named.origin)


def _users_of_file(layers: Layers) -> tuple[tuple[str, str], ...]:
    setting = layers.find("socks_users_file")
    if setting is None:
        return ()
    check_private(layers, setting)
    return read_users(setting)


def read_users(setting: Setting) -> tuple[tuple[str, str], ...]:
    """Read a file with a line NAME:PASSWORD for each user; lines that are empty or begin with # say nothing.

    Raises ConfigError; no message shows what is in it.
    """
    path = str(setting.value)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_USERS_FILE + 1)
    except OSError as error:
        raise setting.error(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_USERS_FILE:
        raise setting.error(f"{path} is larger than {MAX_USERS_FILE} octets")
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise setting.error(f"{path} is not UTF-8") from None
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not colon:
            raise setting.error(f"{path}, line {number}: it is not NAME:PASSWORD")
        if not all(1 <= len(text.encode()) <= MAX_SOCKS_FIELD for text in (name, password)):
            raise setting.error(f"{path}, line {number}: name and password have 1 to {MAX_SOCKS_FIELD} octets each")
        if name in users:
            raise setting.error(f"{path}, line {number}: this user stands above already")
        users[name] = password
    if not users:
        # An empty list must not open the port to everybody.
        raise setting.error(f"{path} names no user")
    return tuple(users.items())
