"""The UDP datagram on the wire; what endpoints do is in test_stack_udp.py."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.udp import UdpDatagram
from tests.helpers.ip_packets import OURS, PEER, udp_packet, with_pseudo_header

ports = st.integers(0, 65535)
datagrams = st.builds(UdpDatagram, ports, ports, st.binary(max_size=100))


@settings(deadline=None, max_examples=100)
@given(datagrams, st.ip_addresses(v=4), st.ip_addresses(v=4), st.binary(max_size=5))
def test_parse_reads_what_to_bytes_writes_and_so_does_dpkt(
    datagram: UdpDatagram, source: IPv4Address, destination: IPv4Address, behind: bytes
) -> None:
    written = datagram.to_bytes(source.packed, destination.packed)
    data = b"..." + written + behind
    assert UdpDatagram.parse(data, 3, len(data), source.packed, destination.packed) == datagram
    theirs = dpkt.udp.UDP(written)
    assert (theirs.sport, theirs.dport, theirs.ulen) == (
        datagram.source_port,
        datagram.destination_port,
        8 + len(datagram.payload),
    )
    assert theirs.sum != 0, "zero would mean no checksum"
    assert with_pseudo_header(written, 17, source, destination) == 0


def test_a_computed_checksum_of_zero_is_sent_as_all_ones() -> None:
    source, destination = PEER.packed, OURS.packed
    plain = UdpDatagram(1, 2, b"\0\0").to_bytes(source, destination)
    datagram = UdpDatagram(1, 2, plain[6:8])
    written = datagram.to_bytes(source, destination)
    assert written[6:8] == b"\xff\xff"
    assert UdpDatagram.parse(written, 0, len(written), source, destination) == datagram


def test_a_checksum_of_zero_is_not_checked() -> None:
    packet = udp_packet(b"hello", 53, 1000, checksum=0)
    assert UdpDatagram.parse(packet, 20, len(packet), PEER.packed, OURS.packed).payload == b"hello"


@pytest.mark.parametrize("length", [0, 7, 14, 65535])
def test_wrong_lengths_are_refused(length: int) -> None:
    data = struct.pack("!HHHH", 1, 2, length, 0) + b"hello"
    with pytest.raises(RemoteProtocolError):
        UdpDatagram.parse(data, 0, len(data), PEER.packed, OURS.packed)


def test_a_wrong_checksum_is_refused() -> None:
    packet = udp_packet(b"hello", 53, 1000, checksum=0x1234)
    with pytest.raises(RemoteProtocolError, match="checksum"):
        UdpDatagram.parse(packet, 20, len(packet), PEER.packed, OURS.packed)
