"""TLS inside EAP as something handed in: ``tunnel/`` implements it over OpenSSL, tests also with a stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class TlsUse(Enum):
    """What a connection is for: it decides about the client's certificate and about which session is resumed."""

    EAP_TLS = "eap-tls"
    """The client logs in with its certificate."""
    PEAP = "peap"
    """The client shows no certificate: another method follows inside."""


@dataclass(frozen=True, slots=True)
class TlsProblem:
    """Why a TLS connection failed, in the user's words."""

    message: str
    hint: str = ""


class EapTlsEngine(Protocol):
    """One TLS connection without IO. Nothing here raises because of what the peer sends: ``problem`` says it."""

    @property
    def handshake_complete(self) -> bool:
        """Whether our side has finished the handshake and trusts the peer."""
        ...

    @property
    def is_tls13(self) -> bool:
        """Whether TLS 1.3 or newer was agreed on."""
        ...

    @property
    def session_resumed(self) -> bool:
        """Whether an earlier session stands for the certificates (fast reconnect)."""
        ...

    @property
    def problem(self) -> TlsProblem | None:
        """Why it failed, None while it has not."""
        ...

    @property
    def peer_name(self) -> str:
        """Server's side: who the client is by its certificate; empty without one."""
        ...

    def start(self) -> None:
        """Client's side: begin; the first message waits in data_to_send()."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Take ciphertext and go on as far as it leads."""
        ...

    def data_to_send(self) -> bytes:
        """Return the ciphertext that waits, an alert perhaps, and forget it."""
        ...

    def read(self) -> bytes:
        """Return what was decrypted, and forget it."""
        ...

    def write(self, data: bytes) -> None:
        """Encrypt application data."""
        ...

    def export_keying_material(self, label: str, length: int, context: bytes | None) -> bytes:
        """Return keying material (RFC 5705, RFC 8446 section 7.5); the length is part of it in TLS 1.3."""
        ...

    def remember_session(self) -> None:
        """Client's side: keep the session for a fast reconnect, since the log-in has succeeded."""
        ...


class EapTlsClient(Protocol):
    """What begins the client's side."""

    @property
    def has_certificate(self) -> bool:
        """Whether there is a client certificate, without which EAP-TLS is not possible."""
        ...

    @property
    def certificate_name(self) -> str:
        """Who the user is by the client certificate; empty when it does not say."""
        ...

    def connect(self, use: TlsUse) -> EapTlsEngine:
        """Return a connection that has not begun. Raises ConfigError when there is nothing to verify a server with."""
        ...


class EapTlsServer(Protocol):
    """What begins the server's side."""

    def accept(self, use: TlsUse) -> EapTlsEngine:
        """Return a connection that waits for the client; EAP_TLS demands its certificate."""
        ...
