"""Old routers, client certificates and Wireshark: what ``TlsSettings`` changes about a TLS context."""

from __future__ import annotations

import os
import stat

from OpenSSL import SSL

from ..errors import ConfigError
from .client_certificate import ClientCertificate
from .tls_settings import TlsSettings

_VERSIONS = {
    "1.0": SSL.TLS1_VERSION,
    "1.1": SSL.TLS1_1_VERSION,
    "1.2": SSL.TLS1_2_VERSION,
    "1.3": SSL.TLS1_3_VERSION,
}


def apply_tls_settings(context: SSL.Context, tls: TlsSettings) -> None:
    """Make a client's context speak TLS as ``tls`` say.

    Raises ConfigError when the key log cannot be written, or a certificate does not fit its key.
    """
    context.set_min_proto_version(_VERSIONS[tls.min_version])
    level = tls.level
    if level is not None:
        # The level comes before certificates and keys, which it judges.
        context.set_cipher_list(f"DEFAULT:@SECLEVEL={level}".encode("ascii"))
        if level == 0:
            # Routers of that age know nothing of RFC 5746 either.
            context.set_options(SSL.OP_LEGACY_SERVER_CONNECT)
    if tls.certificate is not None:
        use_client_certificate(context, tls.certificate)
    if tls.keylog_file is not None:
        _log_keys(context, tls.keylog_file)


def use_client_certificate(context: SSL.Context, certificate: ClientCertificate) -> None:
    """Show the server this certificate when it asks for one. Raises ConfigError when OpenSSL does not take it."""
    try:
        context.use_certificate(certificate.certificate)
        context.use_privatekey(certificate.key)
        for above in certificate.above:
            context.add_extra_chain_cert(above)
    except SSL.Error as error:
        raise ConfigError(
            "the TLS library does not take the client certificate",
            hint="its key or its signature may be too weak: --tls-seclevel 1, or 0, accepts more",
        ) from error


def _log_keys(context: SSL.Context, path: str) -> None:
    """Append the secrets of each connection to a file in the format that NSS made usual."""
    os.close(_open_keylog(path))  # a file that cannot be written is told now, not in the middle of a handshake

    def write(_connection: SSL.Connection, line: bytes) -> None:
        try:
            descriptor = _open_keylog(path)
        except ConfigError:
            return  # it could be opened before; the connection is worth more than its log
        try:
            os.write(descriptor, line + b"\n")  # one write: lines of several programs do not mix
        except OSError:
            pass  # the disk is full
        finally:
            os.close(descriptor)

    context.set_keylog_callback(write)


def _open_keylog(path: str) -> int:
    """Open the file for appending; nobody else may read it. Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise ConfigError(f"key log {path}: {error.strerror}", path=path) from error
    if os.name == "posix" and stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        os.close(descriptor)
        raise ConfigError(
            f"key log {path}: other users may open it, and its keys decrypt everything",
            path=path,
            hint=f"remove it or say chmod 600 {path}",
        )
    return descriptor
