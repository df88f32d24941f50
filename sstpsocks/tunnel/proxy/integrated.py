"""NTLM (MS-NTHT) and Negotiate (RFC 4559), computed by pyspnego.

Both log in the connection rather than the request: a token from us, one back inside another 407, a last one from us,
all on one connection. Negotiate is SPNEGO with Kerberos, or NTLM where that cannot be had; without a password it uses
the ticket of whoever is logged in to this machine, if there is one.

pyspnego is an optional package: ``sstpsocks[ntlm]``, and ``sstpsocks[kerberos]`` with Kerberos.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Protocol

import trio

from ...errors import RemoteProtocolError
from ...ppp.auth import Credentials
from ..settings import ProxyMethod
from .challenge import Challenge
from .schemes import SchemeUnusable

MAX_TOKEN = 48 * 1024  # octets; Kerberos tickets with many groups come to some ten thousand
MAX_STEPS = 6  # NTLM takes two, Kerberos one or two; a proxy that never has enough is not followed


class _Context(Protocol):
    """What is used of spnego.ContextProxy."""

    @property
    def complete(self) -> bool:
        """Whether we have said everything."""
        ...

    def step(self, in_token: bytes | None = None) -> bytes | None:
        """Take a token and return the next."""
        ...


class Integrated:
    """One log-in by NTLM or Negotiate."""

    def __init__(self, method: ProxyMethod, proxy_host: str, credentials: Credentials | None) -> None:
        """Raises SchemeUnusable when pyspnego is missing, or a password where it takes one."""
        self.name = method.spelling
        self.bound = False
        self._scheme = method.value
        self._secret = credentials.password if credentials is not None else ""
        self._steps = 0
        if credentials is None and method is ProxyMethod.NTLM:
            raise SchemeUnusable("it takes a user name and a password")
        try:
            import spnego
        except ImportError:
            raise SchemeUnusable("it takes pyspnego (pip install 'sstpsocks[ntlm]')") from None
        try:
            self._context: _Context = spnego.client(
                credentials.username if credentials is not None else None,
                credentials.password if credentials is not None else None,
                hostname=proxy_host,
                service="HTTP",
                protocol=self._scheme,
            )
        except Exception as error:  # of a library that talks to the system's own; what it raises differs by system
            raise SchemeUnusable(self._text(error)) from None

    def __repr__(self) -> str:
        return f"<Integrated {self.name}>"

    async def respond(self, challenges: Sequence[Challenge]) -> str | None:
        """Return the next token."""
        challenge = next((item for item in challenges if item.scheme == self._scheme), None)
        token = self._decode(challenge.token) if challenge is not None and self._steps else None
        if self._steps and (not token or self._context.complete):
            return None  # nothing more to say, and the proxy is not content
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise RemoteProtocolError(f"does not come to an end with {self.name}", layer="http")
        try:
            # A Kerberos ticket may have to be fetched, which blocks.
            answer = await trio.to_thread.run_sync(self._context.step, token, abandon_on_cancel=True)
        except Exception as error:  # as above; a token of the proxy that makes no sense comes here, too
            if self._steps == 1:
                raise SchemeUnusable(self._text(error)) from None
            raise RemoteProtocolError(f"sent a token for {self.name} that fails: {self._text(error)}") from None
        if answer is None:
            return None
        self.bound = not self._context.complete
        return f"{self.name} {b64encode(answer).decode('ascii')}"

    def _decode(self, token: str) -> bytes:
        try:
            data = b64decode(token, validate=True)
        except ValueError:
            raise RemoteProtocolError(f"sent a token for {self.name} that is not base64", layer="http") from None
        if len(data) > MAX_TOKEN:
            raise RemoteProtocolError(f"sent a token for {self.name} of {len(data)} octets", layer="http")
        return data

    def _text(self, error: Exception) -> str:
        """Return what the library says, on one line and without the password."""
        text = " ".join(str(error).split())[:200] or type(error).__name__
        return text.replace(self._secret, "...") if self._secret else text
