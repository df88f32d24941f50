"""Packets as bytes: what we send is exact, what we take is lenient where the specification or the field is."""

from __future__ import annotations

import pytest

from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.sstp.frames import is_ncp_answer, is_network_layer, ppp_protocol
from sstpsocks.sstp.packet import (
    CALL_ABORT_ANSWER,
    CALL_DISCONNECT_ACK,
    ECHO_REQUEST,
    ECHO_RESPONSE,
    MAX_FRAME,
    Attribute,
    ControlPacket,
    CryptoBindingRequest,
    EncapsulatedProtocolId,
    HashProtocol,
    PacketBuffer,
    StatusInfo,
    call_abort,
    call_connect_nak,
    call_disconnect,
    encode_data,
    end_status,
)


@pytest.mark.parametrize(
    ("packet", "wire"),
    [
        (CALL_DISCONNECT_ACK, "1001 0008 0007 0000"),
        (ECHO_REQUEST, "1001 0008 0008 0000"),
        (ECHO_RESPONSE, "1001 0008 0009 0000"),
        (CALL_ABORT_ANSWER, "1001 0008 0005 0000"),
        (call_abort(2, 5), "1001 0014 0005 0001 0002 000c 00000002 00000005"),
        # As a Windows client sends it.
        (call_disconnect(), "1001 0014 0006 0001 0002 000c 00000000 00000000"),
        (call_connect_nak((StatusInfo(1, 4, b"\0\2"),)), "1001 0016 0003 0001 0002 000e 00000001 00000004 0002"),
        (encode_data(b"\xff\x03\xc0\x21"), "1000 0008 ff03c021"),
    ],
)
def test_what_we_send_is_exact(packet: bytes, wire: str) -> None:
    assert packet.hex() == wire.replace(" ", "")


def test_the_largest_frame_fits_and_one_byte_more_does_not() -> None:
    assert encode_data(bytes(MAX_FRAME))[:4].hex() == "10000fff"
    with pytest.raises(LocalProtocolError):
        encode_data(bytes(MAX_FRAME + 1))


def test_reserved_bits_are_ignored() -> None:
    buffer = PacketBuffer()
    buffer.feed(bytes.fromhex("10ff f008 0008 0000"))
    packet = buffer.next_packet()
    assert packet is not None
    assert ControlPacket.parse(packet) == ControlPacket(8)
    # The reserved byte and the four bits above an attribute's length, too.
    parsed = ControlPacket.parse(bytes.fromhex("1001 000e 0001 0001 ff01 f006 0001"))
    assert parsed.attributes == (EncapsulatedProtocolId().to_attribute(),)
    request = CryptoBindingRequest.parse(b"\xff\xff\xff\xfe" + bytes(32))
    assert request.hashes is HashProtocol.SHA256


@pytest.mark.parametrize(
    "header", ["11000004", "00000004", "48545450", "10000003", "10000000", "1001000700080000", "10010004"]
)
def test_a_stream_that_cannot_be_delineated_is_an_error(header: str) -> None:
    buffer = PacketBuffer()
    buffer.feed(bytes.fromhex(header))
    with pytest.raises(RemoteProtocolError) as caught:
        buffer.next_packet()
    assert caught.value.layer == "sstp"


def test_packets_are_cut_from_any_chunks() -> None:
    stream = ECHO_REQUEST + encode_data(b"one") + encode_data(b"") + CALL_DISCONNECT_ACK
    buffer = PacketBuffer()
    packets = []
    for byte in stream:
        buffer.feed(bytes([byte]))
        while (packet := buffer.next_packet()) is not None:
            packets.append(packet)
    assert packets == [ECHO_REQUEST, encode_data(b"one"), encode_data(b""), CALL_DISCONNECT_ACK]
    assert len(buffer) == 0


@pytest.mark.parametrize(
    "packet",
    [
        "1001 0008 0003 0001",
        "1001 000a 0003 0001 0002",
        "1001 000c 0003 0001 0002 0003",
        "1001 000c 0003 0001 0002 000c",
        "1000 0008 0003 0000",
        "1001 0009 0003 0000",
    ],
)
def test_attributes_that_do_not_fit_are_an_error(packet: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ControlPacket.parse(bytes.fromhex(packet))


def test_bytes_behind_the_last_attribute_are_ignored() -> None:
    assert ControlPacket.parse(bytes.fromhex("1001 000a 0007 0000 abcd")) == ControlPacket(7)


def test_values_that_no_packet_has_cannot_be_built() -> None:
    with pytest.raises(LocalProtocolError):
        Attribute(256, b"")
    with pytest.raises(LocalProtocolError):
        StatusInfo(1, 4, bytes(65))
    with pytest.raises(LocalProtocolError):
        CryptoBindingRequest(HashProtocol.SHA1, b"short")
    with pytest.raises(LocalProtocolError):
        ControlPacket(1, (Attribute(1, bytes(4000)), Attribute(2, bytes(100))))
    with pytest.raises(LocalProtocolError):
        call_connect_nak(())


@pytest.mark.parametrize(
    ("packet", "status"),
    [
        pytest.param(call_abort(3, 4), (3, 4), id="as specified"),
        pytest.param(CALL_ABORT_ANSWER, (None, None), id="no attribute"),
        pytest.param(bytes.fromhex("1001 0010 0005 0001 0002 0008 00000007"), (None, 7), id="only the status"),
        pytest.param(bytes.fromhex("1001 0010 0006 0001 0000 0008 00000000"), (None, 0), id="attribute id 0"),
        pytest.param(bytes.fromhex("1001 0014 0006 0001 0000 000c 00000000 00000000"), (0, 0), id="id 0, whole"),
        pytest.param(bytes.fromhex("1001 000c 0005 0001 0002 00ff"), (None, None), id="broken attribute"),
        pytest.param(
            bytes.fromhex("1001 001a 0005 0002 0009 0006 abcd 0002 000c 00000002 00000007"),
            (2, 7),
            id="behind an unknown attribute",
        ),
    ],
)
def test_the_status_of_an_end_is_read_as_servers_write_it(packet: bytes, status: tuple[int | None, int | None]) -> None:
    assert end_status(packet) == status


@pytest.mark.parametrize(
    ("frame", "protocol"),
    [
        ("ff03c021", 0xC021),
        ("c021", 0xC021),
        ("ff030021", 0x0021),
        ("ff0321", 0x21),
        ("2145", 0x21),
        ("", None),
        ("ff03", None),
        ("c0", None),
    ],
)
def test_the_protocol_of_a_frame_is_found_with_and_without_compression(frame: str, protocol: int | None) -> None:
    assert ppp_protocol(bytes.fromhex(frame)) == protocol


def test_network_layer_frames_and_ncp_answers_are_told_apart() -> None:
    assert is_network_layer(bytes.fromhex("ff030021"))
    assert is_network_layer(bytes.fromhex("0057"))
    assert not is_network_layer(bytes.fromhex("ff038021"))
    assert not is_network_layer(bytes.fromhex("ff034021"))
    assert not is_network_layer(b"")
    assert is_ncp_answer(bytes.fromhex("ff0380210300"))
    assert is_ncp_answer(bytes.fromhex("80210200"))
    assert not is_ncp_answer(bytes.fromhex("ff0380210100"))
    assert not is_ncp_answer(bytes.fromhex("ff03c0210200"))
    assert not is_ncp_answer(bytes.fromhex("ff038021"))
