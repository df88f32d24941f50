"""TLS messages in EAP packets: one, many, acknowledged, and put together."""

from __future__ import annotations

import pytest

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.eap.tls_transport import FRAGMENT_SIZE, MAX_MESSAGE, Flags, TlsPacket, TlsTransport

MORE = Flags.MORE_FRAGMENTS


def test_flags_version_and_length_on_the_wire() -> None:
    packet = TlsPacket(MORE, 1, 70000, b"abc")
    assert packet.to_bytes() == bytes.fromhex("c1 00011170 616263")
    assert TlsPacket.parse(packet.to_bytes(), "peap") == TlsPacket(MORE | Flags.LENGTH_INCLUDED, 1, 70000, b"abc")
    assert TlsPacket(Flags.START).to_bytes() == b"\x20"
    assert TlsPacket.parse(b"", "peap").is_acknowledgement
    with pytest.raises(RemoteProtocolError):
        TlsPacket.parse(b"\x80\x00\x00", "peap")


def test_a_short_message_is_one_packet_without_length() -> None:
    transport = TlsTransport("test")
    assert transport.send(b"hello") == b"\x00hello"
    assert not transport.sending
    assert transport.send(b"") == b"\x00"


@pytest.mark.parametrize("size", [FRAGMENT_SIZE, FRAGMENT_SIZE + 1, 3 * FRAGMENT_SIZE, MAX_MESSAGE])
def test_a_long_message_survives_its_fragments(size: int) -> None:
    sender, receiver = TlsTransport("test"), TlsTransport("test")
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    packets = [sender.send(message)]
    while sender.sending:
        packets.append(sender.next_fragment())
    assert len(packets) == -(-size // FRAGMENT_SIZE)
    parsed = [TlsPacket.parse(packet, "test") for packet in packets]
    assert [packet.length is not None for packet in parsed] == [len(packets) > 1, *[False] * (len(packets) - 1)]
    received = [receiver.receive(packet) for packet in parsed]
    assert received == [*[None] * (len(packets) - 1), message]


def test_more_than_a_message_says_is_refused() -> None:
    transport = TlsTransport("test")
    assert transport.receive(TlsPacket(MORE, 0, 5, b"abc")) is None
    with pytest.raises(RemoteProtocolError):
        transport.receive(TlsPacket(data=b"def"))


def test_a_message_without_end_is_refused() -> None:
    transport = TlsTransport("test")
    for _ in range(MAX_MESSAGE // 1000):
        assert transport.receive(TlsPacket(MORE, data=bytes(1000))) is None
    with pytest.raises(RemoteProtocolError):
        transport.receive(TlsPacket(MORE, data=bytes(1000)))


def test_the_length_may_be_repeated_but_not_changed() -> None:
    transport = TlsTransport("test")
    transport.receive(TlsPacket(MORE, 0, 6, b"abc"))
    with pytest.raises(RemoteProtocolError):
        transport.receive(TlsPacket(length=7, data=b"def"))
    assert transport.receive(TlsPacket(length=6, data=b"def")) == b"abcdef"
