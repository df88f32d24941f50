"""EAP-TLS and PEAP, both sides, over a stand-in for TLS: verdicts, fragments, quirks and lies."""

from __future__ import annotations

import hmac

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from sstpsocks.ppp.auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.eap.method import Users
from sstpsocks.ppp.eap.methods import advise, make_eap_client, make_eap_server
from sstpsocks.ppp.eap.mschapv2 import MsChapV2Peer, MsChapV2Server
from sstpsocks.ppp.eap.packet import (
    IDENTITY,
    MSCHAPV2,
    NAK,
    PEAP,
    TLS,
    TLV,
    VENDOR_MICROSOFT,
    EapCode,
    EapPacket,
    MethodType,
)
from sstpsocks.ppp.eap.peap import PeapPeer, PeapServer, compress, decompress
from sstpsocks.ppp.eap.peap_keys import PeapKeys, prf_plus
from sstpsocks.ppp.eap.peap_tlv import (
    BindingSubtype,
    CryptoBinding,
    Result,
    Tlv,
    TlvType,
    find_result,
    parse_tlvs,
    result_tlv,
)
from sstpsocks.ppp.eap.server import EapServer
from sstpsocks.ppp.eap.tls import EapTlsPeer
from sstpsocks.ppp.eap.tls_engine import TlsUse
from tests.helpers.auth import ALICE, PASSWORDS, WRONG, Pair
from tests.helpers.fake_tls import DATA, FakeTls, FakeTlsParameters, record

M = AuthMethod
BOTH_VERSIONS = pytest.mark.parametrize("tls13", [False, True])


def pair_of(
    tls: FakeTlsParameters,
    *methods: AuthMethod,
    credentials: Credentials = ALICE,
    inside: tuple[AuthMethod, ...] = (M.EAP_MSCHAPV2,),
) -> Pair:
    client = make_eap_client(methods, credentials, SeededEntropy("client"), tls=tls)
    server = make_eap_server(methods, Users(PASSWORDS.get), SeededEntropy("server"), tls=tls, inside_peap=inside)
    pair = Pair(client, server)
    pair.start()
    pair.run()
    return pair


def success_of(pair: Pair) -> AuthSucceeded:
    (ours,), (theirs,) = pair.client_events, pair.server_events
    assert isinstance(ours, AuthSucceeded), ours
    assert isinstance(theirs, AuthSucceeded), theirs
    assert ours.hlak == theirs.hlak != bytes(32)
    return ours


def refusal_of(pair: Pair) -> AuthRefused:
    event = pair.client_events[-1]
    assert isinstance(event, AuthRefused), event
    assert not any(isinstance(event, AuthSucceeded) for event in pair.server_events)
    return event


@BOTH_VERSIONS
def test_eap_tls_with_fragments_both_ways(*, tls13: bool) -> None:
    pair = pair_of(FakeTlsParameters(tls13), M.EAP_TLS)
    assert success_of(pair).username == "alice"
    assert max(len(packet) for _, packet in pair.wire) == 1020
    assert {name for name, packet in pair.wire if len(packet) == 1020} == {"client", "server"}


@BOTH_VERSIONS
def test_a_server_that_is_not_trusted_gets_the_alert_and_nothing_else(*, tls13: bool) -> None:
    pair = pair_of(FakeTlsParameters(tls13, trusted=False), M.PEAP)
    refusal = refusal_of(pair)
    assert "certificate not trusted" in refusal.message
    assert "--eap-ca-file" in refusal.hint
    assert "alice" not in str(pair.sent_by("client")[1:])


@BOTH_VERSIONS
@pytest.mark.parametrize("inner", [M.EAP_MSCHAPV2, M.EAP_GTC, M.EAP_TLS, M.EAP_MD5])
def test_peap_with_each_method_inside(inner: AuthMethod, *, tls13: bool) -> None:
    allowed = (M.PEAP, M.EAP_GTC) if inner is M.EAP_GTC else (M.PEAP,)
    tls = FakeTlsParameters(tls13)
    client = make_eap_client(allowed, ALICE, SeededEntropy("client"), tls=tls)
    server = make_eap_server((M.PEAP,), Users(PASSWORDS.get), SeededEntropy("server"), tls=tls, inside_peap=(inner,))
    pair = Pair(client, server)
    pair.start()
    pair.run()
    if inner is M.EAP_MD5:
        # Without keys and without a proof of the server: not inside PEAP either.
        refusal_of(pair)
    else:
        assert success_of(pair).method is M.PEAP


def test_gtc_inside_peap_is_only_for_those_who_allow_gtc() -> None:
    pair = pair_of(FakeTlsParameters(), M.PEAP, inside=(M.EAP_GTC,))
    assert refusal_of(pair).method is M.PEAP
    assert not any(b"".join(bytes((byte ^ 0x55,)) for byte in b"open sesame") in packet for _, packet in pair.wire)


@BOTH_VERSIONS
def test_a_wrong_password_inside_peap(*, tls13: bool) -> None:
    refusal = refusal_of(pair_of(FakeTlsParameters(tls13), M.PEAP, credentials=WRONG))
    assert (refusal.method, refusal.code) == (M.PEAP, 691)


def test_fast_reconnect_skips_the_method_inside() -> None:
    full, short = pair_of(FakeTlsParameters(), M.PEAP), pair_of(FakeTlsParameters(resumed=True), M.PEAP)
    assert success_of(full).hlak != success_of(short).hlak, "the keys of the method inside are mixed in"
    assert len(short.wire) < len(full.wire)


def test_only_the_outer_identity_is_said_in_the_open() -> None:
    credentials = Credentials("alice", "open sesame", outer_identity="anonymous@realm")
    pair = pair_of(FakeTlsParameters(), M.PEAP, credentials=credentials)
    assert success_of(pair).username == "alice"
    assert pair.sent_by("client")[0].endswith(b"anonymous@realm")
    assert not any(b"alice" in packet for packet in pair.sent_by("client"))


def test_an_anonymous_name_is_of_no_use_without_tls() -> None:
    credentials = Credentials("alice", "open sesame", outer_identity="anonymous")
    pair = pair_of(FakeTlsParameters(), M.EAP_MSCHAPV2, credentials=credentials)
    assert pair.sent_by("client")[0].endswith(b"alice")


def test_the_name_of_the_certificate_when_no_user_is_named() -> None:
    tls = FakeTlsParameters(client_name="bob@corp.example")
    pair = pair_of(tls, M.EAP_TLS, credentials=Credentials("", ""))
    assert success_of(pair).username == "bob@corp.example"
    assert pair.sent_by("client")[0].endswith(b"bob@corp.example")


def test_eap_tls_without_a_certificate_is_not_offered() -> None:
    tls = FakeTlsParameters(has_certificate=False)
    client = make_eap_client((M.EAP_TLS, M.PEAP), ALICE, SeededEntropy(1), tls=tls)
    client.receive_packet(EapPacket(EapCode.REQUEST, 1, TLS, b"\x20").to_bytes(), 0.0)
    (answer,) = client.packets_to_send(0.0)
    assert EapPacket.parse(answer).data == bytes((PEAP.number,))
    with pytest.raises(ConfigError, match="needs a client certificate"):
        make_eap_client((M.EAP_TLS,), ALICE, SeededEntropy(1), tls=tls)
    assert advise((TLS,), (M.PEAP,), tls) == (
        "Allow it with --auth peap,eap-tls. EAP-TLS needs a client certificate: --eap-cert."
    )
    assert advise((TLS,), (M.EAP_TLS,), tls) == "EAP-TLS needs a client certificate: --eap-cert."


def peer_of(*, tls13: bool = True) -> EapTlsPeer:
    parameters = FakeTlsParameters(tls13)
    return EapTlsPeer(parameters.connect(TlsUse.EAP_TLS), "alice")


def ask(peer: EapTlsPeer | PeapPeer, data: bytes) -> bytes | None:
    return peer.answer(EapPacket(EapCode.REQUEST, 1, peer.kind, data))


def test_the_server_must_start_and_only_once() -> None:
    peer = peer_of()
    with pytest.raises(RemoteProtocolError):
        ask(peer, b"\x00hello")
    assert ask(peer, b"\x20")
    with pytest.raises(RemoteProtocolError):
        ask(peer, b"\x20")


def test_a_message_in_the_middle_of_ours_is_discarded() -> None:
    peer = peer_of(tls13=False)
    ask(peer, b"\x20")
    hello = record(2, bytes(100))
    assert ask(peer, b"\x00" + hello)
    with pytest.raises(RemoteProtocolError):
        ask(peer, b"\x00" + hello)
    assert ask(peer, b"\x00"), "the acknowledgement still gets the next fragment"


@pytest.mark.parametrize(("data", "refused"), [(b"\x00", False), (b"\x01", True), (b"\x00\x00", True)])
def test_the_protected_success_indication_is_one_zero(data: bytes, *, refused: bool) -> None:
    client, server = FakeTlsParameters(tls13=True), FakeTls(FakeTlsParameters(tls13=True), TlsUse.EAP_TLS, server=True)
    peer = EapTlsPeer(client.connect(TlsUse.EAP_TLS), "alice")
    ask(peer, b"\x20")
    ask(peer, b"\x00" + record(2, bytes(100)))
    server.write(data)
    while ask(peer, b"\x00") != b"\x00":
        pass
    ask(peer, b"\x00" + server.data_to_send())
    assert (peer.refusal is not None) == refused


# PEAP's inside.


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("01", IDENTITY),  # compressed
        ("01 48656c6c6f", IDENTITY),
        ("01070005 01", IDENTITY),  # FreeRADIUS
        ("1a 01", MSCHAPV2),
        ("0107000b 21 8003 0002 0001", TLV),
        ("01070010 fe 000137 00000022 00000000", MethodType(34, VENDOR_MICROSOFT)),
        ("01070006 0178", IDENTITY),  # a compressed Identity whose text looks like a header: not an Identity of 6 bytes
    ],
)
def test_inner_packets_with_and_without_header(data: str, kind: MethodType) -> None:
    assert decompress(bytes.fromhex(data), EapCode.REQUEST, 9).kind == kind


def test_inner_success_and_failure_keep_their_form() -> None:
    assert decompress(bytes.fromhex("03050004"), EapCode.REQUEST, 9).code == EapCode.SUCCESS
    assert decompress(bytes.fromhex("04050004"), EapCode.REQUEST, 9).code == EapCode.FAILURE


def test_inner_answers_are_compressed_but_for_extensions() -> None:
    assert compress(EapPacket(EapCode.RESPONSE, 3, IDENTITY, b"alice")) == b"\x01alice"
    assert compress(EapPacket(EapCode.RESPONSE, 3, TLV, b"")) == bytes.fromhex("0203000521")
    assert compress(EapPacket(EapCode.RESPONSE, 3, NAK, b"", expanded=True))[0] == EapCode.RESPONSE


def test_tlvs_on_the_wire() -> None:
    assert result_tlv(Result.SUCCESS).to_bytes() == bytes.fromhex("8003 0002 0001")
    assert find_result(parse_tlvs(bytes.fromhex("8003 0002 0002"))) is Result.FAILURE
    assert find_result(()) is None
    for wrong in ("80", "8003 0005 0001", "8003 00"):
        with pytest.raises(RemoteProtocolError):
            parse_tlvs(bytes.fromhex(wrong))
    for wrong in ("8003 0001 01", "8003 0002 0003"):
        with pytest.raises(RemoteProtocolError):
            find_result(parse_tlvs(bytes.fromhex(wrong)))
    with pytest.raises(RemoteProtocolError):
        CryptoBinding.parse(bytes(55))


def test_prf_plus_ends_its_rounds_with_a_counter_of_three_bytes() -> None:
    first = hmac.digest(b"key", b"seed\x01\x00\x00", "sha1")
    second = hmac.digest(b"key", first + b"seed\x02\x00\x00", "sha1")
    assert prf_plus(b"key", b"seed", 30) == (first + second)[:30]


def test_a_method_without_keys_counts_as_zeroes() -> None:
    material = bytes(range(128))
    assert PeapKeys.derive(material, None, fast_reconnect=False) == PeapKeys.derive(
        material, bytes(64), fast_reconnect=False
    )
    assert PeapKeys.derive(material, b"x", fast_reconnect=True) == PeapKeys(material[:40], material[40:60])


class Tunnel:
    """A PEAP peer whose handshake is done, and the server's end of its TLS."""

    def __init__(self, *, resumed: bool = False) -> None:
        parameters = FakeTlsParameters(resumed=resumed)
        self.engine = FakeTls(parameters, TlsUse.PEAP, server=True)
        methods = {MSCHAPV2: make_mschapv2}
        self.peer = PeapPeer(parameters.connect(TlsUse.PEAP), methods, ALICE, SeededEntropy(1))
        ask(self.peer, b"\x20")
        ask(self.peer, b"\x00" + record(2, bytes(50)))
        ask(self.peer, b"\x00" + record(4, bytes(50)))

    def ask(self, inner: str | bytes) -> bytes | None:
        data = bytes.fromhex(inner) if isinstance(inner, str) else inner
        answer = ask(self.peer, b"\x00" + record(DATA, bytes(byte ^ 0x55 for byte in data)))
        return None if answer is None else bytes(byte ^ 0x55 for byte in answer[4:])


def make_mschapv2(credentials: Credentials) -> MsChapV2Peer:
    return MsChapV2Peer(credentials, SeededEntropy(2))


def test_capabilities_of_windows_get_an_expanded_nak() -> None:
    answer = Tunnel().ask("01070010 fe 000137 00000022 00000000")
    assert answer is not None
    packet = EapPacket.parse(answer)
    assert (packet.kind, packet.expanded, packet.identifier) == (NAK, True, 7)


def test_a_success_without_any_method_inside_is_a_lie() -> None:
    tunnel = Tunnel()
    answer = tunnel.ask("0107000b 21 8003 0002 0001")
    assert answer is not None
    assert find_result(parse_tlvs(EapPacket.parse(answer).data)) is Result.FAILURE
    assert tunnel.peer.refusal is not None


def test_a_resumed_session_needs_no_method_inside() -> None:
    tunnel = Tunnel(resumed=True)
    answer = tunnel.ask("0107000b 21 8003 0002 0001")
    assert answer is not None
    assert find_result(parse_tlvs(EapPacket.parse(answer).data)) is Result.SUCCESS
    assert tunnel.peer.refusal is None


def test_a_wrong_crypto_binding_is_refused() -> None:
    tunnel = Tunnel(resumed=True)
    binding = CryptoBinding(0, 0, BindingSubtype.REQUEST, bytes(32)).to_tlv().to_bytes()
    data = result_tlv(Result.SUCCESS).to_bytes() + binding
    tunnel.ask(EapPacket(EapCode.REQUEST, 7, TLV, data).to_bytes())
    assert tunnel.peer.refusal is not None
    assert "crypto binding" in tunnel.peer.refusal.message


def test_an_unknown_mandatory_tlv_gets_a_nak() -> None:
    answer = Tunnel().ask("0107000a 21 8063 0001 00")
    assert answer is not None
    (tlv,) = parse_tlvs(EapPacket.parse(answer).data)
    assert tlv == Tlv(TlvType.NAK, bytes.fromhex("00000000 0063"))


def test_an_inner_failure_without_a_result_is_a_refusal() -> None:
    tunnel = Tunnel()
    tunnel.ask("04070004")
    assert tunnel.peer.refusal is not None


def test_an_inner_success_alone_counts_for_nothing() -> None:
    tunnel = Tunnel()
    tunnel.ask("03070004")
    assert tunnel.peer.refusal is None
    assert tunnel.peer.decision.name == "FAIL"


def test_another_try_inside_peap() -> None:
    tls = FakeTlsParameters()
    entropy = SeededEntropy("server")
    users = Users(PASSWORDS.get)
    inner = {MSCHAPV2: lambda identity: MsChapV2Server(identity, users, entropy, retries=1)}
    make = {PEAP: lambda identity: PeapServer(tls.accept(TlsUse.PEAP), inner, identity, entropy)}
    client = make_eap_client((M.PEAP,), WRONG, SeededEntropy("client"), tls=tls)
    pair = Pair(client, EapServer(make, entropy, first_method=M.PEAP))
    pair.start()
    pair.exchange()
    (refused,) = pair.client_events
    assert isinstance(refused, AuthRefused)
    assert refused.retry_allowed
    pair.client_events.clear()
    with pytest.raises(LocalProtocolError):
        pair.client.retry(WRONG, pair.now)
    pair.client.retry(ALICE, pair.now)
    pair.exchange()
    success_of(pair)
