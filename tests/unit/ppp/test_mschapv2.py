from __future__ import annotations

import json
from pathlib import Path

import pytest

from sstpsocks.base.md4 import md4
from sstpsocks.errors import ConfigError
from sstpsocks.ppp import mschapv2

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "mschapv2.json").read_text(encoding="utf-8"))


def vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


AUTHENTICATOR_CHALLENGE = vector("authenticator_challenge")
PEER_CHALLENGE = vector("peer_challenge")
NT_RESPONSE = vector("nt_response")
PASSWORD_HASH = vector("password_hash")
USERNAME = VECTORS["username"].encode()


class TestRfc2759Section92:
    def test_challenge(self) -> None:
        assert mschapv2.challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, USERNAME) == vector("challenge")

    def test_password_hash(self) -> None:
        assert mschapv2.nt_password_hash(VECTORS["password"]) == PASSWORD_HASH

    def test_password_hash_hash(self) -> None:
        assert mschapv2.hash_nt_password_hash(PASSWORD_HASH) == vector("password_hash_hash")

    def test_challenge_response(self) -> None:
        assert mschapv2.challenge_response(vector("challenge"), PASSWORD_HASH) == NT_RESPONSE

    def test_nt_response(self) -> None:
        made = mschapv2.generate_nt_response(AUTHENTICATOR_CHALLENGE, PEER_CHALLENGE, USERNAME, PASSWORD_HASH)
        assert made == NT_RESPONSE

    def test_authenticator_response(self) -> None:
        made = mschapv2.generate_authenticator_response(
            PASSWORD_HASH, NT_RESPONSE, PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, USERNAME
        )
        assert f"S={made.hex().upper()}" == VECTORS["authenticator_response_text"]


class TestRfc3079Keys:
    def test_master_key(self) -> None:
        assert mschapv2.get_master_key(vector("password_hash_hash"), NT_RESPONSE) == vector("mppe_master_key")

    def test_client_keys(self) -> None:
        send, receive = mschapv2.get_client_master_keys(vector("mppe_master_key"))
        assert send == vector("client_master_send_key")
        assert receive == vector("client_master_receive_key")

    def test_hlak_is_send_key_then_receive_key(self) -> None:
        assert mschapv2.higher_layer_authentication_key(PASSWORD_HASH, NT_RESPONSE) == vector("client_hlak")

    def test_a_second_chain_known_from_another_client(self) -> None:
        password_hash = mschapv2.nt_password_hash("DukeNuke3D")
        nt_response = bytes.fromhex("859a0c0ece474df20d0ae831ac3ae3d24f826e93679e36bc")
        master_key = mschapv2.get_master_key(mschapv2.hash_nt_password_hash(password_hash), nt_response)
        assert master_key.hex() == "a84f9bcb2ae37b88060d1f36453dd0ed"
        send, receive = mschapv2.get_client_master_keys(master_key)
        assert send.hex() == "000bc1dea2cb8516bc77f552b9ec5a03"
        assert receive.hex() == "93d92706f513a2ea50f8cd9469573cdb"


def test_des_agrees_with_pycryptodome() -> None:
    oracle = pytest.importorskip("Crypto.Cipher.DES", reason="pycryptodome is not installed")
    for number in range(40):
        key = bytes((number * 7 + index * 31) % 256 for index in range(7))
        spread = bytes((int.from_bytes(key, "big") >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
        clear = bytes((number + index) % 256 for index in range(8))
        assert mschapv2.des_encrypt(clear, key) == oracle.new(spread, oracle.MODE_ECB).encrypt(clear)


@pytest.mark.parametrize(
    ("typed", "hashed"),
    [
        (b"alice", b"alice"),
        (b"LAB\\alice", b"alice"),
        (b"alice@LAB", b"alice@LAB"),
        (b"FOREST\\LAB\\alice", b"alice"),
        (b"LAB\\", b""),
    ],
)
def test_only_the_domain_in_front_of_a_backslash_is_left_out_of_the_hash(typed: bytes, hashed: bytes) -> None:
    assert mschapv2.strip_domain(typed) == hashed


def test_password_is_not_normalised() -> None:
    composed, decomposed = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    assert mschapv2.nt_password_hash(composed) != mschapv2.nt_password_hash(decomposed)


def test_a_password_outside_the_basic_plane_is_hashed_as_surrogate_pairs() -> None:
    assert mschapv2.nt_password_hash("\N{GRINNING FACE}") == md4(b"\x3d\xd8\x00\xde")


def test_a_password_that_is_no_text_is_a_configuration_error_that_does_not_show_it() -> None:
    with pytest.raises(ConfigError) as caught:
        mschapv2.nt_password_hash("secret\udcff")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
