"""The header of relayed datagrams (RFC 1928 section 7)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.proxy.socks.udp_header import RelayedDatagram
from sstpsocks.tunnel.network import IPAddress


@pytest.mark.parametrize(
    ("host", "head"),
    [
        (IPv4Address("10.0.0.1"), b"\x01\x0a\x00\x00\x01"),
        (IPv6Address("fd00::1"), b"\x04\xfd" + bytes(14) + b"\x01"),
        ("time.test", b"\x03\x09time.test"),
    ],
)
def test_the_three_kinds_of_address(host: str | IPAddress, head: bytes) -> None:
    datagram = RelayedDatagram(host, 123, b"payload")
    assert datagram.to_bytes() == b"\x00\x00\x00" + head + b"\x00\x7bpayload"
    assert RelayedDatagram.parse(datagram.to_bytes()) == datagram


def test_a_payload_may_be_empty_and_reserved_octets_are_not_looked_at() -> None:
    assert RelayedDatagram.parse(b"\xff\xff\x00\x01\x0a\x00\x00\x01\x00\x35") == RelayedDatagram(
        IPv4Address("10.0.0.1"), 53, b""
    )


def test_fragments_say_so() -> None:
    assert RelayedDatagram.parse(b"\x00\x00\x81\x01\x0a\x00\x00\x01\x00\x35x").fragment == 0x81


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00\x00\x01",
        b"\x00\x00\x00\x01\x0a\x00\x00\x01\x00",
        b"\x00\x00\x00\x04" + bytes(17),
        b"\x00\x00\x00\x03\x00\x00\x35",
        b"\x00\x00\x00\x03\x09time",
        b"\x00\x00\x00\x03\x01\xff\x00\x35",
        b"\x00\x00\x00\x02\x0a\x00\x00\x01\x00\x35x",
    ],
)
def test_what_has_no_whole_address_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        RelayedDatagram.parse(data)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.255"])
def test_against_the_layout_that_other_clients_pack(address: str) -> None:
    # PySocks writes an IPv4 destination with struct and inet_aton.
    packed = b"".join((b"\x00\x00", b"\x00", b"\x01", IPv4Address(address).packed, struct.pack(">H", 5060), b"INVITE"))
    assert RelayedDatagram.parse(packed) == RelayedDatagram(IPv4Address(address), 5060, b"INVITE")
