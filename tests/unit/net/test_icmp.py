"""ICMP messages, what errors mean, and how strictly their quotes are read."""

from __future__ import annotations

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import ConnectionRefused, HostUnreachable, NetworkUnreachable, RemoteProtocolError
from sstpsocks.net.icmp import IcmpErrorKind, IcmpMessage, IcmpType, echo, error_kind, next_hop_mtu, parse_quote
from tests.helpers.ip_packets import OURS, PEER, ip_packet, tcp_packet

messages = st.builds(
    IcmpMessage, st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=100)
)


@settings(deadline=None, max_examples=100)
@given(messages)
def test_parse_reads_what_to_bytes_writes(message: IcmpMessage) -> None:
    data = b"?" + message.to_bytes() + b"?"
    assert IcmpMessage.parse(data, 1, len(data) - 1) == message
    assert dpkt.in_cksum(message.to_bytes()) == 0


def test_dpkt_reads_our_echo() -> None:
    theirs = dpkt.icmp.ICMP(echo(IcmpType.ECHO_REQUEST, 0x1234, 7, b"ping").to_bytes())
    assert (theirs.type, theirs.code) == (8, 0)
    assert (theirs.data.id, theirs.data.seq, theirs.data.data) == (0x1234, 7, b"ping")


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_anything_else_is_a_protocol_error(data: bytes) -> None:
    try:
        message = IcmpMessage.parse(data, 0, len(data))
    except RemoteProtocolError:
        return
    assert message.to_bytes() == data


@pytest.mark.parametrize(
    ("kind", "code", "expected", "error"),
    [
        (3, 0, IcmpErrorKind.NETWORK_UNREACHABLE, NetworkUnreachable),
        (3, 1, IcmpErrorKind.HOST_UNREACHABLE, HostUnreachable),
        (3, 2, IcmpErrorKind.PROTOCOL_UNREACHABLE, ConnectionRefused),
        (3, 3, IcmpErrorKind.PORT_UNREACHABLE, ConnectionRefused),
        (3, 4, IcmpErrorKind.FRAGMENTATION_NEEDED, HostUnreachable),
        (3, 6, IcmpErrorKind.NETWORK_UNREACHABLE, NetworkUnreachable),
        (3, 10, IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED, HostUnreachable),
        (3, 13, IcmpErrorKind.ADMINISTRATIVELY_PROHIBITED, HostUnreachable),
        (11, 0, IcmpErrorKind.TTL_EXCEEDED, HostUnreachable),
        (12, 0, IcmpErrorKind.PARAMETER_PROBLEM, HostUnreachable),
    ],
)
def test_types_and_codes(kind: int, code: int, expected: IcmpErrorKind, error: type[Exception]) -> None:
    found = error_kind(IcmpMessage(kind, code, 0))
    assert found is expected
    told = found.to_error("host 10.0.0.1 port 80")
    assert type(told) is error
    assert "10.0.0.1 port 80" in str(told)
    assert expected.value in str(told)


@pytest.mark.parametrize(("kind", "code"), [(0, 0), (3, 16), (4, 0), (5, 1), (8, 0), (13, 0), (200, 3)])
def test_messages_that_are_no_errors_or_not_heeded(kind: int, code: int) -> None:
    assert error_kind(IcmpMessage(kind, code, 0)) is None


def test_a_quote_is_read_without_its_checksum_and_behind_options() -> None:
    packet = bytearray(ip_packet(b"12345678", protocol=6, source=OURS, destination=PEER, options=b"\1\1\1\0", ttl=1))
    packet[8] = 0
    quote = parse_quote(bytes(packet))
    assert (quote.source, quote.destination, quote.protocol) == (OURS.packed, PEER.packed, 6)
    assert (quote.total_length, quote.transport) == (32, b"12345678")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        ip_packet(b"1234567", protocol=6),
        ip_packet(b"12345678", protocol=6, options=bytes(8))[:30],
        ip_packet(b"12345678", protocol=6, offset=8),
        b"\x65" + ip_packet(b"12345678", protocol=6)[1:],
        b"\x44" + ip_packet(b"12345678", protocol=6)[1:],
    ],
    ids=["empty", "seven octets", "cut in the options", "later fragment", "version 6", "short header length"],
)
def test_other_quotes_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_quote(body)


@pytest.mark.parametrize(("rest", "size", "mtu"), [(1300, 1400, 1300), (0, 1400, 1006), (0, 60, 68), (20, 1400, 68)])
def test_the_mtu_of_fragmentation_needed(rest: int, size: int, mtu: int) -> None:
    """RFC 1191: the router's value, the next plateau when it gives none, never less than 68."""
    quote = parse_quote(tcp_packet(1, 2, payload=bytes(size - 40)))
    assert next_hop_mtu(IcmpMessage(3, 4, rest), quote) == mtu
