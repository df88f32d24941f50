"""Which servers are trusted, and what a person is told about the others."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from sstpsocks.errors import CertificateRejected, ConfigError, TlsFailed
from sstpsocks.tunnel.distrust import REASONS, reason_of
from sstpsocks.tunnel.pins import parse_pin, pin_text
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.trust import (
    ascii_name,
    certificate_fingerprints,
    client_context,
    ip_literal,
    server_context,
    sni_name,
    verify_peer,
)
from tests.helpers.certificates import Issued, authority, issue
from tests.helpers.tls import SERVER, client_engine, server_engine, shake_hands

NAME = "vpn.example.com"


def connect(issued: Issued, trust: TrustSettings) -> TlsEngine:
    """Do what a tunnel does up to the first byte of HTTP."""
    client, server = client_engine(trust), server_engine(issued)
    shake_hands(client, server)
    verify_peer(client, trust)
    return client


def refused(issued: Issued, trust: TrustSettings) -> CertificateRejected:
    with pytest.raises(CertificateRejected) as caught:
        connect(issued, trust)
    error = caught.value
    assert error.sha256 == hashlib.sha256(issued.der).hexdigest()
    assert str(error).startswith(f"{SERVER}, TLS: certificate not trusted: ")
    assert f"(SHA-256 {error.sha256})" in str(error)
    assert "\n" not in str(error)
    assert error.hint
    assert error.exit_code == 4
    return error


@pytest.mark.parametrize(
    "name", [NAME, "VPN.Example.COM", "vpn.example.com.", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"]
)
def test_a_name_or_address_in_the_certificate_is_trusted(good: Issued, ca_file: str, name: str) -> None:
    engine = connect(good, TrustSettings(server_name=name, ca_file=ca_file))
    assert engine.version == "TLSv1.3"
    assert engine.peer_certificate_der() == good.der


@pytest.mark.parametrize("name", ["other.example.com", "example.com", "a.vpn.example.com", "192.0.2.2", "2001:db8::2"])
def test_another_name_or_address_is_refused_and_the_message_lists_the_names(
    good: Issued, ca_file: str, name: str
) -> None:
    error = refused(good, TrustSettings(server_name=name, ca_file=ca_file))
    assert error.reason == f"certificate is not for {name}; it names vpn.example.com, 192.0.2.1, 2001:db8::1"
    assert "--server-name" in error.hint


def test_an_address_written_as_a_dns_name_does_not_prove_an_address(root: Issued, ca_file: str) -> None:
    issued = issue(["x.example.com"], root, subject="192.0.2.1")
    assert "is not for 192.0.2.1" in refused(issued, TrustSettings(server_name="192.0.2.1", ca_file=ca_file)).reason


def test_a_wildcard_covers_one_label(root: Issued, ca_file: str) -> None:
    issued = issue(["*.example.com"], root)
    connect(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    refused(issued, TrustSettings(server_name="a.b.example.com", ca_file=ca_file))


@pytest.mark.parametrize("name", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_an_international_name_is_compared_in_ascii(root: Issued, ca_file: str, name: str) -> None:
    connect(issue(["xn--bcher-kva.example"], root), TrustSettings(server_name=name, ca_file=ca_file))


def test_a_trustme_certificate_passes(tmp_path: Path) -> None:
    authority_of_trustme = trustme.CA()
    certificate = authority_of_trustme.issue_cert(NAME)
    authority_of_trustme.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = server_context(
        b"".join(pem.bytes() for pem in certificate.cert_chain_pems), certificate.private_key_pem.bytes()
    )
    trust = TrustSettings(server_name=NAME, ca_file=str(tmp_path / "ca.pem"))
    client = client_engine(trust)
    shake_hands(client, TlsEngine(context, server_side=True))
    verify_peer(client, trust)


def test_an_unknown_authority_is_refused(ca_file: str) -> None:
    error = refused(issue([NAME], authority("Stranger")), TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "it was signed by an authority that is not trusted here"
    assert "--ca-file" in error.hint
    assert "--pin-sha256" in error.hint


def test_an_unknown_authority_that_the_server_sends_along_is_refused_too(ca_file: str) -> None:
    issued = issue([NAME], authority("Stranger"), send_above=True)
    error = refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "it was signed by an authority that is not trusted here"


def test_a_self_signed_certificate_is_refused(ca_file: str) -> None:
    issued = issue([NAME])
    error = refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "self-signed certificate"
    pin = pin_text(hashlib.sha256(issued.public_key_der).digest())
    assert error.hint == (
        f"pass --ca-file with the CA that signed it, or --pin-sha256 {pin} if you have checked its fingerprint by"
        " another way"
    )
    connect(issued, TrustSettings(server_name=NAME, pins=(parse_pin(pin),)))


def test_a_self_signed_certificate_is_trusted_when_it_is_the_ca_file(tmp_path: Path) -> None:
    issued = issue([NAME])
    (tmp_path / "self.pem").write_bytes(issued.pem)
    connect(issued, TrustSettings(server_name=NAME, ca_file=str(tmp_path / "self.pem")))


def test_an_intermediate_authority_alone_can_be_the_ca_file(root: Issued, tmp_path: Path) -> None:
    intermediate = authority("Intermediate", root)
    (tmp_path / "intermediate.pem").write_bytes(intermediate.pem)
    trust = TrustSettings(server_name=NAME, ca_file=str(tmp_path / "intermediate.pem"))
    connect(issue([NAME], intermediate), trust)


def test_an_intermediate_that_the_server_sends_completes_the_chain(root: Issued, ca_file: str) -> None:
    issued = issue([NAME], authority("Intermediate", root), send_above=True)
    connect(issued, TrustSettings(server_name=NAME, ca_file=ca_file))


def test_an_expired_certificate_is_refused(root: Issued, ca_file: str) -> None:
    issued = issue([NAME], root, valid_from=-10, valid_until=-1)
    error = refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "certificate has expired"
    assert "clock" in error.hint


def test_an_expired_intermediate_is_told_from_an_expired_certificate(root: Issued, ca_file: str) -> None:
    intermediate = authority("Intermediate", root, valid_from=-10, valid_until=-1)
    error = refused(issue([NAME], intermediate, send_above=True), TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "certificate has expired (not the server's own, but one that signed it)"


def test_a_certificate_of_the_future_is_refused(root: Issued, ca_file: str) -> None:
    issued = issue([NAME], root, valid_from=2)
    error = refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason == "certificate is not valid yet"
    assert "check this machine's clock" in error.hint


def test_a_certificate_for_clients_is_refused(root: Issued, ca_file: str) -> None:
    issued = issue([NAME], root, usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    error = refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file))
    assert "not meant for servers" in error.reason
    assert "install a certificate for server authentication" in error.hint


def test_a_certificate_without_extended_key_usage_is_trusted(root: Issued, ca_file: str) -> None:
    connect(issue([NAME], root, usages=[]), TrustSettings(server_name=NAME, ca_file=ca_file))


def test_a_leaf_that_signs_another_is_no_authority(root: Issued, good: Issued, ca_file: str) -> None:
    error = refused(issue([NAME], good, send_above=True), TrustSettings(server_name=NAME, ca_file=ca_file))
    assert error.reason


def test_a_common_name_alone_proves_nothing(root: Issued, ca_file: str) -> None:
    error = refused(issue([], root, subject=NAME), TrustSettings(server_name=NAME, ca_file=ca_file))
    assert "no subject alternative name" in error.reason
    assert "--pin-sha256" in error.hint


@pytest.mark.parametrize("what", ["certificate", "public key"])
def test_a_pin_replaces_chain_and_name(what: str) -> None:
    issued = issue([], subject="whatever", valid_from=-10, valid_until=-1)
    der = issued.der if what == "certificate" else issued.public_key_der
    pins = (bytes(32), hashlib.sha256(der).digest())
    connect(issued, TrustSettings(server_name=NAME, pins=pins))


def test_a_wrong_pin_is_refused_even_for_a_good_certificate(good: Issued, ca_file: str) -> None:
    error = refused(good, TrustSettings(server_name=NAME, ca_file=ca_file, pins=(bytes(32),)))
    assert hashlib.sha256(good.public_key_der).hexdigest() in error.reason
    assert "--pin-sha256" in error.hint


def test_fingerprints_are_those_of_the_certificate_and_its_public_key(good: Issued) -> None:
    assert certificate_fingerprints(good.der) == (
        hashlib.sha256(good.der).hexdigest(),
        hashlib.sha256(good.public_key_der).hexdigest(),
    )


def test_a_refusal_by_the_callback_outlives_a_handshake_that_succeeds(good: Issued, ca_file: str) -> None:
    trust = TrustSettings(server_name=NAME, ca_file=ca_file)
    client, server = client_engine(trust), server_engine(good)
    client.rejection = CertificateRejected("noted", reason="noted")
    with pytest.raises(CertificateRejected):
        shake_hands(client, server)
    assert not client.handshake_complete


def test_control_characters_in_names_do_not_reach_the_message(root: Issued, ca_file: str) -> None:
    issued = issue(["evil\x1b[2J\nname"], root)
    assert "it names evil?[2J?name" in refused(issued, TrustSettings(server_name=NAME, ca_file=ca_file)).reason


def test_tls_older_than_1_2_is_refused_with_the_reason(good: Issued, ca_file: str) -> None:
    context = server_context(good.chain, good.key)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    client = client_engine(TrustSettings(server_name=NAME, ca_file=ca_file))
    server = TlsEngine(context, server_side=True)
    assert not client.handshake()
    server.feed(client.ciphertext_to_send())
    with pytest.raises(TlsFailed):
        server.handshake()
    client.feed(server.ciphertext_to_send())
    with pytest.raises(TlsFailed, match="only versions of TLS older than"):
        client.handshake()


def test_tls_1_2_is_accepted(good: Issued, ca_file: str) -> None:
    context = server_context(good.chain, good.key)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    trust = TrustSettings(server_name=NAME, ca_file=ca_file)
    client = client_engine(trust)
    shake_hands(client, TlsEngine(context, server_side=True))
    verify_peer(client, trust)
    assert client.version == "TLSv1.2"


def test_a_missing_ca_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        client_context(TrustSettings(server_name=NAME, ca_file=str(tmp_path / "missing.pem")))
    assert caught.value.path.endswith("missing.pem")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x30\x82\x01", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)
def test_a_ca_file_without_certificates_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pem").write_bytes(content)
    with pytest.raises(ConfigError, match="holds no"):
        client_context(TrustSettings(server_name=NAME, ca_file=str(tmp_path / "bad.pem")))


def test_a_server_certificate_with_another_key_is_a_configuration_error(good: Issued, root: Issued) -> None:
    with pytest.raises(ConfigError, match="do not belong together"):
        server_context(good.chain, root.key)
    with pytest.raises(ConfigError):
        server_context(good.pem, b"no key")
    server_context(good.pem, good.key_pem)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("vpn.example.com", None),
        ("1.2.3", None),
    ],
)
def test_addresses_are_told_from_names(name: str, address: str | None) -> None:
    assert ip_literal(name) == address
    if address is not None:
        assert sni_name(name) is None


@pytest.mark.parametrize("name", ["localhost", "my_host.example.com", "VPN.example.COM."])
def test_usual_names_are_names(name: str) -> None:
    assert sni_name(name) == ascii_name(name) == name.lower().removesuffix(".")


@pytest.mark.parametrize("name", ["", ".", "a..b", "a b", "x" * 64 + ".example", "a/b", "ü" * 80])
def test_what_is_no_name_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="server name"):
        ascii_name(name)


def test_every_verdict_has_a_sentence_and_a_next_step() -> None:
    for code, (sentence, hint) in REASONS.items():
        assert sentence, code
        assert hint, code
        assert not sentence.endswith(".")
    assert "not the server's own" in reason_of(SSL.X509VerificationCodes.ERR_CERT_REVOKED, 1)[0]
    unknown, hint = reason_of(9999, 0)
    assert "OpenSSL error 9999" in unknown
    assert "--pin-sha256" in hint
