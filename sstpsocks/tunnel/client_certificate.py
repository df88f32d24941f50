"""The user's own certificate: from PEM files or from PKCS#12, with or without a pass phrase."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from ..errors import ConfigError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
"""Private keys that can sign a TLS handshake."""

_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # Microsoft's user principal name, an otherName


@dataclass(frozen=True, slots=True)
class CertificateOptions:
    """What messages call the options that a certificate comes from."""

    certificate: str
    key: str
    passphrase_file: str

    @property
    def encrypted_hint(self) -> str:
        """What to do about an encrypted key."""
        return f"{self.passphrase_file} gives the pass phrase; at a terminal it is asked for."


EAP_OPTIONS = CertificateOptions("--eap-cert", "--eap-key", "--eap-passphrase-file")
TLS_OPTIONS = CertificateOptions("--certificate", "--key", "--passphrase-file")


class PassphraseNeeded(ConfigError):
    """The key is encrypted, and no pass phrase was given."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate with its key, and what the server may need to verify it."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False, compare=False)
    above: tuple[x509.Certificate, ...] = ()
    """The certificates of the authorities between it and a root."""

    @property
    def user(self) -> str:
        """Who it is for: its UPN, e-mail address or common name, as Windows takes them; empty when it says nothing."""
        return certificate_user(self.certificate)


def certificate_user(certificate: x509.Certificate) -> str:
    """Return the user that a certificate is for, empty when it does not say."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        pass
    else:
        for name in names.get_values_for_type(x509.OtherName):
            # The value is a UTF8String in DER: a tag, a length of one octet and the text.
            if name.type_id == _UPN and len(name.value) > 2 and name.value[0] == 0x0C and name.value[1] < 0x80:
                return name.value[2 : 2 + name.value[1]].decode("utf-8", "replace")
        for mail in names.get_values_for_type(x509.RFC822Name):
            return mail
    for attribute in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME):
        return str(attribute.value)
    return ""


def load_client_certificate(
    certificate_path: str,
    key_path: str | None = None,
    passphrase: str | None = None,
    options: CertificateOptions = EAP_OPTIONS,
) -> ClientCertificate:
    """Read a certificate and its key.

    ``certificate_path`` holds PEM, with the certificates above it behind it, or PKCS#12; ``key_path`` the key in PEM
    when it is in a file of its own. ``options`` is for messages. Raises PassphraseNeeded when the key is encrypted and
    there is no pass phrase, ConfigError for anything else.
    """
    data = _read(certificate_path)
    secret = passphrase.encode() if passphrase is not None else None
    with warnings.catch_warnings():
        # Odd serial numbers of private authorities are no concern here.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        # Windows writes PKCS#12 in BER, which is all that this one is about.
        warnings.filterwarnings("ignore", "PKCS#12 bundle could not be parsed as DER", UserWarning)
        if b"-----BEGIN" in data:
            chain = _pem_certificates(data, certificate_path)
            key_data = _read(key_path) if key_path is not None else data
            key = _pem_key(key_data, key_path or certificate_path, secret, options)
        else:
            key, chain = _pkcs12(data, certificate_path, secret, options)
    if not isinstance(key, PrivateKey):
        raise ConfigError(f"the key of the client certificate {certificate_path} is of a kind that TLS cannot use")
    own = next((c for c in chain if _belongs(c, key)), None)
    if own is None:
        raise ConfigError(f"no certificate in {certificate_path} belongs to the key")
    try:
        certificate_user(own)
    except ValueError as error:
        raise ConfigError(f"the certificate in {certificate_path} has a subject that cannot be read") from error
    return ClientCertificate(own, key, tuple(c for c in chain if c is not own))


def _belongs(certificate: x509.Certificate, key: PrivateKey) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False  # it holds no key, or one of a kind that ours is not


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", path=path) from error


def _pem_certificates(data: bytes, path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(f"{path} holds no readable certificate", path=path) from error


def _pem_key(data: bytes, path: str, passphrase: bytes | None, options: CertificateOptions) -> object:
    if b"PRIVATE KEY-----" not in data:
        raise ConfigError(f"{path} holds no private key", path=path, hint=f"Name the key's file with {options.key}.")
    encrypted = b"ENCRYPTED" in data
    if encrypted and passphrase is None:
        raise PassphraseNeeded(f"the private key in {path} is encrypted", path=path, hint=options.encrypted_hint)
    try:
        return serialization.load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # Without the library's text: it may quote what it was given.
        what = "the pass phrase of the private key in" if encrypted else "the private key in"
        raise ConfigError(f"{what} {path} is wrong or not readable", path=path) from error


def _pkcs12(
    data: bytes, path: str, passphrase: bytes | None, options: CertificateOptions
) -> tuple[object, list[x509.Certificate]]:
    try:
        key, own, above = pkcs12.load_key_and_certificates(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is None:
            message = f"{path} is neither PEM nor PKCS#12 without a pass phrase"
            raise PassphraseNeeded(message, path=path, hint=options.encrypted_hint) from error
        raise ConfigError(f"{path} is not PKCS#12, or the pass phrase is wrong", path=path) from error
    if key is None or own is None:
        raise ConfigError(f"{path} lacks the certificate or its private key", path=path)
    return key, [own, *above]
