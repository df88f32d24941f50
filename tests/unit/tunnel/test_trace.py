"""What the trace calls packets."""

from __future__ import annotations

import pytest

from sstpsocks.net.icmp import IcmpMessage, IcmpType, echo
from sstpsocks.net.ip import Ipv4Header, build_packet
from sstpsocks.net.ip6 import Ipv6Header
from sstpsocks.net.udp import UdpDatagram
from sstpsocks.ppp.packet import ControlPacket, build_frame
from sstpsocks.sstp import packet as sstp
from sstpsocks.sstp.packet import HashProtocol, encode_data
from sstpsocks.tunnel.trace.control import describe_control
from sstpsocks.tunnel.trace.packets import describe_packet

HERE, THERE = b"\x0a\x00\x00\x01", b"\xc0\xa8\x01\x02"
HERE6, THERE6 = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")

SYN = (
    bytes.fromhex("c000 0050 000003e8 00000000 b002 fde8 0000 0000".replace(" ", ""))
    + b"\x02\x04\x05\x50\x01\x03\x03\x08\x04\x02\x08\x0a\x00\x00\x00\x05\x00\x00\x00\x00"
    + bytes(4)
)


def ppp(protocol: int, code: int, data: bytes = b"", identifier: int = 1) -> bytes:
    return encode_data(build_frame(protocol, ControlPacket(code, identifier, data).to_bytes()))


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (
            build_packet(HERE, THERE, 6, SYN),
            "TCP 10.0.0.1:49152 > 192.168.1.2:80 [SYN] seq 1000 win 65000 len 0"
            " <mss 1360, wscale 8, sackOK, TS 5 ecr 0>",
        ),
        (
            build_packet(HERE, THERE, 17, UdpDatagram(4000, 53, b"query").to_bytes(HERE, THERE)),
            "UDP 10.0.0.1:4000 > 192.168.1.2:53 len 5",
        ),
        (
            build_packet(HERE, THERE, 1, echo(IcmpType.ECHO_REQUEST, 7, 2, b"ping").to_bytes()),
            "ICMP 10.0.0.1 > 192.168.1.2 echo request id 7 seq 2 len 4",
        ),
        (
            build_packet(HERE, THERE, 1, IcmpMessage(3, 1, 0, bytes(28)).to_bytes()),
            "ICMP 10.0.0.1 > 192.168.1.2 host unreachable",
        ),
        (build_packet(HERE, THERE, 47, b"gre"), "IP 10.0.0.1 > 192.168.1.2 protocol 47 len 3"),
        (
            Ipv4Header(
                source=HERE, destination=THERE, protocol=17, total_length=28, identification=9, fragment_offset=1480
            ).to_bytes()
            + bytes(8),
            "IP 10.0.0.1 > 192.168.1.2 protocol 17 fragment id 9 offset 1480 len 8",
        ),
        (
            Ipv6Header(source=HERE6, destination=THERE6, next_header=17, payload_length=13).to_bytes()
            + UdpDatagram(4000, 53, b"query").to_bytes(HERE6, THERE6),
            "UDP [fd00::1]:4000 > [fd00::2]:53 len 5",
        ),
        (b"", "malformed, 0 octets: IPv4 packet of 0 octets"),
    ],
)
def test_ip_packets(packet: bytes, line: str) -> None:
    assert describe_packet(packet) == line


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (sstp.call_connect_request(), "SSTP CALL_CONNECT_REQUEST protocol PPP"),
        (
            sstp.call_connect_ack(HashProtocol.SHA1 | HashProtocol.SHA256, bytes(32)),
            "SSTP CALL_CONNECT_ACK crypto binding wanted SHA-1 or SHA-256",
        ),
        (
            sstp.call_abort(3, 4),
            "SSTP CALL_ABORT crypto binding: value not supported (attribute 3, status 4)",
        ),
        (sstp.ECHO_REQUEST, "SSTP ECHO_REQUEST"),
        (
            ppp(0xC021, 1, b"\x01\x04\x05\x78\x03\x05\xc2\x23\x81\x05\x06\x01\x02\x03\x04\x63\x02"),
            "PPP LCP Configure-Request id 1 mru 1400 authentication MS-CHAPv2 magic-number option 99 (0 octets)",
        ),
        (
            ppp(0x8021, 3, b"\x03\x06\x0a\x00\x00\x05\x81\x06\x0a\x00\x00\x01", identifier=2),
            "PPP IPCP Configure-Nak id 2 ip-address 10.0.0.5 primary-dns 10.0.0.1",
        ),
        (ppp(0xC021, 5, b"Link inactive"), 'PPP LCP Terminate-Request id 1 ("Link inactive")'),
        (ppp(0xC021, 8, b"\x80\xfd\x01"), "PPP LCP Protocol-Reject id 1 CCP"),
        (ppp(0xC023, 1, b"\x05alice\x06secret"), "PPP PAP Authenticate-Request id 1 (13 octets, not shown)"),
        (ppp(0xC223, 1, b"\x10" + bytes(16) + b"name"), "PPP CHAP Challenge id 1 (21 octets, not shown)"),
        (
            ppp(0xC223, 4, b"E=691 R=0 C=" + b"0" * 32 + b" V=3 M=No"),
            "PPP CHAP Failure id 1 (53 octets, not shown) error 691",
        ),
        (ppp(0xC227, 2, b"\x01alice"), "PPP EAP Response id 1 Identity (5 octets, not shown)"),
        (ppp(0xC227, 1, b"\x19\x20"), "PPP EAP Request id 1 PEAP (1 octets, not shown)"),
        (ppp(0xC227, 3), "PPP EAP Success id 1"),
        (b"\x10\x01\x00\x08\x00\x07\x00\x00", "SSTP CALL_DISCONNECT_ACK"),
        (b"\x20\x01\x00\x08\x00\x07\x00\x00", "malformed, 8 octets: SSTP version 0x20 instead of 0x10"),
    ],
)
def test_control_messages(packet: bytes, line: str) -> None:
    assert describe_control(packet) == line
