"""TLS over memory: an engine without IO, and a trio stream around it.

Theory of operation
-------------------
:class:`TlsEngine` turns ciphertext into plaintext and back and never touches a socket. It has two users, one after
the other. While the connection is set up, :class:`TlsStream` moves its bytes through any ``trio.abc.Stream``, which is
convenient and slow. Once HTTP is done the driver takes ``stream.engine`` and ``stream.transport`` over, does its own
non-blocking socket calls, and never comes back to the stream (docs/architecture.md, "The driver loop").

The engine drains itself: after every call that may produce ciphertext the owner sends ``ciphertext_to_send()``. That
includes ``read_available()``, because a KeyUpdate (RFC 8446 section 4.6.3) or an alert is answered while reading.
"""

from __future__ import annotations

import trio
from cryptography import x509
from OpenSSL import SSL, crypto

from ..errors import CertificateRejected, LocalProtocolError, TlsFailed
from .conflict import OneAtATime

RECORD_SIZE = 16384
"""RFC 8446 section 5.1: a record carries at most 2**14 bytes; OpenSSL decrypts one record for each read."""
CIPHERTEXT_CHUNK = 96 * 1024
"""One read of this size empties the outgoing BIO after a batch of 64 KiB; below the 128 KiB from which malloc maps
fresh pages for every call."""
STREAM_WRITE_SIZE = 65536
"""The stream encrypts this much, sends it and goes on, so that a large buffer is not held twice."""
CLOSE_GRACE = 1.0
"""Seconds that closing a stream may spend on telling the peer."""

# RFC 8446 section 5.1: a record starts with its content type and the major version, 3. A server's first record holds
# a handshake message or an alert.
_FIRST_CONTENT_TYPES = (21, 22)
_MAJOR_VERSION = 3

# OpenSSL's words for failures a person can do something about, what we say, and what to try.
_OLD_TLS = (
    "the server offers only versions of TLS older than allowed",
    "ask for an update of the server; until then --tls-min 1.0 lets old versions pass, which others may break",
)
_NO_CIPHER = (
    "the server and this program have no TLS cipher suite in common",
    "an old server may need --tls-seclevel 1, or 0, which lets weak ones pass",
)
_NO_KEY_EXCHANGE = (
    "the server and this program have no key exchange in common",
    "a lower --tls-seclevel lets weaker ones pass",
)
_UNKNOWN_NAME = (
    "the server does not know the server name it was asked for",
    "pass the name that it knows with --sni NAME, or --sni none",
)
_WEAK = ("what the server offers is too weak to be safe", "an old server may need --tls-seclevel 1, or 0")
_OUR_CERTIFICATE = (
    "the server does not accept our client certificate",
    "check --certificate, its date and its authority, or ask the server's administrator",
)
_NO_CERTIFICATE = (
    "the server wants a client certificate",
    "pass one with --certificate FILE, and its key with --key FILE",
)
_ALERT_PREFIXES = ("tlsv13 ", "tlsv1 ", "sslv3 ", "tls ")  # they differ from alert to alert and release to release
_KNOWN_FAILURES = {
    "unsupported protocol": _OLD_TLS,
    "alert protocol version": _OLD_TLS,
    "no shared cipher": _NO_CIPHER,
    "alert handshake failure": (
        "the server refused the handshake (no common cipher suite, or it wants another"
        " server name or a client certificate)",
        "try --sni NAME, --certificate FILE, or for an old server --tls-min 1.0",
    ),
    "alert insufficient security": _NO_CIPHER,
    "unsafe legacy renegotiation disabled": (
        "the server lacks secure renegotiation (RFC 5746), which protects against injected requests",
        "ask for an update of the server; until then --tls-seclevel 0 does without",
    ),
    "unrecognized name": _UNKNOWN_NAME,
    "alert unrecognized name": _UNKNOWN_NAME,
    "no suitable key share": _NO_KEY_EXCHANGE,
    "no suitable groups": _NO_KEY_EXCHANGE,
    "dh key too small": _WEAK,
    "ee key too small": _WEAK,
    "wrong signature type": _WEAK,
    "alert certificate required": _NO_CERTIFICATE,
    "alert bad certificate": _OUR_CERTIFICATE,
    "alert unsupported certificate": _OUR_CERTIFICATE,
    "alert certificate revoked": _OUR_CERTIFICATE,
    "alert certificate expired": _OUR_CERTIFICATE,
    "alert certificate unknown": _OUR_CERTIFICATE,
    "alert unknown ca": _OUR_CERTIFICATE,
    "alert access denied": _OUR_CERTIFICATE,
}


class TlsEngine:
    """One TLS connection without IO."""

    def __init__(
        self,
        context: SSL.Context,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ask_for_status: bool = False,
        peer: str = "the peer",
    ) -> None:
        """Start an engine.

        ``server_hostname`` is what SNI carries: an ASCII DNS name, never an address (RFC 6066 section 3).
        ``ask_for_status`` asks the server to staple an OCSP response (RFC 6066 section 8). ``peer`` names the far end
        in messages, for example "server vpn.example.com:443".
        """
        self.peer = peer
        """The far end, as messages call it."""
        self.at_eof = False
        """Whether the peer ended its direction with a close_notify alert."""
        self.bytes_fed = 0
        """Ciphertext bytes received so far."""
        self.handshake_complete = False
        """Whether application data may flow."""
        self.rejection: CertificateRejected | None = None
        """Set by the verification callback (trust.py) to what is wrong with the peer's certificate."""
        self.doubt: CertificateRejected | None = None
        """The same where the handshake goes on, because a person may be asked."""
        self.asked_for_status = ask_for_status
        """Whether an OCSP response was asked for."""
        self.staple = b""
        """The OCSP response that the server sent (trust.py), empty for none."""
        self._first_bytes = b""
        self._failure: TlsFailed | None = None
        self._server_side = server_side
        self._connection = SSL.Connection(context, None)
        # The verification callback belongs to the context; this is how it finds the engine it speaks for.
        self._connection.set_app_data(self)
        if server_side:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()
            if server_hostname is not None:
                self._connection.set_tlsext_host_name(server_hostname.encode("ascii"))
            if ask_for_status:
                self._connection.request_ocsp()

    def __repr__(self) -> str:
        if self._failure is not None or self.rejection is not None:
            state = "failed"
        elif self.at_eof:
            state = "ended by the peer"
        else:
            state = "open" if self.handshake_complete else "handshaking"
        return f"<TlsEngine {self.peer!r} {state}>"

    def handshake(self) -> bool:
        """Advance the handshake and return True once it is complete, False when more ciphertext is wanted.

        Raises CertificateRejected when the verification callback objected, else TlsFailed. An alert for the peer may
        then wait in ``ciphertext_to_send()``.
        """
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            if self.rejection is not None:
                raise self.rejection from error
            raise self._fail(error) from error
        if self.rejection is not None:
            # The callback stops the handshake itself; this is the second lock on the same door.
            raise self.rejection
        self.handshake_complete = True
        return True

    def feed(self, ciphertext: bytes | bytearray | memoryview) -> None:
        """Take ciphertext from the transport; empty input is ignored."""
        if not ciphertext:  # BIO_write reports an error for empty input
            return
        if len(self._first_bytes) < 2:
            self._first_bytes += bytes(ciphertext[:2])
        self.bytes_fed += len(ciphertext)
        self._connection.bio_write(ciphertext)

    def read_available(self) -> bytes:
        """Return everything that can be decrypted now, b"" when there is nothing.

        Sets ``at_eof`` when the peer's close_notify was reached. Raises TlsFailed for a broken record, after what
        came before it was returned.
        """
        if self._failure is not None:
            raise self._failure
        if not self.handshake_complete:
            raise LocalProtocolError("TLS read before the handshake", layer="tls")
        receive = self._connection.recv
        pieces: list[bytes] = []
        try:
            while True:
                pieces.append(receive(RECORD_SIZE))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.at_eof = True
        except SSL.Error as error:
            failure = self._fail(error)
            if not pieces:
                raise failure from error
        return b"".join(pieces)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt the whole of ``data``; the result waits in ``ciphertext_to_send()``. Empty data does nothing."""
        if not self.handshake_complete:
            raise LocalProtocolError("TLS write before the handshake", layer="tls")
        try:
            # Unlike send(), which stops after one record, sendall() loops over the buffer without slicing it. A
            # memory BIO takes everything, so it never wants to be retried.
            self._connection.sendall(data)
        except SSL.Error as error:
            raise self._fail(error) from error

    def ciphertext_to_send(self) -> bytes:
        """Return all ciphertext that waits for the transport, b"" when there is none."""
        read = self._connection.bio_read
        pieces: list[bytes] = []
        try:
            while True:
                piece = read(CIPHERTEXT_CHUNK)
                pieces.append(piece)
                if len(piece) < CIPHERTEXT_CHUNK:  # the BIO is empty: spare the exception that would say so
                    break
        except SSL.WantReadError:
            pass
        return b"".join(pieces)

    def close_notify(self) -> None:
        """Queue the alert that ends our direction; does nothing before the handshake or after a failure."""
        if not self.handshake_complete or self._failure is not None:
            return
        try:
            self._connection.shutdown()
        except SSL.Error:
            # Closing is best effort: a connection that broke needs no alert.
            pass

    def peer_certificate_der(self) -> bytes:
        """Return the peer's own (leaf) certificate in DER.

        The bytes are those that were sent, as the crypto binding hashes them (MS-SSTP 3.2.5.2).
        Raises TlsFailed when the peer sent none.
        """
        # Through OpenSSL's own parser: cryptography's warns about, or refuses, odd certificates that exist.
        certificate = self._connection.get_peer_certificate()
        if certificate is None:
            raise TlsFailed(f"{self.peer}, TLS: it sent no certificate")
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)

    def peer_certificate(self) -> x509.Certificate:
        """Return the peer's own certificate, parsed. Raises TlsFailed when there is none, ValueError for a bad one."""
        return x509.load_der_x509_certificate(self.peer_certificate_der())

    def issuer_der(self) -> bytes | None:
        """Return the certificate above the peer's own in the verified chain, in DER; None without a verified chain.

        None also when the peer's own certificate is the chain, being trusted as it is.
        """
        chain = self._connection.get_verified_chain()
        if not chain or len(chain) < 2:
            return None
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, chain[1])

    def presented_chain_der(self) -> list[bytes]:
        """Return the certificates that the peer has sent, its own first, in DER; nothing about them is verified."""
        chain = self._connection.get_peer_cert_chain() or []
        return [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain]

    def export_keying_material(self, label: str, length: int, context: bytes | None) -> bytes:
        """Return keying material that both ends and nobody else can derive (RFC 5705; TLS 1.3: RFC 8446 section 7.5).

        In TLS 1.2 no context is something else than an empty one.
        """
        return self._connection.export_keying_material(label.encode("ascii"), length, context)

    def resume(self, session: SSL.Session) -> None:
        """Offer the server to go on with an earlier session of the same context; call before the handshake."""
        self._connection.set_session(session)

    def final_session(self) -> SSL.Session | None:
        """Return the session, to be resumed later. This connection must not be used any more."""
        # OpenSSL takes a session whose connection goes away without close_notify for broken, and never resumes it.
        self._connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        return self._connection.get_session()

    @property
    def verified_now(self) -> bool:
        """Whether this handshake has verified a chain: not so when it resumed a session."""
        return bool(self._connection.get_verified_chain())

    @property
    def version(self) -> str:
        """The protocol, for example "TLSv1.3"."""
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        """The cipher suite, empty before the handshake."""
        return self._connection.get_cipher_name() or ""

    @property
    def requested_hostname(self) -> str | None:
        """On the server side: the name that the client asked for with SNI, None when it gave none."""
        name = self._connection.get_servername()
        return None if name is None else name.decode("ascii", "replace")

    def _speaks_tls(self) -> bool:
        """Whether what has come so far can be the start of a TLS connection."""
        if len(self._first_bytes) < 2:
            return True
        return self._first_bytes[0] in _FIRST_CONTENT_TYPES and self._first_bytes[1] == _MAJOR_VERSION

    def _fail(self, error: SSL.Error) -> TlsFailed:
        """Turn OpenSSL's error into ours and stay failed."""
        if not self.handshake_complete and not self._speaks_tls():
            side = "client" if self._server_side else "server"
            failure = TlsFailed(
                f"{self.peer}, TLS: the {side} does not speak TLS on this port",
                hint="check the port; SSTP servers listen with TLS, usually on 443",
            )
        else:
            reason = _reason_of(error)
            step = "handshake failed" if not self.handshake_complete else "the connection failed"
            text, hint = _explain(reason)
            failure = TlsFailed(f"{self.peer}, TLS: {step}: {text}", hint="" if self._server_side else hint)
        self._failure = failure
        return failure


def _reason_of(error: SSL.Error) -> str:
    """Return OpenSSL's words for ``error``, the first one of its queue."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list):
        reasons = [str(entry[2]) for entry in queue if len(entry) > 2 and entry[2]]
        if reasons:
            return reasons[0]
    return "unknown error in the TLS library"


def _explain(reason: str) -> tuple[str, str]:
    """Return a sentence and a hint for OpenSSL's words, or those words."""
    prefix = next((prefix for prefix in _ALERT_PREFIXES if reason.startswith(prefix)), "")
    words = reason.removeprefix(prefix)
    text, hint = _KNOWN_FAILURES.get(words, (reason, ""))
    if hint == _OUR_CERTIFICATE[1]:
        text += f" ({words})"
    return text, hint


class TlsStream(trio.abc.Stream):
    """A TLS connection over any trio stream. Call :meth:`do_handshake` first.

    An end of the transport without close_notify reads as the end of the stream, not as an error: servers drop the
    connection so (field practice of SSTP), and a truncation cannot go unnoticed, because SSTP has an orderly end of
    its own (Call Disconnect) whose absence the layer above reports.
    """

    def __init__(self, transport: trio.abc.Stream, engine: TlsEngine) -> None:
        self.transport = transport
        """Where the ciphertext goes."""
        self.engine = engine
        """The TLS connection. A driver that takes it and the transport over must not use this stream any more; nothing
        is left in the stream after a ``receive_some()`` without a limit."""
        self._received = b""  # decrypted, not yet handed out
        self._ended = False
        self._closed = False
        self._send_broken = False  # a send was cut short: the peer misses part of a record, nothing may follow
        self._flush_lock = trio.Lock()
        self._sending = OneAtATime("sending on this TLS stream")
        self._receiving = OneAtATime("receiving from this TLS stream")

    async def do_handshake(self) -> None:
        """Run the handshake to its end.

        Raises CertificateRejected or TlsFailed; the stream is then of no more use and should be closed.
        """
        with self._sending, self._receiving:
            self._check_open()
            try:
                while not self.engine.handshake():
                    await self._flush()
                    ciphertext = await self.transport.receive_some()
                    if not ciphertext:
                        raise TlsFailed(
                            f"{self.engine.peer}, TLS: it closed the connection during the handshake",
                            hint="check that the port is the one of the SSTP server and that nothing in between"
                            " (a firewall, a wrong server name) closes the connection",
                        )
                    self.engine.feed(ciphertext)
                await self._flush()
            except (CertificateRejected, TlsFailed):
                await self._send_last_words()
                raise
            except trio.BrokenResourceError as error:
                raise TlsFailed(f"{self.engine.peer}, TLS: the connection broke during the handshake") from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``."""
        with self._sending:
            self._check_usable()
            if not data:
                await trio.lowlevel.checkpoint()
                return
            with memoryview(data) as view:
                for start in range(0, len(view), STREAM_WRITE_SIZE):
                    try:
                        self.engine.write(view[start : start + STREAM_WRITE_SIZE])
                    except TlsFailed as error:
                        raise trio.BrokenResourceError(str(error)) from error
                    await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes data."""
        with self._sending:
            self._check_usable()
            await self.transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next decrypted bytes, all there are when no limit is given, b"" at the end."""
        if max_bytes is not None:
            if not isinstance(max_bytes, int):
                raise TypeError("max_bytes must be an integer")
            if max_bytes < 1:
                raise ValueError("max_bytes must be at least 1")
        with self._receiving:
            self._check_usable()
            await trio.lowlevel.checkpoint()
            while not self._received and not self._ended:
                await self._receive_more()
                if self._closed:  # by another task, while this one waited
                    raise trio.ClosedResourceError("this TLS stream was closed")
            if max_bytes is None:
                result, self._received = self._received, b""
            else:
                result, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return result

    async def aclose(self) -> None:
        """Tell the peer within a second, if it can be told, and close the transport."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            self.engine.close_notify()
            await self._send_last_words()
        finally:
            await self.transport.aclose()

    async def _receive_more(self) -> None:
        """Decrypt what is there; if that is nothing, wait for the transport once."""
        try:
            self._received = self.engine.read_available()
        except TlsFailed as error:
            raise trio.BrokenResourceError(str(error)) from error
        self._ended = self.engine.at_eof
        if not self._flush_lock.locked():
            await self._flush()
        # else: a sender holds the lock, perhaps until the peer has read, for which the peer may wait until we have
        # read. That sender flushes what we leave.
        if self._received or self._ended:
            return
        ciphertext = await self.transport.receive_some()
        if ciphertext:
            self.engine.feed(ciphertext)
        else:
            self._ended = True

    async def _flush(self) -> None:
        """Send the ciphertext that waits, in order: reading and writing tasks both come here."""
        async with self._flush_lock:
            while ciphertext := self.engine.ciphertext_to_send():
                if self._send_broken:
                    raise trio.BrokenResourceError("an earlier send on this TLS stream was cut short")
                self._send_broken = True
                await self.transport.send_all(ciphertext)
                self._send_broken = False

    async def _send_last_words(self) -> None:
        """Try to send a final alert; whether the peer hears it makes no difference to us."""
        if self._flush_lock.locked():  # a send is stuck: the alert would stand behind it
            return
        with trio.move_on_after(CLOSE_GRACE):
            try:
                await self._flush()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                pass

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")

    def _check_usable(self) -> None:
        self._check_open()
        if not self.engine.handshake_complete:
            raise trio.NeedHandshakeError("do_handshake() comes first")
