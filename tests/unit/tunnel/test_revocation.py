"""Lists of revoked certificates, and the answers that servers staple to their handshake."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import CertificateRejected, ConfigError
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.staple import StapleRefused, check_staple
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.trust import client_context, server_context, verify_peer
from tests.helpers.certificates import Issued, authority, issue, ocsp_response, pem_of, revocation_list
from tests.helpers.tls import client_engine, shake_hands

NAME = "vpn.example.com"
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def connect(issued: Issued, trust: TrustSettings, staple: bytes = b"") -> str:
    """Do what a tunnel does up to the first byte of HTTP, and return what vouches for the server."""
    context = server_context(issued.chain, issued.key)
    context.set_ocsp_server_callback(lambda _connection, _data: staple)
    client = client_engine(trust)
    shake_hands(client, TlsEngine(context, server_side=True))
    return verify_peer(client, trust)


def reason(issued: Issued, trust: TrustSettings, staple: bytes = b"") -> str:
    with pytest.raises(CertificateRejected) as caught:
        connect(issued, trust, staple)
    assert caught.value.hint
    assert caught.value.sha256
    return caught.value.reason


@pytest.fixture
def intermediate(root: Issued) -> Issued:
    return authority("Intermediate", root)


@pytest.fixture
def below(intermediate: Issued) -> Issued:
    return issue([NAME], intermediate, send_above=True)


def with_lists(tmp_path: Path, ca_file: str, *lists: x509.CertificateRevocationList) -> TrustSettings:
    path = tmp_path / "lists.pem"
    path.write_bytes(b"".join(map(pem_of, lists)))
    return TrustSettings(server_name=NAME, ca_file=ca_file, crl_file=str(path))


# Lists


def test_a_certificate_on_the_list_is_refused_and_one_that_is_not_is_trusted(
    root: Issued, good: Issued, ca_file: str, tmp_path: Path
) -> None:
    other = issue([NAME], root)
    trust = with_lists(tmp_path, ca_file, revocation_list(root, [other]))
    assert connect(good, trust) == NAME
    assert reason(other, trust) == "certificate was revoked"


def test_a_list_may_be_in_der(root: Issued, good: Issued, ca_file: str, tmp_path: Path) -> None:
    path = tmp_path / "list.crl"
    path.write_bytes(revocation_list(root, [good]).public_bytes(serialization.Encoding.DER))
    assert "revoked" in reason(good, TrustSettings(server_name=NAME, ca_file=ca_file, crl_file=str(path)))


def test_a_revoked_authority_takes_those_below_it_along(
    root: Issued, intermediate: Issued, below: Issued, ca_file: str, tmp_path: Path
) -> None:
    trust = with_lists(tmp_path, ca_file, revocation_list(root, [intermediate]), revocation_list(intermediate))
    assert reason(below, trust) == "certificate was revoked (not the server's own, but one that signed it)"


def test_the_list_of_the_issuing_authority_must_be_there_and_that_of_the_root_need_not(
    root: Issued, intermediate: Issued, below: Issued, ca_file: str, tmp_path: Path
) -> None:
    assert connect(below, with_lists(tmp_path, ca_file, revocation_list(intermediate))) == NAME
    assert "holds no list of the authority" in reason(below, with_lists(tmp_path, ca_file, revocation_list(root)))


def test_a_list_that_is_old_early_or_forged_is_no_list(
    root: Issued, good: Issued, ca_file: str, tmp_path: Path
) -> None:
    old = revocation_list(root, made=-20, until=-1)
    assert "out of date" in reason(good, with_lists(tmp_path, ca_file, old))
    early = revocation_list(root, made=2)
    assert "not valid yet" in reason(good, with_lists(tmp_path, ca_file, early))
    forged = revocation_list(root, signer=authority("Stranger"))
    assert "signature" in reason(good, with_lists(tmp_path, ca_file, forged))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "cannot be read"),
        (b"\x30\x03\x02\x01\x01", "cannot be read"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no list"),
        (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "cannot be read"),
    ],
)
def test_a_file_without_lists_is_a_configuration_error(ca_file: str, tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "bad.crl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        client_context(TrustSettings(server_name=NAME, ca_file=ca_file, crl_file=str(path)))
    with pytest.raises(ConfigError, match="No such file"):
        client_context(TrustSettings(server_name=NAME, ca_file=ca_file, crl_file=str(path) + ".missing"))


# Stapled answers


@pytest.fixture
def trust(ca_file: str) -> TrustSettings:
    return TrustSettings(server_name=NAME, ca_file=ca_file)


def test_a_good_answer_is_shown_and_none_is_fine(root: Issued, good: Issued, trust: TrustSettings) -> None:
    assert connect(good, trust) == NAME
    proof = connect(good, trust, ocsp_response(good, root))
    assert proof.startswith(f"{NAME}, not revoked as of 2")
    assert proof.endswith("(stapled OCSP response)")


def test_a_revoked_certificate_is_refused_also_by_an_old_answer(
    root: Issued, good: Issued, trust: TrustSettings
) -> None:
    for until in (3, -1):
        staple = ocsp_response(good, root, ocsp.OCSPCertStatus.REVOKED, made=-5, until=until)
        assert reason(good, trust, staple).startswith("certificate was revoked on 2")


def test_an_answer_may_come_from_a_responder_that_the_authority_made(
    root: Issued, good: Issued, trust: TrustSettings
) -> None:
    responder = issue([], root, subject="responder", usages=[ExtendedKeyUsageOID.OCSP_SIGNING])
    assert "not revoked" in connect(good, trust, ocsp_response(good, root, signer=responder))


def test_nobody_else_may_answer(root: Issued, good: Issued, trust: TrustSettings) -> None:
    strangers = [
        authority("Stranger"),
        issue([], root, subject="a server", usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
        issue([], root, subject="no usage", usages=[]),
        issue([], authority("Other"), subject="responder", usages=[ExtendedKeyUsageOID.OCSP_SIGNING]),
        issue([], root, subject="old", usages=[ExtendedKeyUsageOID.OCSP_SIGNING], valid_from=-9, valid_until=-1),
    ]
    for stranger in strangers:
        staple = ocsp_response(good, root, signer=stranger)
        assert "not signed by the certificate's authority" in reason(good, trust, staple)


def test_an_answer_that_is_not_satisfactory_is_refused(root: Issued, good: Issued, trust: TrustSettings) -> None:
    assert "out of date since" in reason(good, trust, ocsp_response(good, root, made=-9, until=-1))
    assert "of the future" in reason(good, trust, ocsp_response(good, root, made=1))
    assert "does not know" in reason(good, trust, ocsp_response(good, root, ocsp.OCSPCertStatus.UNKNOWN))
    assert "malformed" in reason(good, trust, b"\x30\x03\x0a\x01\x00")
    assert "not revoked" in connect(good, trust, ocsp_response(good, root, until=None))


def test_an_answer_about_another_certificate_is_refused(root: Issued, good: Issued) -> None:
    # Not over TLS: a server by OpenSSL does not send what is not about its certificate.
    now = dt.datetime.now(dt.UTC)
    for staple in (
        ocsp_response(good, root, about=issue([NAME], root)),
        ocsp_response(good, authority("Another"), signer=root),
    ):
        with pytest.raises(StapleRefused, match=r"another certificate|not signed"):
            check_staple(staple, good.certificate, root.certificate, now)


def test_must_staple_makes_the_answer_a_duty(root: Issued, trust: TrustSettings) -> None:
    issued = issue([NAME], root, extensions=[MUST_STAPLE])
    assert "must-staple" in reason(issued, trust)
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    answer = later.public_bytes(serialization.Encoding.DER)
    assert "must-staple" in reason(issued, trust, answer)
    assert "not revoked" in connect(issued, trust, ocsp_response(issued, root))


def test_a_responder_that_cannot_answer_now_is_no_obstacle(good: Issued, trust: TrustSettings) -> None:
    later = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    assert connect(good, trust, later.public_bytes(serialization.Encoding.DER)) == NAME


def test_a_pinned_certificate_is_not_asked_about(good: Issued, root: Issued) -> None:
    trust = TrustSettings(server_name=NAME, pins=(hashlib.sha256(good.der).digest(),))
    assert connect(good, trust, ocsp_response(good, root, ocsp.OCSPCertStatus.REVOKED)) == "the pinned fingerprint"


_ROOT = authority()
_LEAF = issue([NAME], _ROOT)
_STAPLE = ocsp_response(_LEAF, _ROOT)


@settings(deadline=None, max_examples=200)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(_STAPLE) - 1), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.integers(0, len(_STAPLE)),
)
def test_no_damaged_answer_passes_for_a_good_one(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(_STAPLE)
    for position, value in changes:
        damaged[position] ^= value
    for staple in (bytes(damaged), _STAPLE[:cut]):
        try:
            shown = check_staple(staple, _LEAF.certificate, _ROOT.certificate, dt.datetime.now(dt.UTC))
        except StapleRefused:
            continue
        # Only the wrapping was hit, or a status that says that there is no answer.
        assert shown == "" or staple[-40:] == _STAPLE[-40:] or staple == _STAPLE
