"""EAP: packets parse what they write, and whatever comes, only protocol errors escape."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.auth import Authenticator, AuthMethod
from sstpsocks.ppp.authenticators import make_client, make_server
from sstpsocks.ppp.eap.mschapv2 import MsChapPacket
from sstpsocks.ppp.eap.packet import EapCode, EapPacket, EapType, MethodType, nak, parse_nak
from sstpsocks.ppp.eap.peap import compress, decompress
from sstpsocks.ppp.eap.peap_tlv import MAC_SIZE, NONCE_SIZE, CryptoBinding, Tlv, find_result, parse_tlvs
from sstpsocks.ppp.eap.tls_transport import Flags, TlsPacket
from sstpsocks.ppp.mschapv2_change import ChangePassword
from tests.helpers.auth import ALICE, PASSWORDS
from tests.helpers.fake_tls import FakeTlsParameters, record

octet = st.integers(0, 255)
EAP_METHODS = [method for method in AuthMethod if method.is_eap]
legacy = st.builds(MethodType, st.integers(1, 253), st.just(0))
vendor = st.builds(MethodType, st.integers(0, 2**32 - 1), st.integers(1, 2**24 - 1))
requests = st.builds(
    EapPacket, st.sampled_from([EapCode.REQUEST, EapCode.RESPONSE]), octet, legacy | vendor, st.binary(max_size=300)
) | st.builds(EapPacket, st.just(EapCode.REQUEST), octet, legacy, st.binary(max_size=30), st.just(True))


@settings(deadline=None, max_examples=200)
@given(
    requests | st.builds(EapPacket, st.sampled_from([EapCode.SUCCESS, EapCode.FAILURE]), octet), st.binary(max_size=5)
)
def test_packets_parse_what_they_write_and_ignore_padding(packet: EapPacket, padding: bytes) -> None:
    assert EapPacket.parse(packet.to_bytes() + padding) == packet


@settings(deadline=None, max_examples=100)
@given(requests, st.lists(legacy, max_size=8))
def test_naks_list_what_they_were_given(request: EapPacket, wanted: list[MethodType]) -> None:
    assert parse_nak(EapPacket.parse(nak(request, tuple(wanted)).to_bytes())) == tuple(wanted)


@settings(deadline=None, max_examples=100)
@given(st.builds(MsChapPacket, octet, octet, st.binary(max_size=600)))
def test_mschapv2_packets_parse_what_they_write(packet: MsChapPacket) -> None:
    assert MsChapPacket.parse(packet.to_bytes()) == packet


@settings(deadline=None, max_examples=100)
@given(
    st.builds(
        TlsPacket,
        st.sampled_from([Flags(0), Flags.START, Flags.MORE_FRAGMENTS]),
        st.integers(0, 7),
        st.none() | st.integers(0, 2**32 - 1),
        st.binary(max_size=300),
    )
)
def test_tls_packets_parse_what_they_write(packet: TlsPacket) -> None:
    parsed = TlsPacket.parse(packet.to_bytes(), "test")
    assert (parsed.flags & ~Flags.LENGTH_INCLUDED, parsed.version) == (packet.flags, packet.version)
    assert (parsed.length, parsed.data) == (packet.length, packet.data)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.builds(Tlv, st.integers(0, 0x3FFF), st.binary(max_size=70), st.booleans()), max_size=6))
def test_tlvs_parse_what_they_write(tlvs: list[Tlv]) -> None:
    assert parse_tlvs(b"".join(tlv.to_bytes() for tlv in tlvs)) == tuple(tlvs)


@settings(deadline=None, max_examples=50)
@given(
    st.builds(
        CryptoBinding,
        octet,
        octet,
        octet,
        st.binary(min_size=NONCE_SIZE, max_size=NONCE_SIZE),
        st.binary(min_size=MAC_SIZE, max_size=MAC_SIZE),
    )
)
def test_crypto_bindings_parse_what_they_write(binding: CryptoBinding) -> None:
    assert CryptoBinding.parse(binding.to_tlv().value) == binding


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=582, max_size=582))
def test_change_password_values(value: bytes) -> None:
    parsed = ChangePassword.parse(value)
    assert ChangePassword.parse(parsed.to_bytes()) == parsed


@settings(deadline=None, max_examples=200)
@given(requests.filter(lambda packet: packet.kind is not None and packet.kind.number > EapType.MD5_CHALLENGE))
def test_what_peap_compresses_it_restores(packet: EapPacket) -> None:
    restored = decompress(compress(packet), EapCode(packet.code), packet.identifier)
    assert (restored.kind, restored.data) == (packet.kind, packet.data)


def check_parsers(data: bytes) -> None:
    for parse in (
        EapPacket.parse,
        MsChapPacket.parse,
        parse_tlvs,
        CryptoBinding.parse,
        ChangePassword.parse,
        lambda data: TlsPacket.parse(data, "test"),
        lambda data: decompress(data, EapCode.REQUEST, 1),
        lambda data: find_result(parse_tlvs(data)),
    ):
        try:
            parse(data)
        except RemoteProtocolError:
            pass


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80))
def test_only_protocol_errors_escape_the_parsers(data: bytes) -> None:
    check_parsers(data)


def machine_of(method: AuthMethod, *, client: bool, tls13: bool) -> Authenticator:
    entropy, tls = SeededEntropy(1), FakeTlsParameters(tls13)
    if client:
        return make_client(method, ALICE, entropy, methods=tuple(EAP_METHODS), tls=tls)
    return make_server(method, PASSWORDS.get, entropy, methods=(method,), tls=tls)


framed = st.builds(
    lambda code, identifier, kind, data: EapPacket(code, identifier, MethodType(kind), data).to_bytes(),
    st.sampled_from([EapCode.REQUEST, EapCode.RESPONSE]),
    st.integers(0, 3),
    st.sampled_from([1, 2, 3, 4, 6, 13, 25, 26, 33, 254]),
    st.binary(max_size=70)
    | st.sampled_from([b"\x20", b"\x00", b"\x10" + bytes(16), b"\x01\x01\x00\x15\x10" + bytes(16)])
    | st.builds(lambda kind, data: b"\x00" + record(kind, data), st.integers(1, 7), st.binary(max_size=60)),
)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(EAP_METHODS), st.booleans(), st.booleans(), st.lists(st.binary(max_size=60) | framed, max_size=12)
)
def test_random_packets(method: AuthMethod, client: bool, tls13: bool, packets: list[bytes]) -> None:
    machine = machine_of(method, client=client, tls13=tls13)
    machine.start(0.0)
    for number, packet in enumerate(packets):
        try:
            machine.receive_packet(packet, float(number))
        except RemoteProtocolError:
            pass
        for answer in machine.packets_to_send(float(number)):
            EapPacket.parse(answer)
        while (event := machine.next_event()) is not None:
            assert event.message.isprintable()


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(EAP_METHODS), st.booleans(), st.data())
def test_mutated_conversations(method: AuthMethod, tls13: bool, data: st.DataObject) -> None:
    client, server = (machine_of(method, client=side, tls13=tls13) for side in (True, False))
    server.start(0.0)
    victim = data.draw(st.integers(0, 30))
    count = 0
    for step in range(40):
        for sender, receiver in ((server, client), (client, server)):
            for packet in sender.packets_to_send(float(step)):
                mutated = bytearray(packet)
                if count == victim:
                    for _ in range(data.draw(st.integers(1, 3))):
                        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(octet)
                    del mutated[data.draw(st.integers(0, len(mutated)) | st.just(len(mutated))) :]
                count += 1
                try:
                    receiver.receive_packet(bytes(mutated), float(step))
                except RemoteProtocolError:
                    pass
