"""Certificates for tests, good and bad. Elliptic-curve keys: making them costs nothing."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate, its key and the certificates above it that the server sends."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.certificate, *self.above]

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def public_key_der(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def issue(
    names: Sequence[str],
    issuer: Issued | None = None,
    *,
    subject: str = "server",
    valid_from: float = -1,
    valid_until: float = 30,
    is_authority: bool = False,
    usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.SERVER_AUTH,),
    send_above: bool = False,
    key: Key | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """Make a certificate, self-signed without ``issuer``; validity in days from now."""
    key = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    signer = issuer.key if issuer is not None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(issuer.certificate.subject if issuer is not None else common_name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid_from * DAY)
        .not_valid_after(now + valid_until * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative_name(name) for name in names]), critical=False
        )
    if usages and not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    above = (issuer.certificate, *issuer.above) if issuer is not None and send_above else ()
    return Issued(certificate, key, above)


def weak_key() -> Key:
    """Make a key that is too short."""
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - that it is too short is the point


def authority(
    subject: str = "Test Authority", issuer: Issued | None = None, *, valid_from: float = -1, valid_until: float = 30
) -> Issued:
    """Make a certificate authority, a root without ``issuer``."""
    return issue([], issuer, subject=subject, is_authority=True, valid_from=valid_from, valid_until=valid_until)


def revocation_list(
    issuer: Issued,
    revoked: Sequence[Issued] = (),
    *,
    made: float = -1,
    until: float = 30,
    signer: Issued | None = None,
) -> x509.CertificateRevocationList:
    """Make an authority's list of revoked certificates; times in days from now."""
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now + made * DAY)
        .next_update(now + until * DAY)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(entry.certificate.serial_number)
            .revocation_date(now - DAY)
            .build()
        )
    return builder.sign((signer or issuer).key, hashes.SHA256())


def pem_of(revocation_list: x509.CertificateRevocationList) -> bytes:
    return revocation_list.public_bytes(serialization.Encoding.PEM)


def ocsp_response(
    issued: Issued,
    issuer: Issued,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    signer: Issued | None = None,
    made: float = -1,
    until: float | None = 3,
    about: Issued | None = None,
) -> bytes:
    """Make the answer of an OCSP responder; times in days from now. ``about``: another certificate than asked for."""
    now = dt.datetime.now(dt.UTC)
    responder = signer or issuer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=(about or issued).certificate,
            issuer=issuer.certificate,
            algorithm=hashes.SHA1(),  # noqa: S303 - what every responder uses to name certificates
            cert_status=status,
            this_update=now + made * DAY,
            next_update=None if until is None else now + until * DAY,
            revocation_time=now - 2 * DAY if status is ocsp.OCSPCertStatus.REVOKED else None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
    )
    if signer is not None:
        builder = builder.certificates([signer.certificate])
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
