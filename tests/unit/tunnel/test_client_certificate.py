"""The user's certificate: PEM in one file or two, PKCS#12, pass phrases, and who it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.client_certificate import PassphraseNeeded, certificate_user, load_client_certificate
from tests.helpers.certificates import authority, issue

AUTHORITY = authority("Corp")
ALICE = issue([], AUTHORITY, subject="alice")
SECRET = "pässphrase"


def encrypted_key() -> bytes:
    return ALICE.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )


def write(folder: Path, data: bytes, name: str = "client") -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def test_one_file_of_pem_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, AUTHORITY.pem + ALICE.key_pem + ALICE.pem)
    loaded = load_client_certificate(path)
    assert loaded.certificate == ALICE.certificate
    assert loaded.above == (AUTHORITY.certificate,)
    assert loaded.user == "alice"
    assert "key" not in repr(loaded)


def test_certificate_and_key_in_two_files(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, ALICE.pem), write(tmp_path, encrypted_key(), "key")
    assert load_client_certificate(certificate, key, SECRET).certificate == ALICE.certificate
    with pytest.raises(PassphraseNeeded):
        load_client_certificate(certificate, key)
    with pytest.raises(ConfigError, match="pass phrase") as caught:
        load_client_certificate(certificate, key, "wrong")
    assert "wrong" not in str(caught.value).replace("is wrong", "")


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_pkcs12(tmp_path: Path, passphrase: str | None) -> None:
    protection = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    data = pkcs12.serialize_key_and_certificates(
        b"alice", ALICE.key, ALICE.certificate, [AUTHORITY.certificate], protection
    )
    path = write(tmp_path, data)
    loaded = load_client_certificate(path, None, passphrase)
    assert (loaded.certificate, loaded.above) == (ALICE.certificate, (AUTHORITY.certificate,))
    if passphrase:
        with pytest.raises(PassphraseNeeded):
            load_client_certificate(path)
        with pytest.raises(ConfigError, match="pass phrase is wrong"):
            load_client_certificate(path, None, "other")


def test_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_client_certificate(str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="holds no private key"):
        load_client_certificate(write(tmp_path, ALICE.pem))
    with pytest.raises(ConfigError, match="belongs to the key"):
        load_client_certificate(write(tmp_path, AUTHORITY.pem + ALICE.key_pem))
    with pytest.raises(ConfigError, match="no readable certificate"):
        load_client_certificate(write(tmp_path, ALICE.key_pem))
    with pytest.raises(ConfigError, match="neither PEM nor PKCS#12"):
        load_client_certificate(write(tmp_path, b"\x30\x03nothing"))


def with_names(*names: x509.GeneralName) -> x509.Certificate:
    base = ALICE.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(base.subject)
        .issuer_name(base.issuer)
        .public_key(ALICE.key.public_key())
        .serial_number(5)
        .not_valid_before(base.not_valid_before_utc)
        .not_valid_after(base.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    )
    return builder.sign(AUTHORITY.key, hashes.SHA256())


def test_the_user_of_a_certificate() -> None:
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x0ealice@corp.exa")
    mail = x509.RFC822Name("mail@corp.example")
    assert certificate_user(with_names(mail, upn)) == "alice@corp.exa"
    assert certificate_user(with_names(mail)) == "mail@corp.example"
    assert certificate_user(with_names(x509.DNSName("host"))) == "alice"
