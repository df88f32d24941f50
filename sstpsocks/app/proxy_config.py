"""The proxy on the way to the server: from flags, environment and configuration file to ProxySettings."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigError
from ..tunnel.settings import ProxyMethod, ProxySettings
from .credentials import CommandPassword, FilePassword, FixedPassword, PasswordSource, PromptPassword, first_line_of
from .layers import Layers, Setting
from .private_files import check_private
from .proxy_url import ProxyUrl, environment_proxy, parse_proxy

_PASSWORD_HINT = (
    "Give it with --proxy-password-file FILE, with --proxy-password-command CMD or in SSTPSOCKS_PROXY_PASSWORD"  # noqa: S105
)


class ProxyConfiguration:
    """Decides for each server whether a proxy leads to it, and which."""

    def __init__(self, layers: Layers, environ: Mapping[str, str], *, has_terminal: bool) -> None:
        """Raises ConfigError."""
        self._layers = layers
        self._environ = environ
        self._has_terminal = has_terminal
        self._methods = _methods(layers)
        self._sources: dict[ProxyUrl, PasswordSource | None] = {}

    @property
    def passwords(self) -> tuple[PasswordSource, ...]:
        """The sources of passwords for the proxies that were chosen so far."""
        return tuple(source for source in self._sources.values() if source is not None)

    def choose(self, host: str, port: int, *, ca_file: str | None) -> ProxySettings | None:
        """Return the proxy that leads to this server, None when it is to be reached directly. Raises ConfigError."""
        setting = self._layers.find("proxy")
        if setting is not None:
            url = _parse(str(setting.value), setting.origin, on_command_line=setting.origin == setting.option.flag)
        else:
            named = environment_proxy(self._environ, host, port)
            url = _parse(named[1], named[0], on_command_line=False) if named is not None else None
        if url is None:
            return None
        username = self._username(url)
        if url not in self._sources:
            self._sources[url] = self._password(url, username)
        return ProxySettings(
            kind=url.kind,
            host=url.host,
            port=url.port,
            username=username,
            credentials=self._sources[url],
            methods=self._methods,
            ca_file=ca_file,
        )

    def _username(self, url: ProxyUrl) -> str:
        setting = self._layers.find("proxy_user")
        if setting is None:
            return url.username
        name = str(setting.value)
        if not name.isprintable():
            raise setting.error("the user name holds control characters")
        return name

    def _password(self, url: ProxyUrl, username: str) -> PasswordSource | None:
        """Return where the password comes from; None without a user, when there is nothing to log in as."""
        setting = self._layers.first_of("proxy_password", "proxy_password_file", "proxy_password_command")
        if not username:
            if setting is not None:
                raise setting.error("there is no user name for the proxy", hint="Give it with --proxy-user NAME")
            return None
        if setting is not None:
            if setting.option.key == "proxy_password_file":
                check_private(self._layers, setting)
            return _source(setting)
        if url.password is not None:
            return FixedPassword(url.password, "the proxy's URL")
        if not self._has_terminal:
            raise ConfigError(
                f'there is no password for user "{username}" of the proxy, and no terminal to ask for one',
                hint=_PASSWORD_HINT,
            )
        return PromptPassword()


def _source(setting: Setting) -> PasswordSource:
    text = str(setting.value)
    if not text:
        raise setting.error("it is empty")
    match setting.option.key:
        case "proxy_password_file":
            first_line_of(text, setting.origin)  # a missing file is an error of the configuration, told at once
            return FilePassword(text, "--proxy-password-file")
        case "proxy_password_command":
            return CommandPassword(text)
        case _:
            return FixedPassword(text, setting.origin)


def _parse(text: str, origin: str, *, on_command_line: bool) -> ProxyUrl | None:
    try:
        url = parse_proxy(text)
    except ValueError as error:
        raise ConfigError(
            f"{origin}: {error}", hint="Write http://HOST:PORT, or none to connect without a proxy"
        ) from None
    if url is not None and url.password is not None and on_command_line:
        raise ConfigError(
            f"{origin}: a password on the command line is refused, because every user of the machine can read it",
            hint=_PASSWORD_HINT,
        )
    return url


def _methods(layers: Layers) -> tuple[ProxyMethod, ...]:
    setting = layers.find("proxy_auth")
    if setting is None or not isinstance(setting.value, tuple):
        return tuple(ProxyMethod)
    known = {method.value: method for method in ProxyMethod}
    for item in setting.value:
        if item.lower() not in known:
            raise setting.error(f'"{item}" is no method to log in to a proxy; there are {", ".join(known)}')
    return tuple(dict.fromkeys(known[item.lower()] for item in setting.value))
