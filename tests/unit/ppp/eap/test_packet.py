"""EAP packets, both forms of Types, and Naks."""

from __future__ import annotations

import pytest

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.eap.packet import (
    IDENTITY,
    MD5_CHALLENGE,
    MSCHAPV2,
    PEAP,
    TLS,
    VENDOR_MICROSOFT,
    EapCode,
    EapPacket,
    MethodType,
    describe_type,
    nak,
    parse_nak,
)


def test_a_request_on_the_wire() -> None:
    packet = EapPacket(EapCode.REQUEST, 7, MD5_CHALLENGE, b"\x01x")
    assert packet.to_bytes() == bytes.fromhex("0107 0007 04 0178")
    assert EapPacket.parse(packet.to_bytes() + b"padding") == packet


def test_success_and_failure_have_no_type() -> None:
    assert EapPacket(EapCode.SUCCESS, 9).to_bytes() == bytes.fromhex("0309 0004")
    assert EapPacket.parse(bytes.fromhex("0409 0004")) == EapPacket(EapCode.FAILURE, 9)


@pytest.mark.parametrize(
    "packet",
    [
        "",
        "010700",
        "01070003",
        "01070009 01",
        "01070004",
        "05070005 01",
        "01070008 fe 000137",
        "0107000b fe 000137 000000",
    ],
)
def test_malformed_packets(packet: str) -> None:
    with pytest.raises(RemoteProtocolError):
        EapPacket.parse(bytes.fromhex(packet))


def test_vendors_have_the_expanded_form() -> None:
    capabilities = MethodType(34, VENDOR_MICROSOFT)
    packet = EapPacket(EapCode.REQUEST, 1, capabilities, b"\0\0\0\1")
    assert packet.expanded
    assert packet.to_bytes() == bytes.fromhex("0101 0010 fe 000137 00000022 00000001")
    assert EapPacket.parse(packet.to_bytes()) == packet


def test_an_expanded_type_of_vendor_zero_is_the_type_itself_and_is_answered_expanded() -> None:
    request = EapPacket.parse(bytes.fromhex("0103 000e fe 000000 00000004 0178"))
    assert (request.kind, request.data) == (MD5_CHALLENGE, b"\x01x")
    assert request.answer(b"y").to_bytes() == bytes.fromhex("0203 000d fe 000000 00000004 79")


def test_nak_lists_what_is_wanted() -> None:
    request = EapPacket(EapCode.REQUEST, 5, MethodType(21), b"")
    answer = nak(request, (PEAP, MSCHAPV2, TLS))
    assert answer.to_bytes() == bytes.fromhex("0205 0008 03 19 1a 0d")
    assert parse_nak(answer) == (PEAP, MSCHAPV2, TLS)
    nothing = nak(request, ())
    assert nothing.to_bytes() == bytes.fromhex("0205 0006 03 00")
    assert parse_nak(nothing) == ()


def test_expanded_requests_get_expanded_naks() -> None:
    request = EapPacket(EapCode.REQUEST, 5, MethodType(34, VENDOR_MICROSOFT), b"")
    answer = nak(request, (PEAP, MSCHAPV2))
    assert answer.to_bytes() == bytes.fromhex(
        "0205 001c fe000000 00000003 fe000000 00000019 fe000000 0000001a".replace(" ", "")
    )
    assert parse_nak(answer) == (PEAP, MSCHAPV2)
    nothing = nak(request, ())
    assert nothing.data == bytes.fromhex("fe000000 00000000")
    assert parse_nak(nothing) == ()


def test_types_have_names() -> None:
    assert describe_type(TLS) == "EAP-TLS"
    assert describe_type(MethodType(21)) == "EAP-TTLS"
    assert describe_type(MethodType(200)) == "EAP type 200"
    assert describe_type(MethodType(34, VENDOR_MICROSOFT)) == "EAP type 34 of vendor 311"


def test_secrets_are_in_no_repr() -> None:
    assert "sesame" not in repr(EapPacket(EapCode.RESPONSE, 1, IDENTITY, b"open sesame"))
