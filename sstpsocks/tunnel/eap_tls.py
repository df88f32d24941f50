"""The TLS inside EAP-TLS and PEAP, over OpenSSL: whom the client trusts there, and the engine itself.

This is another server than the one of the tunnel: usually a RADIUS server with a certificate of a private authority,
and with rules of its own. Its chain must lead to the given authorities; without any to those of the system, and then
its name must be one of the given names, since anybody gets a certificate from a public authority. Pins replace both.
What the server's side here has is for tests and demonstrations; it resumes no sessions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL, crypto

from ..errors import CertificateRejected, TlsFailed
from ..ppp.eap.tls_engine import EapTlsEngine, TlsProblem, TlsUse
from .client_certificate import ClientCertificate, PrivateKey, certificate_user
from .settings import TrustSettings
from .tls import TlsEngine
from .trust import client_context, server_context, verify_peer

_SERVER = "authentication server (EAP)"
_TRUST_HINT = (
    "Pass --eap-ca-file with the authority that signed it, or --eap-pin-sha256 with its fingerprint if you have checked"
    " that by another way."
)
_NAME_HINT = "Pass --eap-server-name with the name in the certificate if that is the server you want."
_REFUSED_HINT = "It may not know the client certificate, or its authority; ask its administrator."


@dataclass(frozen=True, slots=True, kw_only=True)
class EapTrust:
    """Which authentication servers are trusted."""

    ca_file: str | None = None
    """PEM file with the only authorities to trust; None: the system's, and then a name must fit."""
    names: tuple[str, ...] = ()
    """DNS names, one of which the certificate must hold; empty: any that the authority has signed."""
    pins: tuple[bytes, ...] = ()
    """SHA-256 digests of the certificate or of its public key; when given, one must match, and nothing else counts."""

    def check(self, engine: TlsEngine) -> None:
        """Check what the chain does not show. Raises CertificateRejected."""
        if self.pins:
            verify_peer(engine, TrustSettings(server_name="", pins=self.pins))
            return
        if engine.rejection is not None:
            raise engine.rejection
        rejection: CertificateRejected | None = None
        for name in self.names:
            try:
                verify_peer(engine, TrustSettings(server_name=name, ca_file=self.ca_file))
            except CertificateRejected as error:
                rejection = error
            else:
                return
        if rejection is not None:
            raise rejection


class OpenSslEapEngine:
    """One connection (an EapTlsEngine)."""

    def __init__(self, engine: TlsEngine, *, trust: EapTrust | None, sessions: Sessions | None = None) -> None:
        """``trust``: client's side; None on the server's. ``sessions``: where to keep what can be resumed."""
        self._engine = engine
        self._trust = trust
        self._sessions = sessions
        self._offered = sessions is not None and sessions.offer(engine)
        self._complete = False
        self._problem: TlsProblem | None = None
        self._plaintext = b""

    def __repr__(self) -> str:
        return f"<OpenSslEapEngine {self._engine!r}>"

    @property
    def handshake_complete(self) -> bool:
        """Whether our side has finished the handshake and trusts the peer."""
        return self._complete

    @property
    def is_tls13(self) -> bool:
        """Whether TLS 1.3 was agreed on."""
        return self._engine.version == "TLSv1.3"

    @property
    def session_resumed(self) -> bool:
        """Whether an earlier session stands for the certificates: nothing was verified in this handshake."""
        return self._complete and self._offered and not self._engine.verified_now

    @property
    def problem(self) -> TlsProblem | None:
        """Why it failed, None while it has not."""
        return self._problem

    @property
    def peer_name(self) -> str:
        """Who the peer is by its certificate."""
        try:
            return certificate_user(self._engine.peer_certificate())
        except (TlsFailed, ValueError):
            return ""

    def start(self) -> None:
        """Begin: the client's first message waits in data_to_send()."""
        self._advance()

    def receive_data(self, data: bytes) -> None:
        """Take ciphertext and go on as far as it leads."""
        if self._problem is None:
            self._engine.feed(data)
            self._advance()

    def data_to_send(self) -> bytes:
        """Return the ciphertext that waits, and forget it."""
        return self._engine.ciphertext_to_send()

    def read(self) -> bytes:
        """Return what was decrypted, and forget it."""
        plaintext, self._plaintext = self._plaintext, b""
        return plaintext

    def write(self, data: bytes) -> None:
        """Encrypt application data."""
        try:
            self._engine.write(data)
        except TlsFailed as error:
            self._problem = TlsProblem(str(error), error.hint)

    def export_keying_material(self, label: str, length: int, context: bytes | None) -> bytes:
        """Return keying material (RFC 5705)."""
        return self._engine.export_keying_material(label, length, context)

    def remember_session(self) -> None:
        """Keep the session for a fast reconnect, since the log-in has succeeded."""
        if self._sessions is not None:
            self._sessions.keep(self._engine)

    def _advance(self) -> None:
        try:
            if not self._complete:
                if not self._engine.handshake():
                    return
                if self._trust is not None:
                    self._trust.check(self._engine)
                self._complete = True
            self._plaintext += self._engine.read_available()
            if self._engine.at_eof and not self._plaintext:
                self._problem = TlsProblem(f"{self._engine.peer}, TLS: it closed the connection")
        except CertificateRejected as error:
            self._problem = _distrust(error)
        except TlsFailed as error:
            # Not the hints of the tunnel's own TLS, which name its options.
            hint = _REFUSED_HINT if "alert" in str(error) or "client certificate" in str(error) else ""
            self._problem = TlsProblem(str(error), hint)


def _distrust(error: CertificateRejected) -> TlsProblem:
    shown = f" (SHA-256 {error.sha256})" if error.sha256 else ""
    hint = _NAME_HINT if "certificate is not for" in error.reason else _TRUST_HINT
    return TlsProblem(f"{_SERVER}: certificate not trusted: {error.reason}{shown}", hint)


class Sessions:
    """The last session of one use that a server may resume. It belongs to one context."""

    def __init__(self) -> None:
        self._session: SSL.Session | None = None

    def offer(self, engine: TlsEngine) -> bool:
        """Let a connection that has not begun resume the session; return whether there is one."""
        if self._session is None:
            return False
        engine.resume(self._session)
        return True

    def keep(self, engine: TlsEngine) -> None:
        """Keep the session of a connection that is at its end."""
        self._session = engine.final_session()


class OpenSslEapClient:
    """Begins the client's side (an EapTlsClient). It lives as long as its sessions are to be resumed."""

    def __init__(self, trust: EapTrust, certificate: ClientCertificate | None = None) -> None:
        self._trust = trust
        self._certificate = certificate
        self._contexts: dict[TlsUse, tuple[SSL.Context, Sessions]] = {}

    def __repr__(self) -> str:
        return f"<OpenSslEapClient {'with' if self._certificate else 'without'} certificate>"

    @property
    def has_certificate(self) -> bool:
        """Whether there is a client certificate."""
        return self._certificate is not None

    @property
    def certificate_name(self) -> str:
        """Who the user is by the certificate; empty when it does not say."""
        return self._certificate.user if self._certificate is not None else ""

    def connect(self, use: TlsUse) -> EapTlsEngine:
        """Return a connection that has not begun. Raises ConfigError when the authorities cannot be read."""
        if use not in self._contexts:
            self._contexts[use] = (self._context(use), Sessions())
        context, sessions = self._contexts[use]
        # What pins stand for is checked in every handshake.
        kept = None if self._trust.pins else sessions
        return OpenSslEapEngine(TlsEngine(context, peer=_SERVER), trust=self._trust, sessions=kept)

    def _context(self, use: TlsUse) -> SSL.Context:
        name = self._trust.names[0] if self._trust.names else "localhost"
        trust = self._trust
        context = client_context(TrustSettings(server_name=name, ca_file=trust.ca_file, pins=trust.pins))
        if use is TlsUse.EAP_TLS and self._certificate is not None:
            context.use_certificate(self._certificate.certificate)
            context.use_privatekey(self._certificate.key)
            for above in self._certificate.above:
                context.add_extra_chain_cert(above)
        return context


class OpenSslEapServer:
    """Begins the server's side (an EapTlsServer)."""

    def __init__(self, chain: list[x509.Certificate], key: PrivateKey, clients: list[x509.Certificate]) -> None:
        """``clients``: the authorities whose certificates let a client in by EAP-TLS."""
        self._peap_context = server_context(chain, key)
        self._context = server_context(chain, key)
        for context in (self._context, self._peap_context):
            context.set_options(SSL.OP_NO_TICKET)
        store = self._context.get_cert_store()
        if store is not None:
            for authority in clients:
                store.add_cert(crypto.X509.from_cryptography(authority))
        self._context.set_session_id(hashlib.sha256(b"eap").digest())
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)

    def accept(self, use: TlsUse) -> EapTlsEngine:
        """Return a connection that waits for the client."""
        context = self._context if use is TlsUse.EAP_TLS else self._peap_context
        return OpenSslEapEngine(TlsEngine(context, server_side=True, peer="client (EAP)"), trust=None)

    def limit_version(self, version: int) -> None:
        """Speak no newer TLS than this (one of pyOpenSSL's numbers)."""
        self._context.set_max_proto_version(version)
        self._peap_context.set_max_proto_version(version)
