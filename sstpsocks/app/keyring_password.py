"""The password in the keyring of the desktop or the operating system, by the optional package "keyring".

Its entry has the name of the program and "user@server:port"; ``keyring set sstpsocks alice@vpn.example.com:443`` makes
one, as do the owner's own tools.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

import trio

from ..errors import ConfigError
from ..tunnel.settings import CredentialRequest
from .credentials import PasswordSource
from .text import one_line

SERVICE = "sstpsocks"


class Keyring(Protocol):
    """What we use of the package."""

    def get_password(self, service_name: str, username: str) -> str | None:
        """Return a password, None when there is none."""
        ...

    def set_password(self, service_name: str, username: str, password: str) -> None:
        """Store a password."""
        ...


def load_keyring() -> Keyring:
    """Return the package. Raises ConfigError when it is not installed."""
    try:
        return cast(Keyring, import_module("keyring"))
    except ImportError:
        raise ConfigError(
            "--keyring: the package for it is not installed", hint="Install it: pip install sstpsocks[keyring]"
        ) from None


class KeyringPassword(PasswordSource):
    """A password that the keyring keeps, read afresh at each log-in."""

    def __init__(self, keyring: Keyring | None = None) -> None:
        """Raises ConfigError when the package is not installed."""
        super().__init__()
        self._keyring = keyring if keyring is not None else load_keyring()
        self._entry = ""

    def __repr__(self) -> str:
        return "KeyringPassword()"

    async def _obtain(self, request: CredentialRequest) -> str:
        self._entry = entry = f"{request.username}@{request.server}"
        password = await self._call(lambda: self._keyring.get_password(SERVICE, entry))
        if not password:
            raise ConfigError(
                f"the keyring holds no password of {entry}", hint=f'Store it: keyring set {SERVICE} "{entry}"'
            )
        return password

    async def _store(self, password: str) -> str:
        """Put the changed password where the old one was."""
        entry = self._entry
        try:
            await self._call(lambda: self._keyring.set_password(SERVICE, entry, password))
        except ConfigError as error:
            return f"the keyring still holds the old one: {error}"
        return "the keyring holds it now"

    async def _call(self, function: Callable[[], str | None]) -> str | None:
        """Run it in a thread, since a locked keyring may ask its owner first."""
        try:
            return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
        except Exception as error:  # every backend has its own
            raise ConfigError(f"the keyring says no: {one_line(str(error)) or type(error).__name__}") from None
