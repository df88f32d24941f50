"""EAP-MSCHAPv2: its packets, its keys, other tries and changes of the password; and the change in CHAP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.ppp.auth import ZERO_HLAK, Authenticator, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Client
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Server as ChapServer
from sstpsocks.ppp.eap.keys import hlak_of_msk
from sstpsocks.ppp.eap.method import Users
from sstpsocks.ppp.eap.methods import make_eap_client
from sstpsocks.ppp.eap.mschapv2 import MsChapPacket, MsChapV2Peer, MsChapV2Server, OpCode
from sstpsocks.ppp.eap.packet import MSCHAPV2, EapCode, EapPacket
from sstpsocks.ppp.eap.server import EapServer
from sstpsocks.ppp.mschapv2 import nt_password_hash
from sstpsocks.ppp.mschapv2_change import (
    ChangePassword,
    decrypt_new_password,
    new_password_encrypted_with_old_nt_password_hash,
    new_password_of,
    nt_password_hash_encrypted_with_block,
)
from tests.helpers.auth import ALICE, WRONG, Pair, make_pair

VECTORS = json.loads((Path(__file__).parents[3] / "data" / "mschapv2.json").read_text(encoding="utf-8"))
OLD, NEW = "open sesame", "öpen sesame 2"


class FixedEntropy:
    def random_bytes(self, count: int, /) -> bytes:
        return bytes.fromhex(VECTORS["peer_challenge"])[:count]


class Accounts:
    """One user whose password has expired."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.passwords = {"alice": OLD}
        self._accepts = accepts

    def change(self, username: str, password: str) -> bool:
        if self._accepts:
            self.passwords[username] = password
        return self._accepts

    def eap_server(self, **more: int) -> Authenticator:
        entropy = SeededEntropy("server")
        users = Users(self.passwords.get, "lab", self.change, frozenset({"alice"}))
        make = {MSCHAPV2: lambda identity: MsChapV2Server(identity, users, entropy, **more)}
        return EapServer(make, entropy, first_method=AuthMethod.EAP_MSCHAPV2)

    def chap_server(self) -> Authenticator:
        return ChapServer(
            self.passwords.get, SeededEntropy(2), expired=frozenset({"alice"}), change_password=self.change
        )

    def pair(self, method: AuthMethod, credentials: Credentials) -> Pair:
        server = self.eap_server() if method.is_eap else self.chap_server()
        pair = make_pair(method, credentials, server=server)
        pair.start()
        pair.run()
        return pair


BOTH = pytest.mark.parametrize("method", [AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2])


def test_the_numbers_of_rfc_2759_in_packets_of_eap() -> None:
    peer = MsChapV2Peer(Credentials(VECTORS["username"], VECTORS["password"]), FixedEntropy())
    challenge = bytes.fromhex(VECTORS["authenticator_challenge"])
    data = MsChapPacket(OpCode.CHALLENGE, 7, b"\x10" + challenge + b"BVND").to_bytes()
    answer = peer.answer(EapPacket(EapCode.REQUEST, 1, MSCHAPV2, data))
    assert answer is not None
    packet = MsChapPacket.parse(answer)
    assert (packet.op_code, packet.identifier, packet.data[0]) == (OpCode.RESPONSE, 7, 49)
    assert int.from_bytes(answer[2:4], "big") == len(answer)
    assert packet.data[1:17] == bytes.fromhex(VECTORS["peer_challenge"])
    assert packet.data[25:49] == bytes.fromhex(VECTORS["nt_response"])
    assert packet.data[50:] == VECTORS["username"].encode()

    proof = VECTORS["authenticator_response_text"].encode() + b" M=OK"
    answer = peer.answer(EapPacket(EapCode.REQUEST, 2, MSCHAPV2, MsChapPacket(OpCode.SUCCESS, 7, proof).to_bytes()))
    assert answer == b"\x03"
    assert peer.msk is not None
    assert (len(peer.msk), peer.msk[32:]) == (64, bytes(32))
    assert hlak_of_msk(peer.msk).hex() == VECTORS["client_hlak"].lower()


def test_a_wrong_proof_ends_it_without_an_answer() -> None:
    peer = MsChapV2Peer(ALICE, SeededEntropy(1))
    peer.answer(EapPacket(EapCode.REQUEST, 1, MSCHAPV2, b"\x01\x07\x00\x15\x10" + bytes(16)))
    data = MsChapPacket(OpCode.SUCCESS, 7, b"S=" + b"0" * 40).to_bytes()
    assert peer.answer(EapPacket(EapCode.REQUEST, 2, MSCHAPV2, data)) is None
    assert peer.refusal is not None
    assert "could not prove" in peer.refusal.message


@pytest.mark.parametrize(
    "data", ["", "01", "010700", "01070015 10 00", "0107000d 08 0001020304050607", "03070004", "09070004"]
)
def test_malformed_requests(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        MsChapV2Peer(ALICE, SeededEntropy(1)).answer(EapPacket(EapCode.REQUEST, 1, MSCHAPV2, bytes.fromhex(data)))


def test_zero_hlak_is_for_bare_eap_mschapv2() -> None:
    pair = make_pair(AuthMethod.EAP_MSCHAPV2)
    pair.client = make_eap_client((AuthMethod.EAP_MSCHAPV2,), ALICE, SeededEntropy(9), zero_hlak=True)
    pair.start()
    pair.run()
    (event,) = pair.client_events
    assert isinstance(event, AuthSucceeded)
    assert event.hlak == ZERO_HLAK


def test_another_try_after_a_refusal() -> None:
    accounts = Accounts()
    users = Users(accounts.passwords.get)
    entropy = SeededEntropy(3)
    make = {MSCHAPV2: lambda identity: MsChapV2Server(identity, users, entropy, retries=1)}
    server = EapServer(make, entropy, first_method=AuthMethod.EAP_MSCHAPV2)
    pair = make_pair(AuthMethod.EAP_MSCHAPV2, WRONG, server=server)
    pair.start()
    pair.exchange()
    (event,) = pair.client_events
    assert isinstance(event, AuthRefused)
    assert (event.code, event.retry_allowed) == (691, True)
    with pytest.raises(LocalProtocolError):
        pair.client.retry(WRONG, pair.now)
    pair.client_events.clear()
    pair.client.retry(ALICE, pair.now)
    pair.exchange()
    (ours,), (theirs,) = pair.client_events, pair.server_events
    assert isinstance(ours, AuthSucceeded)
    assert isinstance(theirs, AuthSucceeded)
    assert ours.hlak == theirs.hlak


@BOTH
def test_an_expired_password_is_changed_at_once_when_a_new_one_is_at_hand(method: AuthMethod) -> None:
    accounts = Accounts()
    pair = accounts.pair(method, Credentials("alice", OLD, NEW))
    (ours,) = pair.client_events
    assert isinstance(ours, AuthSucceeded)
    assert ours.password_changed
    assert accounts.passwords["alice"] == NEW
    theirs = pair.server_events[-1]
    assert isinstance(theirs, AuthSucceeded)
    assert ours.hlak == theirs.hlak != ZERO_HLAK


@BOTH
def test_an_expired_password_without_a_new_one_asks_for_it(method: AuthMethod) -> None:
    accounts = Accounts()
    pair = accounts.pair(method, Credentials("alice", OLD))
    (event,) = pair.client_events
    assert isinstance(event, AuthRefused)
    assert (event.code, event.retry_allowed) == (648, True)
    assert "expired" in event.message
    with pytest.raises(LocalProtocolError):
        pair.client.retry(Credentials("alice", NEW), pair.now)
    assert accounts.passwords["alice"] == OLD, "a try with another password is no change of it"
    pair.client_events.clear()
    pair.client.retry(Credentials("alice", OLD, NEW), pair.now)
    pair.run()
    (ours,) = pair.client_events
    assert isinstance(ours, AuthSucceeded)
    assert accounts.passwords["alice"] == NEW


@BOTH
def test_a_new_password_that_the_server_declines(method: AuthMethod) -> None:
    pair = Accounts(accepts=False).pair(method, Credentials("alice", OLD, NEW))
    (event,) = pair.client_events
    assert isinstance(event, AuthRefused)
    assert (event.code, event.retry_allowed) == (709, False)
    assert "could not be changed" in event.message


def test_a_new_password_at_hand_is_not_used_without_need() -> None:
    client = MsChapV2Client(Credentials("alice", "wrong", NEW), SeededEntropy(1))
    server = ChapServer({"alice": OLD}.get, SeededEntropy(2))
    pair = Pair(client, server)
    pair.start()
    pair.run()
    (event,) = pair.client_events
    assert isinstance(event, AuthRefused)
    assert event.code == 691


def test_the_packet_of_a_change() -> None:
    change = ChangePassword.make(
        OLD, NEW, authenticator_challenge=bytes(16), username=b"alice", entropy=SeededEntropy(1)
    )
    assert len(change.to_bytes()) == 582
    assert ChangePassword.parse(change.to_bytes()) == change
    assert new_password_of(change, OLD) == NEW
    assert new_password_of(change, "another") is None
    with pytest.raises(RemoteProtocolError):
        ChangePassword.parse(bytes(581))


def test_the_hash_of_a_change_as_rfc_2759_has_it() -> None:
    # RFC 2759 section 9.3 gives the password's hash; 8.13 is DES with seven bytes of the block each: its inverse
    # is checked by an independent DES.
    from Crypto.Cipher import DES

    from sstpsocks.ppp.mschapv2 import _spread_key

    old_hash, block = nt_password_hash("clientPass"), nt_password_hash("newPass")
    encrypted = nt_password_hash_encrypted_with_block(old_hash, block)
    halves = ((block[:7], encrypted[:8]), (block[7:14], encrypted[8:]))
    # One block has no mode; ECB is its name in the library.
    ciphers = ((DES.new(_spread_key(key), DES.MODE_ECB), half) for key, half in halves)  # noqa: S304
    assert b"".join(cipher.decrypt(half) for cipher, half in ciphers) == old_hash


def test_the_new_password_is_encrypted_with_rc4() -> None:
    from Crypto.Cipher import ARC4

    key = nt_password_hash(OLD)
    encrypted = new_password_encrypted_with_old_nt_password_hash(NEW, key, SeededEntropy(1))
    clear = ARC4.new(key).decrypt(encrypted)
    assert len(clear) == 516
    size = int.from_bytes(clear[512:], "little")
    assert clear[512 - size : 512].decode("utf-16-le") == NEW
    assert decrypt_new_password(bytes(516), key) is None
