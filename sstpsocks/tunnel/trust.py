"""Whether the server is who it should be: chain, name and pins.

The chain is verified inside the handshake by OpenSSL, against the system's roots or ``--ca-file`` alone. The name is
verified by service-identity right behind it, by :func:`verify_peer`, before the first byte of HTTP leaves: pyOpenSSL
offers no host check of its own. Pins replace both. Everything fails closed.
"""

from __future__ import annotations

import hashlib
import ipaddress
import warnings
from collections.abc import Sequence

import idna
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from ..errors import CertificateRejected, ConfigError
from .roots import Roots, file_roots, load_roots, system_roots
from .settings import TrustSettings
from .tls import TlsEngine

ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""Private keys a server can use."""

_TRUST_HINT = (
    "pass --ca-file with the CA that signed it, or --pin-sha256 <hex> if you have checked that fingerprint by another"
    " way"
)
_CLOCK_HINT = "check this machine's clock; if it is right, the server's administrator must renew the certificate"
_NAME_HINT = "pass --server-name with the name in the certificate if that is the server you want"
_PIN_HINT = (
    "if the server's administrator confirms that the certificate was renewed, pass its new fingerprint to --pin-sha256"
)

_CODES = SSL.X509VerificationCodes
_UNKNOWN_AUTHORITY = "it was signed by an authority that is not trusted here"
_REASONS: dict[int, tuple[str, str]] = {
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: ("self-signed certificate", _TRUST_HINT),
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: (_UNKNOWN_AUTHORITY, _TRUST_HINT),
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: (_UNKNOWN_AUTHORITY, _TRUST_HINT),
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: (_UNKNOWN_AUTHORITY, _TRUST_HINT),
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: (_UNKNOWN_AUTHORITY, _TRUST_HINT),
    _CODES.ERR_CERT_HAS_EXPIRED: ("certificate has expired", _CLOCK_HINT),
    _CODES.ERR_CERT_NOT_YET_VALID: ("certificate is not valid yet", _CLOCK_HINT),
    _CODES.ERR_INVALID_PURPOSE: (
        "certificate is not meant for servers (extended key usage)",
        "the server's administrator must install a certificate for server authentication",
    ),
    _CODES.ERR_CERT_SIGNATURE_FAILURE: ("the certificate's signature is wrong", _TRUST_HINT),
    _CODES.ERR_CERT_REVOKED: ("certificate was revoked", ""),
}
# Numbers of OpenSSL's x509_vfy.h that pyOpenSSL has no name for.
_REASONS[66] = ("the certificate's key is too short to be safe", _TRUST_HINT)
_REASONS[67] = ("the key of an authority in the chain is too short to be safe", _TRUST_HINT)
_REASONS[68] = ("the certificate is signed with a hash that is not safe any more (such as SHA-1)", _TRUST_HINT)
_REASONS[79] = ("a certificate in the chain is not allowed to sign others", _TRUST_HINT)

_MAX_NAMES = 4  # names of a foreign certificate that a message lists


def choose_roots(settings: TrustSettings) -> Roots | None:
    """Return the authorities to trust, None when pins decide instead.

    Raises ConfigError when a CA file cannot be read or no authorities can be found.
    """
    if settings.pins:
        return None
    if settings.ca_file is not None:
        return file_roots(settings.ca_file)
    return system_roots()


def client_context(settings: TrustSettings, roots: Roots | None = None) -> SSL.Context:
    """Return a TLS context that verifies the server's chain as ``settings`` say; TLS 1.2 or newer.

    ``roots`` are those of :func:`choose_roots`, which is called when they are not given. The handshake of an engine
    with this context raises CertificateRejected for a bad chain; call :func:`verify_peer` behind it in any case.
    Raises ConfigError as :func:`choose_roots` does.
    """
    context = _base_context()
    if settings.pins:
        # The certificate itself is what is trusted; verify_peer() compares it. OpenSSL's verdict would not count.
        context.set_verify(SSL.VERIFY_NONE)
        return context
    load_roots(context, roots if roots is not None else choose_roots(settings) or system_roots())
    # A client's context verifies for the purpose "sslserver" by default: an extended key usage, when there is one,
    # must allow serverAuth (RFC 5280 section 4.2.1.12).
    context.set_verify(SSL.VERIFY_PEER, _on_verified)
    return context


def server_context(certificates: Sequence[x509.Certificate] | bytes, key: ServerKey | bytes) -> SSL.Context:
    """Return a server's TLS context; TLS 1.2 or newer.

    ``certificates`` is the chain, the server's own first, as objects or PEM; ``key`` its private key, as an object or
    unencrypted PEM. Raises ConfigError when they cannot be read or do not belong together.
    """
    try:
        chain = x509.load_pem_x509_certificates(certificates) if isinstance(certificates, bytes) else certificates
        private_key = serialization.load_pem_private_key(key, None) if isinstance(key, bytes) else key
    except (ValueError, TypeError) as error:
        raise ConfigError(f"server certificate or key: {error}") from error
    if not chain or not isinstance(private_key, ServerKey):
        raise ConfigError("server certificate or key: an RSA, ECDSA or EdDSA key with its certificate is needed")
    context = _base_context()
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(private_key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigError("server certificate or key: they do not belong together") from error
    return context


def verify_peer(engine: TlsEngine, settings: TrustSettings) -> None:
    """Check pins, or the name, of the certificate that ``engine`` has seen; call it right after the handshake.

    Raises CertificateRejected, or ConfigError when ``settings.server_name`` is no name at all.
    """
    der = engine.peer_certificate_der()
    fingerprint = hashlib.sha256(der).hexdigest()
    if settings.pins:
        _verify_pin(engine, settings.pins, fingerprint)
        return
    if engine.rejection is not None:
        raise engine.rejection
    try:
        certificate = _parse(engine)
        names = _names(certificate)
    except ValueError as error:
        raise _rejection(engine, "certificate cannot be parsed", fingerprint, _TRUST_HINT) from error
    if not names:
        # RFC 9525 section 2: names in the common name are not considered.
        raise _rejection(
            engine,
            "certificate has no subject alternative name, only (if anything) a common name, which proves nothing",
            fingerprint,
            "ask for a certificate with the server's name in it, or pass --pin-sha256 <hex> if you have checked that"
            " fingerprint by another way",
        )
    address = ip_literal(settings.server_name)
    try:
        if address is not None:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, ascii_name(settings.server_name))
    except VerificationError as error:
        listed = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
        reason = f"certificate is not for {settings.server_name}; it names {listed}"
        raise _rejection(engine, reason, fingerprint, _NAME_HINT) from error
    except CertificateError as error:
        raise _rejection(engine, "the names in the certificate are malformed", fingerprint, _TRUST_HINT) from error


def certificate_fingerprints(certificate_der: bytes) -> tuple[str, str]:
    """Return the SHA-256 of a certificate and of its public key (SPKI), in lower-case hexadecimal.

    The second is empty when the key cannot be parsed.
    """
    try:
        key = crypto.load_certificate(crypto.FILETYPE_ASN1, certificate_der).get_pubkey()
        spki = crypto.dump_publickey(crypto.FILETYPE_ASN1, key)
    except crypto.Error:
        return hashlib.sha256(certificate_der).hexdigest(), ""
    return hashlib.sha256(certificate_der).hexdigest(), hashlib.sha256(spki).hexdigest()


def ip_literal(name: str) -> str | None:
    """Return ``name`` as a plain IP address if it is one (brackets and a zone are dropped), else None."""
    bare = name.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None


def ascii_name(name: str) -> str:
    """Return a DNS name in ASCII (A-labels, RFC 5890), lower case and without a final dot.

    Raises ConfigError when it cannot be one.
    """
    bare = name.removesuffix(".")
    if bare.isascii():
        result = bare.lower()  # also names that IDNA forbids but servers have, such as those with an underscore
    else:
        try:
            result = idna.encode(bare, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ConfigError(f"server name {name!r} is not a valid DNS name: {error}") from error
    labels = result.split(".")
    if len(result) > 253 or not all(0 < len(label) <= 63 and _is_label(label) for label in labels):
        raise ConfigError(f"server name {name!r} is neither a DNS name nor an IP address")
    return result


def sni_name(name: str) -> str | None:
    """Return what SNI carries for ``name``: the ASCII DNS name, None for an address (RFC 6066 section 3)."""
    return None if ip_literal(name) is not None else ascii_name(name)


def _is_label(label: str) -> bool:
    return all(character.isalnum() or character in "-_" for character in label)


def _base_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # A renegotiation (TLS 1.2) could replace the certificate that was verified; nothing here needs one.
    context.set_options(SSL.OP_NO_COMPRESSION | getattr(SSL, "OP_NO_RENEGOTIATION", 0))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _on_verified(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, passed: int) -> bool:
    """Note the first thing that is wrong and stop the handshake.

    OpenSSL asks about the chain from the top down, depth 0 being the server's own certificate. After a failure further
    up it is told to go on, only so that the server's own comes by, whose fingerprint the message needs; there the
    answer is no.
    """
    engine: TlsEngine = connection.get_app_data()
    if not passed and engine.rejection is None:
        reason, hint = _REASONS.get(error, (f"certificate verification failed (OpenSSL error {error})", _TRUST_HINT))
        if depth > 0 and error in (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID):
            reason += " (not the server's own, but one that signed it)"
        engine.rejection = _rejection(engine, reason, "", hint)
    if engine.rejection is None:
        return True
    if depth > 0:
        return True
    fingerprint = hashlib.sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)).hexdigest()
    engine.rejection = _rejection(engine, engine.rejection.reason, fingerprint, engine.rejection.hint)
    return False


def _verify_pin(engine: TlsEngine, pins: tuple[bytes, ...], fingerprint: str) -> None:
    wanted = {pin.hex() for pin in pins}
    certificate, public_key = certificate_fingerprints(engine.peer_certificate_der())
    if not wanted & {certificate, public_key}:
        reason = (
            f"certificate and public key match no pinned fingerprint; the public key's is {public_key or 'unknown'}"
        )
        raise _rejection(engine, reason, fingerprint, _PIN_HINT)


def _rejection(engine: TlsEngine, reason: str, fingerprint: str, hint: str) -> CertificateRejected:
    shown = f" (SHA-256 {fingerprint})" if fingerprint else ""
    message = f"{engine.peer}, TLS: certificate not trusted: {reason}{shown}"
    return CertificateRejected(message, reason=reason, sha256=fingerprint, hint=hint)


def _parse(engine: TlsEngine) -> x509.Certificate:
    with warnings.catch_warnings():
        # Odd serial numbers of private authorities are no concern of the name check.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return engine.peer_certificate()


def _names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names and addresses of the certificate, fit for a message. Raises ValueError for bad ones."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    except x509.DuplicateExtension as error:
        raise ValueError(str(error)) from error
    names = [str(name) for name in extension.value.get_values_for_type(x509.DNSName)]
    names += [str(address) for address in extension.value.get_values_for_type(x509.IPAddress)]
    # The server chose these characters: nothing but plain ones reaches a terminal.
    return ["".join(c if c.isascii() and c.isprintable() else "?" for c in name)[:80] for name in names]
