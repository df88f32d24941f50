"""Several servers: which failure leads to the next one, and what is carried over to it."""

from __future__ import annotations

from ..errors import HttpRejected, TlsFailed, TransportFailed, TunnelError
from ..ppp.auth import Credentials
from .settings import CredentialReason, CredentialRequest, CredentialSource, TunnelSettings


def moves_on(error: TunnelError) -> bool:
    """Whether another server may be tried after this failure.

    Only where this one could not be reached or is out of service. A refused password or certificate, and a server
    that speaks to us and says no, are for the user to know and decide about.
    """
    if isinstance(error, HttpRejected):
        return error.status >= 500
    return isinstance(error, TransportFailed | TlsFailed)


def in_order(settings: TunnelSettings, last: TunnelSettings) -> list[TunnelSettings]:
    """Return the servers in the order to try them: the one that was used last, then the others as they are listed."""
    return [last, *(other for other in (settings, *settings.alternatives) if other is not last)]


def none_reached(failures: list[TunnelError]) -> TransportFailed:
    """Return the error for a list of servers that has come to its end."""
    text = "; ".join(map(str, failures))
    message = f"none of the {len(failures)} servers could be reached: {text}"
    return TransportFailed(message, hint=failures[-1].hint)


class KeptCredentials:
    """A credential source that gives what was not used for the server before: nobody is asked twice in one connect."""

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self._given: Credentials | None = None
        self._kept: Credentials | None = None

    def __repr__(self) -> str:
        return f"KeptCredentials({self._source!r})"

    async def __call__(self, request: CredentialRequest) -> Credentials:
        """Return credentials: for a log-in those that were kept."""
        if request.reason is CredentialReason.LOGIN and self._kept is not None:
            self._given, self._kept = self._kept, None
        else:
            self._given = await self._source(request)
        return self._given

    def keep(self) -> None:
        """Give them once more: they were not sent."""
        self._kept = self._given

    def forget(self) -> None:
        """Ask afresh."""
        self._kept = None
