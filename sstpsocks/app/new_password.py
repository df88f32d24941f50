"""Where a new password comes from when the server says that the old one has expired (E=648, RFC 2759 section 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from ..errors import ConfigError
from ..tunnel.settings import CredentialRequest
from .terminal import ask_secretly
from .text import message_and_hint


def _nothing() -> None:
    """Interrupt nothing."""


class NewPassword(Protocol):
    """A source of new passwords. Asked in vain it raises ConfigError, and the server's refusal stands."""

    async def at_hand(self) -> str | None:
        """Return what may be sent as soon as the server asks, None to wait for that."""
        ...

    async def asked(self, request: CredentialRequest) -> str:
        """Return one now: the old password has expired."""
        ...


class NoNewPassword:
    """Nobody to ask."""

    async def at_hand(self) -> str | None:
        """Return None."""
        await trio.lowlevel.checkpoint()
        return None

    async def asked(self, request: CredentialRequest) -> str:
        """Raise ConfigError."""
        await trio.lowlevel.checkpoint()
        raise ConfigError("there is no new password")


class NewPasswordFile:
    """The first line of a file, given for this very purpose."""

    def __init__(self, read: Callable[[], str]) -> None:
        """``read`` returns the first line, or raises ConfigError."""
        self._read = read

    async def at_hand(self) -> str | None:
        """Return the first line."""
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    async def asked(self, request: CredentialRequest) -> str:
        """Return it as well; the server that refused it once is not sent it again."""
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)


class NewPasswordPrompt:
    """A person at the terminal, who types it twice."""

    def __init__(self) -> None:
        self.before_prompt: Callable[[], None] = _nothing
        """Called before a prompt appears, so that a display can finish its line."""

    async def at_hand(self) -> str | None:
        """Return None: nobody is asked for what most servers never want."""
        await trio.lowlevel.checkpoint()
        return None

    async def asked(self, request: CredentialRequest) -> str:
        """Ask until the same was typed twice. Raises ConfigError when nothing was typed."""
        reason = request.message
        while True:
            self.before_prompt()
            first = await ask_secretly(message_and_hint(reason, f"New password of {request.username}:") + " ")
            second = await ask_secretly(f"New password of {request.username}, once more: ")
            if first == second:
                return first
            reason = "these were two different passwords"
