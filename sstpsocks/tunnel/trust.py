"""Whether the server is who it should be: chain, name and pins.

The chain is verified inside the handshake by OpenSSL, against the system's roots or ``--ca-file`` alone. The name is
verified by service-identity right behind it, by :func:`verify_peer`, before the first byte of HTTP leaves: pyOpenSSL
offers no host check of its own. A stapled OCSP response (staple.py) and lists of revoked certificates (revocation.py)
come on top. Pins replace all that; with trust on first use a person may be asked (first_use.py). Everything fails
closed.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import warnings
from collections.abc import Sequence
from functools import partial

import idna
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from ..errors import CertificateRejected, ConfigError
from .distrust import (
    NAME_HINT,
    NO_NAME_HINT,
    PIN_HINT,
    REVOCATION_CODES,
    REVOKED_HINT,
    STAPLE_HINT,
    TRUST_HINT,
    Revoked,
    reason_of,
    rejection,
)
from .distrust import certificate_fingerprints as certificate_fingerprints
from .revocation import demand_lists
from .roots import Roots, file_roots, load_roots, system_roots
from .settings import TrustSettings
from .staple import StapleRefused, check_staple
from .tls import TlsEngine
from .tls_options import apply_tls_settings
from .tls_settings import TlsSettings

ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""Private keys a server can use."""

_NO_LIST = SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_CRL
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


def client_context(settings: TrustSettings, roots: Roots | None = None, tls: TlsSettings | None = None) -> SSL.Context:
    """Return a TLS context that verifies the server's chain as ``settings`` say.

    ``roots`` are those of :func:`choose_roots`, which is called when they are not given. ``tls`` says what versions
    are spoken; without it TLS 1.2 or newer. The handshake of an engine with this context raises CertificateRejected
    for a bad chain; call :func:`verify_peer` behind it in any case. Raises ConfigError as :func:`choose_roots` does,
    or for a file of the settings that cannot be used.
    """
    context = _base_context()
    if tls is not None:
        apply_tls_settings(context, tls)
    if settings.pins:
        # The certificate itself is what is trusted; verify_peer() compares it. OpenSSL's verdict would not count.
        context.set_verify(SSL.VERIFY_NONE)
        return context
    load_roots(context, roots if roots is not None else choose_roots(settings) or system_roots())
    if settings.crl_file is not None:
        demand_lists(context, settings.crl_file)
    # A client's context verifies for the purpose "sslserver" by default: an extended key usage, when there is one,
    # must allow serverAuth (RFC 5280 section 4.2.1.12).
    context.set_verify(SSL.VERIFY_PEER, partial(_on_verified, may_ask=settings.first_use is not None))
    context.set_ocsp_client_callback(_on_staple)
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


def verify_peer(engine: TlsEngine, settings: TrustSettings) -> str:
    """Check pins, or name and stapled OCSP response, of the certificate that ``engine`` has seen.

    Call it right after the handshake. Returns what vouches for the server, for messages. Raises CertificateRejected,
    or ConfigError when ``settings.server_name`` is no name at all.
    """
    der = engine.peer_certificate_der()
    if settings.pins:
        _verify_pin(engine, settings.pins, der)
        return "the pinned fingerprint"
    refusal = engine.rejection or engine.doubt
    if refusal is not None:
        raise refusal
    certificate, names = _named(engine.peer, der)
    # Before the name: what was revoked is not to be asked about (first_use.py).
    status = _verify_staple(engine, der, certificate)
    _verify_name(engine.peer, der, certificate, names, settings.server_name)
    return f"{settings.server_name}, {status}" if status else settings.server_name


def verify_name(peer: str, der: bytes, server_name: str) -> None:
    """Check only that the certificate holds a name. Raises CertificateRejected, or ConfigError as verify_peer()."""
    _verify_name(peer, der, *_named(peer, der), server_name)


def _named(peer: str, der: bytes) -> tuple[x509.Certificate, list[str]]:
    """Return the certificate and its names. Raises CertificateRejected when it has none or cannot be read."""
    try:
        certificate = _parse(der)
        names = _names(certificate)
    except ValueError as error:
        raise rejection(peer, der, "certificate cannot be parsed", TRUST_HINT) from error
    if not names:
        # RFC 9525 section 2: names in the common name are not considered.
        reason = "certificate has no subject alternative name, only (if anything) a common name, which proves nothing"
        raise rejection(peer, der, reason, NO_NAME_HINT)
    return certificate, names


def _verify_name(peer: str, der: bytes, certificate: x509.Certificate, names: list[str], server_name: str) -> None:
    address = ip_literal(server_name)
    try:
        if address is not None:
            verify_certificate_ip_address(certificate, address)
        else:
            verify_certificate_hostname(certificate, ascii_name(server_name))
    except VerificationError as error:
        listed = ", ".join(names[:_MAX_NAMES]) + (", ..." if len(names) > _MAX_NAMES else "")
        reason = f"certificate is not for {server_name}; it names {listed}"
        raise rejection(peer, der, reason, NAME_HINT) from error
    except CertificateError as error:
        raise rejection(peer, der, "the names in the certificate are malformed", TRUST_HINT) from error


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


def server_name_indication(settings: TrustSettings) -> str | None:
    """Return what SNI carries, None for nothing: what the settings say, else the name to verify."""
    if settings.sni is None:
        return sni_name(settings.server_name)
    return ascii_name(settings.sni) if settings.sni else None


def _is_label(label: str) -> bool:
    return all(character.isalnum() or character in "-_" for character in label)


def _base_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # A renegotiation (TLS 1.2) could replace the certificate that was verified; nothing here needs one.
    context.set_options(SSL.OP_NO_COMPRESSION | getattr(SSL, "OP_NO_RENEGOTIATION", 0))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _on_verified(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, passed: int, *, may_ask: bool
) -> bool:
    """Note the first thing that is wrong and stop the handshake, unless a person may be asked about it.

    OpenSSL asks about the chain from the top down, depth 0 being the server's own certificate. After a failure further
    up it is told to go on, only so that the server's own comes by, whose fingerprint the message needs; there the
    answer is no.
    """
    engine: TlsEngine = connection.get_app_data()
    if not passed and not (error == _NO_LIST and depth > 0):  # see revocation.py for those further up
        reason, hint = reason_of(error, depth)
        if error in REVOCATION_CODES:
            # It outweighs what was wrong before, such as an expired certificate.
            if not isinstance(engine.rejection, Revoked):
                engine.rejection = rejection(engine.peer, b"", reason, hint, Revoked)
        elif may_ask:
            engine.doubt = engine.doubt or rejection(engine.peer, b"", reason, hint)
        else:
            engine.rejection = engine.rejection or rejection(engine.peer, b"", reason, hint)
    if depth > 0:
        return True
    der = crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
    engine.rejection = _with_fingerprint(engine, engine.rejection, der)
    engine.doubt = _with_fingerprint(engine, engine.doubt, der)
    return engine.rejection is None


def _with_fingerprint(engine: TlsEngine, refusal: CertificateRejected | None, der: bytes) -> CertificateRejected | None:
    if refusal is None or refusal.sha256:
        return refusal
    return rejection(engine.peer, der, refusal.reason, refusal.hint, type(refusal))


def _on_staple(connection: SSL.Connection, staple: bytes, _data: object) -> bool:
    """Keep the stapled OCSP response for verify_peer(), which knows more and can say more."""
    engine: TlsEngine = connection.get_app_data()
    engine.staple = staple
    return True


def _verify_staple(engine: TlsEngine, der: bytes, certificate: x509.Certificate) -> str:
    """Return what to show about the stapled response, empty for nothing. Raises CertificateRejected."""
    issuer = engine.issuer_der()
    if issuer is None or not engine.asked_for_status:
        return ""  # the certificate itself is among the trusted ones, or nobody asked
    try:
        return check_staple(engine.staple, certificate, _parse(issuer), dt.datetime.now(dt.UTC))
    except StapleRefused as error:
        hint = REVOKED_HINT if error.revoked else STAPLE_HINT
        raise rejection(engine.peer, der, str(error), hint, Revoked) from error
    except ValueError as error:  # cryptography's parser is stricter than OpenSSL's
        raise rejection(
            engine.peer, der, "its stapled OCSP response cannot be checked", STAPLE_HINT, Revoked
        ) from error


def _verify_pin(engine: TlsEngine, pins: tuple[bytes, ...], der: bytes) -> None:
    wanted = {pin.hex() for pin in pins}
    certificate, public_key = certificate_fingerprints(der)
    if not wanted & {certificate, public_key}:
        reason = (
            f"certificate and public key match no pinned fingerprint; the public key's is {public_key or 'unknown'}"
        )
        raise rejection(engine.peer, der, reason, PIN_HINT)


def _parse(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # Odd serial numbers of private authorities are no concern of the name check.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        return x509.load_der_x509_certificate(der)


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
