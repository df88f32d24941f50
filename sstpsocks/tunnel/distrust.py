"""Why a certificate is refused: one sentence for each cause, and what to do next.

OpenSSL tells a number; the sentences are ours. A hint may hold ``{pin}``, which becomes the fingerprint that
``--pin-sha256`` takes, so that nobody has to compute it: whoever has compared the fingerprint in the message with what
the server's administrator says can paste the rest.
"""

from __future__ import annotations

import hashlib

from OpenSSL import SSL, crypto

from ..errors import CertificateRejected
from .pins import pin_text

_PIN = "--pin-sha256 {pin} if you have checked its fingerprint by another way"
TRUST_HINT = f"pass --ca-file with the CA that signed it, or {_PIN}"
NAME_HINT = "pass --server-name with the name in the certificate if that is the server you want"
NO_NAME_HINT = f"ask for a certificate with the server's name in it, or pass {_PIN}"
PIN_HINT = (
    "if the server's administrator confirms that the certificate was renewed, pass its new fingerprint:"
    " --pin-sha256 {pin}"
)
REVOKED_HINT = "do not use this server until its administrator has installed a new certificate"
STAPLE_HINT = (
    "tell the server's administrator; until it is repaired, --pin-sha256 {pin} does without, if you have checked the"
    " fingerprint by another way"
)
_CLOCK_HINT = "check this machine's clock; if it is right, the server's administrator must renew the certificate"
_KEY_HINT = (
    "the server's administrator should replace it; until then --tls-seclevel 1, or 0, accepts it, at the risk that"
    " somebody forges it"
)
_HASH_HINT = (
    "the server's administrator should replace it; until then --tls-seclevel 0 accepts it, at the risk that somebody"
    " forges it"
)
_CRL_HINT = "fetch the authorities' current lists anew and put them all into the file of --crl-file"
_ISSUER_HINT = (
    "the server's administrator must install the whole chain of certificates, made by an authority that may sign"
)

_CODES = SSL.X509VerificationCodes
_UNKNOWN_AUTHORITY = "it was signed by an authority that is not trusted here"
_TIMES = (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID)
REVOCATION_CODES = frozenset(
    {
        _CODES.ERR_CERT_REVOKED,
        _CODES.ERR_UNABLE_TO_GET_CRL,
        _CODES.ERR_CRL_HAS_EXPIRED,
        _CODES.ERR_CRL_NOT_YET_VALID,
        _CODES.ERR_CRL_SIGNATURE_FAILURE,
        _CODES.ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
        _CODES.ERR_KEYUSAGE_NO_CRL_SIGN,
    }
)
"""What says, or leaves open, that the certificate was revoked: no matter for asking a person."""

REASONS: dict[int, tuple[str, str]] = {
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: ("self-signed certificate", TRUST_HINT),
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: (_UNKNOWN_AUTHORITY, TRUST_HINT),
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: (_UNKNOWN_AUTHORITY, TRUST_HINT),
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: (_UNKNOWN_AUTHORITY, TRUST_HINT),
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: (_UNKNOWN_AUTHORITY, TRUST_HINT),
    _CODES.ERR_CERT_HAS_EXPIRED: ("certificate has expired", _CLOCK_HINT),
    _CODES.ERR_CERT_NOT_YET_VALID: ("certificate is not valid yet", _CLOCK_HINT),
    _CODES.ERR_INVALID_PURPOSE: (
        "certificate is not meant for servers (extended key usage)",
        "the server's administrator must install a certificate for server authentication",
    ),
    _CODES.ERR_CERT_SIGNATURE_FAILURE: ("the certificate's signature is wrong", TRUST_HINT),
    _CODES.ERR_CERT_REVOKED: ("certificate was revoked", REVOKED_HINT),
    _CODES.ERR_UNABLE_TO_GET_CRL: ("--crl-file holds no list of the authority that signed it", _CRL_HINT),
    _CODES.ERR_CRL_HAS_EXPIRED: ("the authority's list of revoked certificates is out of date", _CRL_HINT),
    _CODES.ERR_CRL_NOT_YET_VALID: (
        "the authority's list of revoked certificates is not valid yet",
        "check this machine's clock",
    ),
    _CODES.ERR_CRL_SIGNATURE_FAILURE: (
        "the signature of the authority's list of revoked certificates is wrong",
        _CRL_HINT,
    ),
    _CODES.ERR_KEYUSAGE_NO_CRL_SIGN: ("its authority may not sign lists of revoked certificates", _CRL_HINT),
    _CODES.ERR_INVALID_CA: ("a certificate in the chain is not allowed to sign others", _ISSUER_HINT),
    _CODES.ERR_KEYUSAGE_NO_CERTSIGN: ("a certificate in the chain is not allowed to sign others", _ISSUER_HINT),
    _CODES.ERR_PATH_LENGTH_EXCEEDED: ("its chain is longer than an authority in it allows", _ISSUER_HINT),
    _CODES.ERR_CERT_CHAIN_TOO_LONG: ("its chain is too long", _ISSUER_HINT),
    # Numbers of OpenSSL's x509_vfy.h that pyOpenSSL has no name for.
    66: ("the certificate's key is too short to be safe", _KEY_HINT),
    67: ("the key of an authority in the chain is too short to be safe", _KEY_HINT),
    68: ("the certificate is signed with a hash that is not safe any more (such as SHA-1)", _HASH_HINT),
    79: ("a certificate in the chain is not allowed to sign others", _ISSUER_HINT),
}


class Revoked(CertificateRejected):
    """The certificate was revoked, or nobody can tell that it was not. No person is asked about that."""


def reason_of(error: int, depth: int) -> tuple[str, str]:
    """Return sentence and hint for OpenSSL's verification error at that depth; 0 is the server's own certificate."""
    reason, hint = REASONS.get(error, (f"certificate verification failed (OpenSSL error {error})", TRUST_HINT))
    if depth > 0 and (error in _TIMES or error == _CODES.ERR_CERT_REVOKED):
        reason += " (not the server's own, but one that signed it)"
    return reason, hint


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


def pin_of(certificate_der: bytes) -> str:
    """Return what to pin: the public key, which a renewal may keep; the certificate where the key cannot be parsed."""
    certificate, public_key = certificate_fingerprints(certificate_der)
    return pin_text(bytes.fromhex(public_key or certificate))


def rejection(
    peer: str, certificate_der: bytes, reason: str, hint: str, kind: type[CertificateRejected] = CertificateRejected
) -> CertificateRejected:
    """Return the error for a refused certificate; without ``certificate_der`` it shows no fingerprint."""
    fingerprint = hashlib.sha256(certificate_der).hexdigest() if certificate_der else ""
    shown = f" (SHA-256 {fingerprint})" if fingerprint else ""
    if certificate_der:
        hint = hint.replace("{pin}", pin_of(certificate_der))
    message = f"{peer}, TLS: certificate not trusted: {reason}{shown}"
    return kind(message, reason=reason, sha256=fingerprint, hint=hint)
