"""What an import gives: settings that our configuration file takes, secrets apart, and what had to stay behind.

A reader of a format fills a :class:`Draft`. Each value is checked there by the rules of the options themselves, so
that whatever is printed loads again; a value that fails is listed with the reason instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...errors import ConfigError
from .. import values
from ..options import BY_KEY, Kind
from ..proxy_url import parse_proxy
from ..text import one_line

Value = str | int | bool | tuple[str, ...]

MAX_TEXT = 4096
"""Characters of one value: paths and lists of servers are shorter everywhere."""

SECRETS = frozenset({"password", "proxy_password"})

# What is said about the same thing in several formats.
ALWAYS_CHECKED = (
    "the server's certificate is always checked; for one of your own use ca_file, pin_sha256 or trust_on_first_use"
)
NO_ROUTES = "nothing on this machine is routed: what uses the SOCKS port goes through the tunnel"
NO_COUNTERPART = "there is nothing like it here"
CERTIFICATE_WANTED = "it stays in the other program's store; export it as PKCS#12 and name it with eap_cert"


@dataclass(frozen=True, slots=True)
class ImportedProfile:
    """One profile, ready to be written."""

    name: str
    settings: dict[str, Value]
    not_carried: tuple[str, ...] = ()
    """What stays behind, "WHAT: why" on one line each."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


def _servers(value: Value) -> None:
    for server in value if isinstance(value, tuple) else (str(value),):
        if values.parse_server(server).username is not None:
            raise ValueError(f'"{server}" names a user')


def _methods(value: Value) -> None:
    values.parse_methods(value if isinstance(value, tuple) else (str(value),))


def _domains(value: Value) -> None:
    for domain in value if isinstance(value, tuple) else (str(value),):
        values.parse_domain(domain)


def _proxy(value: Value) -> None:
    parse_proxy(str(value))


def _address(value: Value) -> None:
    values.parse_tunnel_address(str(value))


_CHECKS: dict[str, Callable[[Value], None]] = {
    "server": _servers,
    "auth": _methods,
    "search_domain": _domains,
    "proxy": _proxy,
    "address": _address,
}


def check_value(key: str, value: Value) -> None:
    """Raise ValueError for what our options would not take; the text never repeats a secret."""
    for text in value if isinstance(value, tuple) else (value,):
        if not isinstance(text, str):
            continue
        if len(text) > MAX_TEXT:
            raise ValueError("it is too long")
        if not text or not text.isprintable():
            raise ValueError("it is empty" if not text else "it holds control characters")
    option = BY_KEY[key]
    if option.kind is Kind.INTEGER and isinstance(value, int):
        low, high = option.minimum, option.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise ValueError(f"it is not from {low} to {high}")
    if check := _CHECKS.get(key):
        check(value)


class Draft:
    """A profile while it is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._settings: dict[str, Value] = {}
        self._secrets: dict[str, str] = {}
        self._not_carried: dict[str, None] = {}  # a set that keeps the order

    def server(self, value: Value) -> None:
        """Set the server, without which there is no profile. Raises ConfigError."""
        if not value:
            raise ConfigError(f'profile "{one_line(self.name)}" names no server')
        try:
            check_value("server", value)
        except ValueError as error:
            raise ConfigError(f'profile "{one_line(self.name)}": the server: {one_line(str(error))}') from None
        self._settings["server"] = value

    def set(self, key: str, value: Value | None, what: str) -> None:
        """Set an option from what is called ``what`` there; nothing at all when it is empty."""
        if value is None or value in ("", ()):
            return
        try:
            check_value(key, value)
        except ValueError as error:
            self.drop(what, str(error))
        else:
            self._settings[key] = value

    def secret(self, key: str, value: str | None, what: str) -> None:
        """Keep a password apart."""
        if not value:
            return
        try:
            check_value(key, value)
        except ValueError as error:
            self.drop(what, str(error))
        else:
            self._secrets[key] = value

    def drop(self, what: str, why: str) -> None:
        """List what stays behind."""
        self._not_carried[one_line(f"{what}: {why}")[:400]] = None

    def user(self, name: str | None, domain: str | None, what: str) -> None:
        """Set the user, in the domain if there is one."""
        if not name:
            return
        bare = not any(mark in name for mark in "\\@")
        self.set("user", f"{domain}\\{name}" if domain and bare else name, what)

    def methods(self, good: list[str], weak: list[str]) -> None:
        """Set ``auth`` from what the profile allows.

        Methods that show the server the password, or prove nothing, are taken only where there is nothing else.
        """
        if good:
            if set(good) != {"mschapv2", "eap-mschapv2"}:
                self.set("auth", tuple(good), "authentication")
            for name in weak:
                self.drop(name, "it is not needed with the others; add it to auth if the server has nothing else")
        else:
            self.set("auth", tuple(weak), "authentication")

    def finish(self) -> ImportedProfile:
        """Return the profile. Raises ConfigError when it has no server."""
        if "server" not in self._settings:
            raise ConfigError(f'profile "{one_line(self.name)}" names no server')
        return ImportedProfile(self.name, self._settings, tuple(self._not_carried), self._secrets)
