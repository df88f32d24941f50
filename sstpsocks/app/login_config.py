"""Who logs in to which servers, and with what password: from the layers to checked values."""

from __future__ import annotations

from ..errors import ConfigError
from . import values
from .credentials import (
    CommandPassword,
    FilePassword,
    FixedPassword,
    PasswordSource,
    PromptPassword,
    first_line_of,
)
from .keyring_password import KeyringPassword
from .layers import Layers, Setting
from .new_password import NewPasswordFile, NewPasswordPrompt
from .private_files import check_private

NOBODY = "\0"  # no user name can be that

NO_PASSWORD_HINT = "Give it with --password-file FILE, with --password-command CMD or in SSTPSOCKS_PASSWORD"  # noqa: S105 - a hint


def _parse_servers(setting: Setting) -> tuple[values.Server, ...]:
    given = setting.value if isinstance(setting.value, tuple) else ()
    try:
        servers = tuple(values.parse_server(item) for item in given)
    except values.PasswordInServer:
        raise setting.error(
            "a password in the server's address is refused, because process lists, shell history and logs show it",
            hint=NO_PASSWORD_HINT,
        ) from None
    except ValueError as error:
        raise setting.error(str(error)) from None
    if len({server.username for server in servers if server.username is not None}) > 1:
        raise setting.error("the servers' addresses name several users", hint="One user logs in to all of them")
    return servers


def servers_of(layers: Layers) -> tuple[values.Server, ...]:
    """Return the servers, at least one. Raises ConfigError."""
    setting = layers.find("server")
    servers = _parse_servers(setting) if setting is not None else ()
    if not servers:
        raise ConfigError(
            "no server was given",
            hint="Name it: sstpsocks vpn.example.org, or SSTPSOCKS_SERVER, or server in the configuration file; "
            "without one at hand try: sstpsocks demo",
        )
    other = layers.find("connect_to")
    if other is not None and len(servers) > 1:
        raise other.error("it stands for one server, and several are given")
    return servers


def username_of(layers: Layers, default: str = "") -> str:
    """Return the user of the strongest source that gives one, as "user" or inside the server's address."""
    for layer in layers.all:
        user = layer.get("user")
        server = layer.get("server")
        named = _parse_servers(server) if server else ()
        inside = next((item.username for item in named if item.username is not None), None)
        if user is not None and inside is not None and user.value != inside:
            raise user.error("the server's address names another user")
        name = str(user.value) if user is not None else inside
        if name:
            origin = user or server
            if origin is not None and not name.isprintable():
                raise origin.error("the user name holds control characters")
            return name
    if default:
        return default
    raise ConfigError(
        "no user name was given", hint="Give it with --user NAME, in SSTPSOCKS_USER or as user in the file"
    )


def password_of(layers: Layers, *, has_terminal: bool) -> PasswordSource:
    """Return where the password comes from, at the log-in and when it has expired. Raises ConfigError."""
    source = _password_source(layers, has_terminal)
    source.one_time = layers.switch("one_time_password")
    replacement = layers.find("new_password_file")
    if replacement is not None:
        path, origin = str(replacement.value), replacement.origin
        check_private(layers, replacement)
        first_line_of(path, origin)
        source.new_password = NewPasswordFile(lambda: first_line_of(path, origin))
    elif has_terminal:
        source.new_password = NewPasswordPrompt()
    return source


def _password_source(layers: Layers, has_terminal: bool) -> PasswordSource:
    others = ("password", "password_file", "password_command")
    setting = layers.first_of(*others, "keyring")
    if setting is not None and setting.value is False:  # --no-keyring
        setting = layers.first_of(*others)
    if setting is None:
        if not has_terminal:
            raise ConfigError("there is no password, and no terminal to ask for one", hint=NO_PASSWORD_HINT)
        return PromptPassword()
    text = str(setting.value)
    if not text:
        raise setting.error("it is empty")
    match setting.option.key:
        case "keyring":
            return KeyringPassword()
        case "password_file":
            check_private(layers, setting)
            first_line_of(text, setting.origin)  # a missing file is an error of the configuration, told at once
            return FilePassword(text)
        case "password_command":
            return CommandPassword(text)
        case _:
            return FixedPassword(text, setting.origin)
