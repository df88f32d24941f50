"""The credentials of one connection: asked for, refused, asked for again, changed.

Repeating a refused password locks accounts, so what was refused is remembered, over all connections of a session, and
never sent again, whatever the source says.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from ..errors import AuthenticationFailed, SstpsocksError
from ..link import CredentialsWanted
from ..ppp.auth import Credentials
from .driver import Driver
from .settings import CredentialReason, CredentialRequest, TunnelSettings

# RFC 2759 section 6: ERROR_PASSWD_EXPIRED.
PASSWORD_EXPIRED = 648


class CredentialKeeper:
    """Asks the source of the settings, and knows what it gave last."""

    def __init__(self, settings: TunnelSettings, refused: set[Credentials]) -> None:
        """``refused``: credentials that the server refused before; they are never sent, and new ones are added."""
        self._settings = settings
        self._refused = refused
        self._last: Credentials | None = None
        self._asking = trio.CancelScope()

    async def ask(self, reason: CredentialReason, message: str = "") -> Credentials:
        """Return credentials that were not refused. Raises AuthenticationFailed, or what the source raises."""
        request = CredentialRequest(reason, self._settings.username, self._settings.server, message)
        credentials = await self._settings.credentials(request)
        if credentials in self._refused:
            raise AuthenticationFailed(
                message or f"server {self._settings.server} refused this password before",
                hint="it was not sent again: the password source gave the same one as before",
            )
        self._last = credentials
        return credentials

    async def answer(self, driver: Driver, wanted: CredentialsWanted) -> None:
        """Ask once more and give the link the answer, or end it with the reason why there is none."""
        failure = AuthenticationFailed(wanted.message, code=wanted.code, hint=wanted.hint)
        expired = wanted.code == PASSWORD_EXPIRED
        with trio.CancelScope() as self._asking:
            try:
                credentials = await self.ask(
                    CredentialReason.EXPIRED if expired else CredentialReason.RETRY, wanted.message
                )
                driver.act(lambda: driver.link.retry_authentication(credentials, driver.now()))
            except SstpsocksError as error:
                # Without a source that can give others (ConfigError), or with some that the method cannot carry, it
                # stays with the server's refusal.
                told = error if isinstance(error, AuthenticationFailed) else failure
                driver.act(lambda: driver.link.fail(told, driver.now()))

    def stop_asking(self) -> None:
        """Take the question back: nobody wants an answer any more."""
        self._asking.cancel()

    def note_refusal(self) -> None:
        """Remember that the server refused what was given last."""
        if self._last is not None:
            self._refused.add(self._last)

    def note_change(self, nursery: trio.Nursery) -> None:
        """Remember that the server has taken the new password, and tell whoever keeps it."""
        last = self._last
        if last is not None and last.new_password is not None:
            self._refused.add(replace(last, new_password=None))
            self._last = replace(last, password=last.new_password, new_password=None)
            # Even when the tunnel is lost in this very moment: the old password would lock the account.
            nursery.start_soon(self._settings.password_changed, self._last)
