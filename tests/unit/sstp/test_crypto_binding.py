"""The vectors of MS-SSTP 4.7 and more, and what a server refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sstpsocks.sstp.crypto_binding import (
    BindingFault,
    build_call_connected,
    certificate_hash,
    choose_hash,
    compound_mac,
    compound_mac_key,
    verify_call_connected,
)
from sstpsocks.sstp.packet import (
    ALL_HASHES,
    AttributeId,
    ControlPacket,
    CryptoBindingRequest,
    HashProtocol,
    call_connect_ack,
    call_connect_request,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "sstp_crypto_binding.json").read_text(encoding="utf-8")
)
HASHES = {"sha1": HashProtocol.SHA1, "sha256": HashProtocol.SHA256}
MESSAGES = [pytest.param(case, id=case["hash"]) for case in VECTORS["cases"]]
DERIVED = [pytest.param(case, id=case["name"]) for case in VECTORS["further_cases"]]

CERTIFICATE = b"certificate"
HLAK = b"k" * 32
NONCE = b"n" * 32


def test_connect_request_of_the_specification() -> None:
    assert call_connect_request().hex() == VECTORS["call_connect_request"]


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_of_the_specification(case: dict[str, Any]) -> None:
    hash_protocol = HASHES[case["hash"]]
    ack = bytes.fromhex(case["call_connect_ack"])
    attribute = ControlPacket.parse(ack).find(AttributeId.CRYPTO_BINDING_REQ)
    assert attribute is not None
    request = CryptoBindingRequest.parse(attribute.value)
    assert request.hashes == case["hash_protocol_bitmask"]
    assert call_connect_ack(request.hashes, request.nonce) == ack

    hlak = bytes.fromhex(case["hlak"])
    assert compound_mac_key(hlak, hash_protocol).hex() == case["compound_mac_key"]
    message = build_call_connected(hlak, hash_protocol, request.nonce, bytes.fromhex(case["certificate_hash"]))
    assert message.hex() == case["call_connected"]
    assert compound_mac(hlak, hash_protocol, message).hex() == case["compound_mac"]


@pytest.mark.parametrize("case", DERIVED)
def test_other_keys(case: dict[str, Any]) -> None:
    hash_protocol = HASHES[case["hash"]]
    hlak = bytes.fromhex(case["hlak"])
    server_hash = bytes.fromhex(case["certificate_hash"])
    message = build_call_connected(hlak, hash_protocol, bytes.fromhex(case["nonce"]), server_hash)
    assert compound_mac_key(hlak, hash_protocol).hex() == case["compound_mac_key"]
    assert message[80:].hex() == case["compound_mac"].ljust(64, "0")


def test_a_hlak_of_another_length_is_cut_or_padded() -> None:
    assert compound_mac_key(b"x" * 64, HashProtocol.SHA256) == compound_mac_key(b"x" * 32, HashProtocol.SHA256)
    assert compound_mac_key(b"x", HashProtocol.SHA1) == compound_mac_key(b"x".ljust(32, b"\0"), HashProtocol.SHA1)


def test_certificate_hash_is_over_the_der() -> None:
    assert certificate_hash(CERTIFICATE, HashProtocol.SHA256) == hashlib.sha256(CERTIFICATE).digest()
    assert len(certificate_hash(CERTIFICATE, HashProtocol.SHA1)) == 20


def test_sha256_is_preferred_and_only_common_hashes_count() -> None:
    assert choose_hash(ALL_HASHES, ALL_HASHES) is HashProtocol.SHA256
    assert choose_hash(HashProtocol.SHA1, ALL_HASHES) is HashProtocol.SHA1
    assert choose_hash(ALL_HASHES, HashProtocol.SHA1) is HashProtocol.SHA1
    assert choose_hash(HashProtocol.SHA1, HashProtocol.SHA256) is None
    assert choose_hash(HashProtocol(0), ALL_HASHES) is None


def verify(message: bytes, offered: HashProtocol = ALL_HASHES) -> BindingFault | None:
    return verify_call_connected(message, hlak=HLAK, nonce=NONCE, certificate_der=CERTIFICATE, offered=offered)


def build(
    hash_protocol: HashProtocol, *, hlak: bytes = HLAK, nonce: bytes = NONCE, certificate: bytes = CERTIFICATE
) -> bytes:
    return build_call_connected(hlak, hash_protocol, nonce, certificate_hash(certificate, hash_protocol))


@pytest.mark.parametrize("hash_protocol", list(HashProtocol))
def test_a_true_binding_holds_and_each_false_part_is_found(hash_protocol: HashProtocol) -> None:
    good = build(hash_protocol)
    assert verify(good) is None
    assert verify(good, ALL_HASHES & ~hash_protocol) is BindingFault.HASH
    assert verify(build(hash_protocol, nonce=b"m" * 32)) is BindingFault.NONCE
    assert verify(build(hash_protocol, certificate=b"another")) is BindingFault.CERTIFICATE
    assert verify(build(hash_protocol, hlak=bytes(32))) is BindingFault.MAC
    assert verify(good[:80] + bytes([good[80] ^ 1]) + good[81:]) is BindingFault.MAC


def test_padding_behind_a_sha1_mac_is_ignored() -> None:
    message = build(HashProtocol.SHA1)
    assert verify(message[:100] + b"p" * 12) is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(ControlPacket(4).to_bytes(), id="no attribute"),
        pytest.param(b"\x10\x01\x00\x6f" + build(HashProtocol.SHA256)[4:-1], id="too short"),
        pytest.param(
            b"\x10\x01\x00\x74\x00\x04\x00\x02" + build(HashProtocol.SHA256)[8:] + b"\0\x09\0\x04", id="too much"
        ),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_message_without_a_well_formed_binding_is_missing_it(message: bytes) -> None:
    assert verify(message) is BindingFault.MISSING


def test_a_hash_protocol_with_both_bits_is_none() -> None:
    message = bytearray(build(HashProtocol.SHA256))
    message[15] = 3
    assert verify(bytes(message)) is BindingFault.HASH
