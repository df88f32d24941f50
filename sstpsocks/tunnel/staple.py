"""The OCSP response that a server staples to its handshake (RFC 6066 section 8, RFC 6960).

Nothing is fetched: asking an authority would cost a round trip before the tunnel, and tell it who connects where. What
the server brings along is checked, though. RFC 6066 section 8: clients "MUST check the OCSP response and abort the
handshake if the response is not satisfactory". So one that is malformed, forged, out of date, about another
certificate, or says anything but "good" is refused. Two things count as no response: none at all, and one in which the
responder says that it cannot answer now; they are refused only where the certificate itself demands a response
(RFC 7633, "must-staple").
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

CLOCK_TOLERANCE = dt.timedelta(minutes=5)
"""By how much our clock and the responder's may differ."""


class StapleRefused(Exception):
    """What is wrong with the response, or that it is missing; ``revoked`` when the authority has said so."""

    def __init__(self, reason: str, *, revoked: bool = False) -> None:
        super().__init__(reason)
        self.revoked = revoked


def check_staple(staple: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: dt.datetime) -> str:
    """Return what to show about a stapled response, empty when there is none and need not be one.

    ``staple`` is what the server sent, empty for nothing; ``issuer`` is the certificate above ``certificate`` in the
    verified chain. Raises StapleRefused.
    """
    response = _parse(staple) if staple else None
    if response is None:
        if _must_staple(certificate):
            raise StapleRefused("the certificate demands a stapled OCSP response (must-staple), and there is none")
        return ""
    if not _is_genuine(response, issuer, now):
        raise StapleRefused("the stapled OCSP response was not signed by the certificate's authority")
    for single in response.responses:
        if _is_about(single, certificate, issuer):
            return _judge(single, now)
    raise StapleRefused("the stapled OCSP response is about another certificate")


def _parse(staple: bytes) -> ocsp.OCSPResponse | None:
    """Return the response, None for one without an answer."""
    try:
        response = ocsp.load_der_ocsp_response(staple)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return None
        # What is lazy in the parser must fail here: the rest may then rely on it.
        list(response.responses)
        list(response.certificates)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StapleRefused("the stapled OCSP response is malformed") from error
    return response


def _must_staple(certificate: x509.Certificate) -> bool:
    try:
        features = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except x509.ExtensionNotFound:
        return False
    return x509.TLSFeatureType.status_request in features


def _is_about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the answer is about this certificate of this authority (RFC 6960 section 4.1.1)."""
    if single.serial_number != certificate.serial_number:
        return False
    try:
        wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    except (ValueError, UnsupportedAlgorithm):
        return False
    return (single.issuer_name_hash, single.issuer_key_hash) == (wanted.issuer_name_hash, wanted.issuer_key_hash)


def _judge(single: ocsp.OCSPSingleResponse, now: dt.datetime) -> str:
    """Return what to show about a good answer. Raises StapleRefused for another one."""
    made, until = single.this_update_utc, single.next_update_utc
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        # Also in an old answer: revocation is for good, but for the rare hold.
        when = single.revocation_time_utc
        raise StapleRefused(
            f"certificate was revoked on {when:%Y-%m-%d} (stapled OCSP response)"
            if when
            else "certificate was revoked",
            revoked=True,
        )
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise StapleRefused("its authority does not know the certificate (stapled OCSP response)")
    if made - CLOCK_TOLERANCE > now:
        raise StapleRefused(f"the stapled OCSP response is of the future ({made:%Y-%m-%d %H:%M} UTC)")
    # RFC 6960 section 4.2.2.1: without nextUpdate newer information is always available; nobody could say how old is
    # too old, so such an answer is taken.
    if until is not None and until + CLOCK_TOLERANCE < now:
        raise StapleRefused(f"the stapled OCSP response is out of date since {until:%Y-%m-%d %H:%M} UTC")
    return f"not revoked as of {made:%Y-%m-%d %H:%M} UTC (stapled OCSP response)"


def _is_genuine(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: dt.datetime) -> bool:
    """Whether the authority signed the response, or a responder that it made for that (RFC 6960 section 4.2.2.2)."""
    signers = [issuer, *(found for found in response.certificates if _is_responder(found, issuer, now))]
    return any(_has_signed(signer, response) for signer in signers)


def _is_responder(certificate: x509.Certificate, issuer: x509.Certificate, now: dt.datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    is_valid_now = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    return ExtendedKeyUsageOID.OCSP_SIGNING in usages and is_valid_now


def _has_signed(signer: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    signature, signed = response.signature, response.tbs_response_bytes
    try:
        key, algorithm = signer.public_key(), response.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
