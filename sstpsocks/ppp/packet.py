"""PPP on the wire: frames, control packets and configuration options (RFC 1661 sections 2, 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from ..errors import RemoteProtocolError

# Protocol numbers, from the IANA registry "PPP DLL Protocol Numbers".
PROTOCOL_IP = 0x0021
PROTOCOL_IPV6 = 0x0057
PROTOCOL_IPCP = 0x8021
PROTOCOL_ECP = 0x8053
PROTOCOL_IPV6CP = 0x8057
PROTOCOL_CCP = 0x80FD
PROTOCOL_LCP = 0xC021
PROTOCOL_PAP = 0xC023
PROTOCOL_CBCP = 0xC029
PROTOCOL_CHAP = 0xC223
PROTOCOL_EAP = 0xC227

ADDRESS_AND_CONTROL = b"\xff\x03"  # RFC 1662 section 3.1: all stations, unnumbered information
FRAME_OVERHEAD = 4  # of the frames we build: address, control and a two-octet protocol
DEFAULT_MRU = 1500  # RFC 1661 section 6.1

CONTROL_HEADER_SIZE = 4
OPTION_HEADER_SIZE = 2
MAX_CONTROL_DATA = 0xFFFF - CONTROL_HEADER_SIZE
MAX_OPTION_VALUE = 0xFF - OPTION_HEADER_SIZE


class Code(IntEnum):
    """Codes of control packets: 1-7 of every control protocol, 8-11 of LCP (RFC 1661), 12-13 of LCP (RFC 1570)."""

    CONFIGURE_REQUEST = 1
    CONFIGURE_ACK = 2
    CONFIGURE_NAK = 3
    CONFIGURE_REJECT = 4
    TERMINATE_REQUEST = 5
    TERMINATE_ACK = 6
    CODE_REJECT = 7
    PROTOCOL_REJECT = 8
    ECHO_REQUEST = 9
    ECHO_REPLY = 10
    DISCARD_REQUEST = 11
    IDENTIFICATION = 12
    TIME_REMAINING = 13


def parse_frame(frame: bytes | memoryview) -> tuple[int, int]:
    """Return the protocol number of a frame and the offset of its Information field.

    Takes frames with and without address and control (ACFC) and with a protocol of one or two octets (PFC), whatever
    was negotiated: Windows sends even LCP without FF 03. Raises RemoteProtocolError for a frame without a protocol.
    """
    # RFC 1661 section 6.6: "the value 0xff [...] is not a valid Protocol number", so that FF 03 is never ambiguous.
    offset = 2 if len(frame) >= 2 and frame[0] == 0xFF and frame[1] == 0x03 else 0
    if len(frame) <= offset:
        raise RemoteProtocolError("PPP frame without a protocol field", layer="ppp")
    first = frame[offset]
    # RFC 1661 section 2: "all Protocols MUST be odd" and the first of two octets is even.
    if first & 1:
        return first, offset + 1
    if len(frame) < offset + 2:
        raise RemoteProtocolError("PPP frame ends inside its protocol field", layer="ppp")
    return first << 8 | frame[offset + 1], offset + 2


def build_frame(protocol: int, information: bytes | memoryview) -> bytes:
    """Return a frame in the long form, with FF 03 and a two-octet protocol.

    Never compressed: SoftEther drops frames without FF 03, and we do not ask whether the peer would take them.
    """
    return b"".join((ADDRESS_AND_CONTROL, protocol.to_bytes(2, "big"), information))


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """One packet of LCP or an NCP: the Information field of a frame (RFC 1661 section 5)."""

    code: int
    """0 to 255; see Code."""
    identifier: int
    """0 to 255; pairs replies with requests."""
    data: bytes = b""
    """At most 65531 octets."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if not (0 <= self.code <= 0xFF and 0 <= self.identifier <= 0xFF and len(self.data) <= MAX_CONTROL_DATA):
            raise ValueError(f"not a PPP control packet: code {self.code}, identifier {self.identifier}")

    @classmethod
    def parse(cls, information: bytes | memoryview) -> Self:
        """Read a packet; octets behind its Length are padding. Raises RemoteProtocolError."""
        if len(information) < CONTROL_HEADER_SIZE:
            raise RemoteProtocolError("PPP control packet shorter than its header", layer="ppp")
        length = information[2] << 8 | information[3]
        # RFC 1661 section 5: "Octets outside the range of the Length field are treated as padding and are ignored on
        # reception. When a packet is received with an invalid Length field, the packet is silently discarded".
        if not CONTROL_HEADER_SIZE <= length <= len(information):
            raise RemoteProtocolError(f"PPP control packet with invalid length {length}", layer="ppp")
        return cls(information[0], information[1], bytes(information[CONTROL_HEADER_SIZE:length]))

    def to_bytes(self) -> bytes:
        """Return the packet as it goes into the Information field."""
        length = CONTROL_HEADER_SIZE + len(self.data)
        return bytes((self.code, self.identifier, length >> 8, length & 0xFF)) + self.data


@dataclass(frozen=True, slots=True)
class Option:
    """One configuration option (RFC 1661 section 6)."""

    type: int
    """0 to 255; what it means depends on the control protocol."""
    value: bytes = b""
    """At most 253 octets."""

    def __post_init__(self) -> None:
        """Refuse what cannot be written."""
        if not (0 <= self.type <= 0xFF and len(self.value) <= MAX_OPTION_VALUE):
            raise ValueError(f"not a PPP option: type {self.type}, {len(self.value)} octets")

    def to_bytes(self) -> bytes:
        """Return type, length and value."""
        return bytes((self.type, OPTION_HEADER_SIZE + len(self.value))) + self.value


def parse_options(data: bytes) -> tuple[Option, ...]:
    """Read a list of options. Raises RemoteProtocolError when a length does not fit."""
    options = []
    offset = 0
    while offset < len(data):
        length = data[offset + 1] if offset + OPTION_HEADER_SIZE <= len(data) else 0
        if length < OPTION_HEADER_SIZE or offset + length > len(data):
            raise RemoteProtocolError(f"PPP option {data[offset]} with invalid length {length}", layer="ppp")
        options.append(Option(data[offset], data[offset + OPTION_HEADER_SIZE : offset + length]))
        offset += length
    return tuple(options)


def options_to_bytes(options: Iterable[Option]) -> bytes:
    """Return the options one behind the other."""
    return b"".join(option.to_bytes() for option in options)
