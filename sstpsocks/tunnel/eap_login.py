"""What a session keeps for its log-ins by EAP: TLS sessions, and how SSTP is bound to bare EAP-MSCHAPv2.

MS-SSTP 3.2.5.2.2 wants the method's key, but Windows clients have been seen to bind with zeroes, and there may be
servers that know nothing else. They show it by ending the call as soon as they have seen the binding, and nobody else
does: so "auto" tries the key first and zeroes once, and stays with what has worked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CallRejected, TunnelError
from ..ppp.auth import AuthMethod
from .settings import TunnelSettings

if TYPE_CHECKING:
    from ..ppp.eap.tls_engine import EapTlsEngine, TlsUse
    from .eap_tls import EapTrust, OpenSslEapClient


def eap_trust(settings: TunnelSettings) -> EapTrust:
    """Return whom to trust inside EAP.

    Without authorities of its own those of the tunnel's server count. Any server that a private authority has signed
    will do, but of those that a public one has signed only the one with the right name.
    """
    from .eap_tls import EapTrust

    eap, outer = settings.eap, settings.trust
    ca_file = eap.ca_file if eap.ca_file is not None else outer.ca_file
    names = eap.server_names
    if not names and ca_file is None:
        names = (outer.server_name,)
    return EapTrust(ca_file=ca_file, names=names, pins=eap.pins)


class LazyEapClient:
    """Begins the TLS inside EAP (an EapTlsClient), and loads what that takes only then: most servers want none."""

    def __init__(self, settings: TunnelSettings) -> None:
        self._settings = settings
        self._client: OpenSslEapClient | None = None

    def __repr__(self) -> str:
        return f"<LazyEapClient {'with' if self.has_certificate else 'without'} certificate>"

    @property
    def has_certificate(self) -> bool:
        """Whether there is a client certificate."""
        return self._settings.eap.certificate is not None

    @property
    def certificate_name(self) -> str:
        """Who the user is by the certificate; empty when it does not say."""
        certificate = self._settings.eap.certificate
        return certificate.user if certificate is not None else ""

    def connect(self, use: TlsUse) -> EapTlsEngine:
        """Return a connection that has not begun. Raises ConfigError when the authorities cannot be read."""
        if self._client is None:
            from .eap_tls import OpenSslEapClient

            self._client = OpenSslEapClient(eap_trust(self._settings), self._settings.eap.certificate)
        return self._client.connect(use)


class EapLogin:
    """One for all connections of a session."""

    def __init__(self, settings: TunnelSettings) -> None:
        self.tls = LazyEapClient(settings)
        self.zero_hlak = settings.eap.hlak == "zero"
        """Whether bare EAP-MSCHAPv2 is bound with zeroes."""
        self._may_change = settings.eap.hlak == "auto"

    def worked(self) -> None:
        """Learn that a tunnel is up: what binds it is right."""
        self._may_change = False

    def try_otherwise(self, method: AuthMethod | None, error: TunnelError) -> bool:
        """Return whether to dial again at once, with the other binding, after a connection failed.

        ``method``: how it had logged in; None when it had not.
        """
        if not self._may_change or method is not AuthMethod.EAP_MSCHAPV2 or not isinstance(error, CallRejected):
            return False
        self._may_change = False
        self.zero_hlak = not self.zero_hlak
        return True
