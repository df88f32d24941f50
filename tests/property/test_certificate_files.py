"""Whatever a file of revocation lists or of a certificate holds, it is taken, or a ConfigError names the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.crypto import X509, X509StoreContext, X509StoreContextError

from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.client_certificate import load_client_certificate
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.trust import client_context
from tests.helpers.certificates import authority, issue, pem_of, revocation_list

NAME = "vpn.example.com"
ROOT = authority()
ALICE = issue([NAME], ROOT)
LIST = revocation_list(ROOT, [ALICE])
LISTS = [pem_of(LIST), LIST.public_bytes(Encoding.DER)]
CERTIFICATES = [
    ALICE.pem + ALICE.key_pem,
    pkcs12.serialize_key_and_certificates(b"alice", ALICE.key, ALICE.certificate, None, BestAvailableEncryption(b"s")),
]


def damaged(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """A sample of which a piece is something else, or any bytes at all."""

    def change(sample: bytes, place: float, removed: int, added: bytes) -> bytes:
        at = int(place * len(sample))
        return sample[:at] + added + sample[at + removed :]

    piece = st.binary(max_size=6) | st.text("AZaz09+/=-\n", max_size=6).map(str.encode)
    return st.binary(max_size=80) | st.builds(
        change, st.sampled_from(samples), st.floats(0, 1), st.integers(0, 6), piece
    )


def is_taken_or_named(data: bytes, read: Callable[[str], object]) -> bool:
    """Whether a file with this content is read, or refused by a ConfigError that names it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        try:
            return read(str(path)) is not None
        except ConfigError as error:
            return str(path) in str(error)


def use_lists(path: str) -> object:
    return client_context(TrustSettings(server_name=NAME, crl_file=path))


def use_certificate(path: str) -> object:
    return load_client_certificate(path, None, "s").user


@pytest.mark.parametrize("sample", LISTS)
def test_the_lists_are_read(sample: bytes, tmp_path: Path) -> None:
    roots, lists = tmp_path / "roots", tmp_path / "file"
    roots.write_bytes(ROOT.pem)
    lists.write_bytes(sample)
    context = client_context(TrustSettings(server_name=NAME, ca_file=str(roots), crl_file=str(lists)))
    store = context.get_cert_store()
    assert store is not None
    with pytest.raises(X509StoreContextError, match="revoked"):
        X509StoreContext(store, X509.from_cryptography(ALICE.certificate)).verify_certificate()


@pytest.mark.parametrize("sample", CERTIFICATES)
def test_the_certificates_are_read(sample: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(sample)
    assert load_client_certificate(str(tmp_path / "file"), None, "s").certificate == ALICE.certificate


@settings(deadline=None, max_examples=150)
@given(damaged(LISTS))
def test_damaged_lists(data: bytes) -> None:
    assert is_taken_or_named(data, use_lists)


@settings(deadline=None, max_examples=100)
@given(damaged([ROOT.pem]))
def test_damaged_authorities(data: bytes) -> None:
    assert is_taken_or_named(data, lambda path: client_context(TrustSettings(server_name=NAME, ca_file=path)))


@settings(deadline=None, max_examples=150)
@given(damaged(CERTIFICATES))
def test_damaged_certificates(data: bytes) -> None:
    assert is_taken_or_named(data, use_certificate)
