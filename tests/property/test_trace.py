"""The trace takes whatever comes, and shows nothing that a packet carries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.checksum import checksum, pseudo_header_sum
from sstpsocks.net.icmp import IcmpMessage
from sstpsocks.net.icmp6 import Icmp6Message
from sstpsocks.net.ip import build_packet
from sstpsocks.net.ip6 import Ipv6Header
from sstpsocks.net.udp import UdpDatagram
from sstpsocks.ppp.packet import ControlPacket, build_frame
from sstpsocks.sstp.packet import Attribute, encode_data
from sstpsocks.sstp.packet import ControlPacket as SstpControlPacket
from sstpsocks.tunnel.trace.control import describe_control
from sstpsocks.tunnel.trace.packets import describe_packet

ADDRESS, OTHER = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
ADDRESS6, OTHER6 = bytes(15) + b"\x01", bytes(15) + b"\x02"
SECRET = b"correct horse battery staple"
octets = st.binary(max_size=200)


def one_line(text: str) -> bool:
    return text.isprintable() and 0 < len(text) < 1000


@settings(deadline=None, max_examples=400)
@given(octets)
def test_any_octets_are_a_line(data: bytes) -> None:
    assert one_line(describe_packet(data))
    assert one_line(describe_control(data))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 255), octets)
def test_any_payload_of_ip_is_a_line(protocol: int, payload: bytes) -> None:
    assert one_line(describe_packet(build_packet(ADDRESS, OTHER, protocol, payload)))
    header = Ipv6Header(source=ADDRESS6, destination=OTHER6, next_header=protocol, payload_length=len(payload))
    assert one_line(describe_packet(header.to_bytes() + payload))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 255), st.integers(0, 255), octets)
def test_any_icmp_message_is_a_line(kind: int, code: int, body: bytes) -> None:
    message = IcmpMessage(kind, code, 7, body).to_bytes()
    assert one_line(describe_packet(build_packet(ADDRESS, OTHER, 1, message)))
    message6 = Icmp6Message(kind, code, body).to_bytes(ADDRESS6, OTHER6)
    header = Ipv6Header(source=ADDRESS6, destination=OTHER6, next_header=58, payload_length=len(message6))
    assert one_line(describe_packet(header.to_bytes() + message6))


PROTOCOLS = st.sampled_from([0x0021, 0x0057, 0x8021, 0x8057, 0x80FD, 0x8053, 0xC021, 0xC023, 0xC223, 0xC227, 0xC029])


@settings(deadline=None, max_examples=400)
@given(PROTOCOLS, st.integers(0, 16), octets)
def test_any_ppp_packet_is_a_line(protocol: int, code: int, data: bytes) -> None:
    assert one_line(describe_control(encode_data(build_frame(protocol, ControlPacket(code, 1, data).to_bytes()))))
    assert one_line(describe_control(encode_data(build_frame(protocol, data))))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 12), st.lists(st.builds(Attribute, st.integers(0, 6), octets), max_size=3))
def test_any_sstp_message_is_a_line(kind: int, attributes: list[Attribute]) -> None:
    assert one_line(describe_control(SstpControlPacket(kind, tuple(attributes)).to_bytes()))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([0xC023, 0xC223, 0xC227]), st.integers(1, 8), octets)
def test_no_log_in_is_shown(protocol: int, code: int, before: bytes) -> None:
    packet = ControlPacket(code, 1, before + SECRET)
    text = describe_control(encode_data(build_frame(protocol, packet.to_bytes())))
    assert "horse" not in text
    assert SECRET.hex() not in text


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=40))
def test_no_payload_is_shown(before: bytes) -> None:
    payload = before + SECRET
    udp = UdpDatagram(53, 5353, payload).to_bytes(ADDRESS, OTHER)
    tcp = b"\x00\x50\x1f\x90" + bytes(8) + b"\x50\x18\x10\x00\x00\x00\x00\x00" + payload
    value = checksum(tcp, 0, len(tcp), pseudo_header_sum(ADDRESS, OTHER, 6, len(tcp)))
    tcp = tcp[:16] + value.to_bytes(2, "big") + tcp[18:]
    icmp = IcmpMessage(8, 0, 7, payload).to_bytes()
    for protocol, data in ((17, udp), (6, tcp), (1, icmp), (47, payload)):
        text = describe_packet(build_packet(ADDRESS, OTHER, protocol, data))
        assert "horse" not in text
        assert f"len {len(payload)}" in text
