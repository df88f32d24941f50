"""What can be set about TLS itself, and about trusting a server at first sight. Nothing here loads OpenSSL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .client_certificate import ClientCertificate

TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
OLD_VERSIONS: tuple[TlsVersion, ...] = ("1.0", "1.1")
"""What RFC 8996 forbids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How TLS is spoken. The defaults are right for every server of these days."""

    min_version: TlsVersion = "1.2"
    """The oldest version to accept."""
    security_level: int | None = None
    """OpenSSL's security level, 0 to 5, which bounds keys, hashes and ciphers; None: OpenSSL's default, but 0 when
    ``min_version`` is older than 1.2, which nothing stricter allows."""
    certificate: ClientCertificate | None = None
    """Ours, for servers that ask for one in the TLS handshake."""
    keylog_file: str | None = None
    """Where to append the secrets of every connection, for Wireshark; None: nowhere."""

    @property
    def level(self) -> int | None:
        """The security level that counts, None for OpenSSL's default."""
        if self.security_level is None and self.min_version in OLD_VERSIONS:
            return 0
        return self.security_level


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCertificate:
    """A certificate that nothing vouches for, met for the first time."""

    server: str
    """The server as "host:port"."""
    reason: str
    """Why it is not trusted otherwise."""
    sha256: str
    """SHA-256 of the certificate in hexadecimal."""
    pin: str
    """SHA-256 of its public key as ``sha256//`` and base64: what would be remembered."""


AskTrust = Callable[[UnknownCertificate], Awaitable[bool]]
"""Returns whether a person has confirmed the fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """Trust on first use (first_use.py)."""

    known_hosts: str
    """The file of the servers that were confirmed (known_hosts.py)."""
    ask: AskTrust | None = None
    """Asks a person; None: nobody is there, and unknown servers are refused."""
