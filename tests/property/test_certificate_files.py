"""Whatever a file of revocation lists or of a certificate holds, it is taken, or a ConfigError names the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from hypothesis import given, settings
from hypothesis import strategies as st

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


def use(data: bytes, read: Callable[[str], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        message = str(path)
        try:
            read(str(path))
        except ConfigError as error:
            message = str(error)
        assert str(path) in message


def use_lists(path: str) -> object:
    return client_context(TrustSettings(server_name=NAME, crl_file=path))


def use_certificate(path: str) -> object:
    return load_client_certificate(path, None, "s").user


@pytest.mark.parametrize("sample", LISTS)
def test_the_lists_are_read(sample: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(sample)
    use_lists(str(tmp_path / "file"))


@pytest.mark.parametrize("sample", CERTIFICATES)
def test_the_certificates_are_read(sample: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(sample)
    assert load_client_certificate(str(tmp_path / "file"), None, "s").certificate == ALICE.certificate


@settings(deadline=None, max_examples=150)
@given(damaged(LISTS))
def test_damaged_lists(data: bytes) -> None:
    use(data, use_lists)


@settings(deadline=None, max_examples=100)
@given(damaged([ROOT.pem]))
def test_damaged_authorities(data: bytes) -> None:
    use(data, lambda path: client_context(TrustSettings(server_name=NAME, ca_file=path)))


@settings(deadline=None, max_examples=150)
@given(damaged(CERTIFICATES))
def test_damaged_certificates(data: bytes) -> None:
    use(data, use_certificate)
