from __future__ import annotations

import pytest

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.packet import (
    PROTOCOL_CCP,
    PROTOCOL_IP,
    PROTOCOL_LCP,
    ControlPacket,
    Option,
    build_frame,
    options_to_bytes,
    parse_frame,
    parse_options,
)


@pytest.mark.parametrize(
    ("frame", "protocol", "information"),
    [
        ("ff03c0210101000a", PROTOCOL_LCP, "0101000a"),
        ("c0210101000a", PROTOCOL_LCP, "0101000a"),
        ("ff0300214500", PROTOCOL_IP, "4500"),
        ("ff03214500", PROTOCOL_IP, "4500"),
        ("00214500", PROTOCOL_IP, "4500"),
        ("214500", PROTOCOL_IP, "4500"),
        ("80fd01", PROTOCOL_CCP, "01"),
        ("ff030021", PROTOCOL_IP, ""),
        ("21", PROTOCOL_IP, ""),
    ],
)
def test_frames_are_taken_in_every_form(frame: str, protocol: int, information: str) -> None:
    data = bytes.fromhex(frame)
    number, offset = parse_frame(data)
    assert number == protocol
    assert data[offset:].hex() == information


@pytest.mark.parametrize("frame", ["", "ff03", "c0", "ff0380"])
def test_a_frame_without_a_whole_protocol_is_refused(frame: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_frame(bytes.fromhex(frame))


def test_frames_are_built_in_the_long_form() -> None:
    assert build_frame(PROTOCOL_IP, b"\x45\x00").hex() == "ff0300214500"


def test_padding_behind_a_control_packet_is_ignored() -> None:
    assert ControlPacket.parse(bytes.fromhex("0907000511 ffff")) == ControlPacket(9, 7, b"\x11")


@pytest.mark.parametrize("packet", ["", "010100", "01010003", "01010005"])
def test_control_packets_with_an_invalid_length_are_refused(packet: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ControlPacket.parse(bytes.fromhex(packet))


def test_options_are_read_and_written() -> None:
    data = bytes.fromhex("01040ff7 0305c22381 0702")
    options = parse_options(data)
    assert options == (Option(1, b"\x0f\xf7"), Option(3, b"\xc2\x23\x81"), Option(7))
    assert options_to_bytes(options) == data


@pytest.mark.parametrize("data", ["01", "0100", "0101", "01040f", "0702 03"])
def test_options_with_an_invalid_length_are_refused(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_options(bytes.fromhex(data))


def test_what_cannot_be_written_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="not a PPP option"):
        Option(1, bytes(254))
    with pytest.raises(ValueError, match="not a PPP control packet"):
        ControlPacket(256, 0)
