"""EAP on the wire (RFC 3748 section 4): the Information field of PPP frames 0xC227, and the inside of PEAP.

A Request or Response has a Type, in one byte or expanded by a vendor (section 5.7). Both forms are one MethodType
here, as the RFC has it: vendor 0 with a Type below 255 is the Type itself. What came expanded is answered expanded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from ...errors import RemoteProtocolError

HEADER_SIZE = 4
MAX_PACKET = 0xFFFF
_EXPANDED_HEADER_SIZE = 8
"""Type 254, three bytes of vendor, four of the vendor's type."""
VENDOR_MICROSOFT = 311


class EapCode(IntEnum):
    """The Code field (RFC 3748 section 4)."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class EapType(IntEnum):
    """Types of Requests and Responses (RFC 3748 section 5 and the IANA registry of method types)."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    MD5_CHALLENGE = 4
    GTC = 6
    TLS = 13
    PEAP = 25
    MSCHAPV2 = 26
    TLV = 33
    EXPANDED = 254


class MethodType(NamedTuple):
    """A Type of any vendor."""

    number: int
    vendor: int = 0

    def to_expanded(self) -> bytes:
        """Return the eight bytes of the expanded form."""
        return bytes((EapType.EXPANDED,)) + self.vendor.to_bytes(3, "big") + self.number.to_bytes(4, "big")


IDENTITY = MethodType(EapType.IDENTITY)
NOTIFICATION = MethodType(EapType.NOTIFICATION)
NAK = MethodType(EapType.NAK)
MD5_CHALLENGE = MethodType(EapType.MD5_CHALLENGE)
GTC = MethodType(EapType.GTC)
TLS = MethodType(EapType.TLS)
PEAP = MethodType(EapType.PEAP)
MSCHAPV2 = MethodType(EapType.MSCHAPV2)
TLV = MethodType(EapType.TLV)

_NAMES = {
    MD5_CHALLENGE: "EAP-MD5",
    MethodType(5): "EAP-OTP",
    GTC: "EAP-GTC",
    TLS: "EAP-TLS",
    MethodType(17): "LEAP",
    MethodType(18): "EAP-SIM",
    MethodType(21): "EAP-TTLS",
    MethodType(23): "EAP-AKA",
    PEAP: "PEAP",
    MSCHAPV2: "EAP-MSCHAPv2",
    MethodType(43): "EAP-FAST",
    MethodType(52): "EAP-pwd",
    MethodType(55): "TEAP",
}


def describe_type(kind: MethodType) -> str:
    """Return what people call a Type."""
    if kind.vendor:
        return f"EAP type {kind.number} of vendor {kind.vendor}"
    return _NAMES.get(kind, f"EAP type {kind.number}")


@dataclass(frozen=True, slots=True)
class EapPacket:
    """One packet. Success and Failure have neither type nor data. The data, often a secret, is in no repr."""

    code: int
    identifier: int
    kind: MethodType | None = None
    """The Type of a Request or Response."""
    data: bytes = field(default=b"", repr=False)
    """What follows the Type."""
    expanded: bool = False
    """Whether the Type has, or had, the expanded form. Always for other vendors than 0."""

    def __post_init__(self) -> None:
        """A vendor's Type has only one form."""
        if self.kind is not None and self.kind.vendor and not self.expanded:
            object.__setattr__(self, "expanded", True)

    @classmethod
    def parse(cls, packet: bytes) -> EapPacket:
        """Parse; raises RemoteProtocolError when the packet is malformed.

        RFC 3748 section 4.1: octets behind the Length are padding and ignored; a Length beyond the received octets
        means that the packet is discarded.
        """
        if len(packet) < HEADER_SIZE:
            raise RemoteProtocolError("EAP packet shorter than its header", layer="eap")
        code, identifier, length = packet[0], packet[1], int.from_bytes(packet[2:4], "big")
        if not HEADER_SIZE <= length <= len(packet):
            raise RemoteProtocolError(f"EAP packet of {len(packet)} bytes says it has {length}", layer="eap")
        if code in (EapCode.SUCCESS, EapCode.FAILURE):
            return cls(code, identifier)
        if code not in (EapCode.REQUEST, EapCode.RESPONSE):
            raise RemoteProtocolError(f"unknown EAP code {code}", layer="eap")
        return cls.parse_body(code, identifier, packet[HEADER_SIZE:length])

    @classmethod
    def parse_body(cls, code: int, identifier: int, body: bytes) -> EapPacket:
        """Parse what follows the header of a Request or Response."""
        if not body:
            raise RemoteProtocolError("EAP packet without a Type", layer="eap")
        if body[0] != EapType.EXPANDED:
            return cls(code, identifier, MethodType(body[0]), body[1:])
        if len(body) < _EXPANDED_HEADER_SIZE:
            raise RemoteProtocolError("EAP packet ends inside its expanded Type", layer="eap")
        kind = MethodType(int.from_bytes(body[4:8], "big"), int.from_bytes(body[1:4], "big"))
        return cls(code, identifier, kind, body[_EXPANDED_HEADER_SIZE:], expanded=True)

    def body(self) -> bytes:
        """Return what follows the header."""
        if self.kind is None:
            return b""
        if self.expanded:
            return self.kind.to_expanded() + self.data
        return bytes((self.kind.number,)) + self.data

    def to_bytes(self) -> bytes:
        """Return the packet as it is sent."""
        body = self.body()
        return bytes((self.code, self.identifier)) + (HEADER_SIZE + len(body)).to_bytes(2, "big") + body

    def answer(self, data: bytes) -> EapPacket:
        """Return the Response of the same Type to this Request."""
        return EapPacket(EapCode.RESPONSE, self.identifier, self.kind, data, self.expanded)


def nak(request: EapPacket, wanted: tuple[MethodType, ...]) -> EapPacket:
    """Return the Response that refuses the Type of ``request`` and lists the wanted ones, best first."""
    if request.expanded:
        # RFC 3748 section 5.3.2: an Expanded Nak answers only expanded Requests; vendor 0, type 0: no alternative.
        listed = b"".join(kind.to_expanded() for kind in wanted or (MethodType(0),))
        return EapPacket(EapCode.RESPONSE, request.identifier, NAK, listed, expanded=True)
    # Section 5.3.1: "A Nak Response with a Type of zero (0) indicates no desired alternative."
    numbers = bytes(kind.number for kind in wanted if not kind.vendor) or b"\x00"
    return EapPacket(EapCode.RESPONSE, request.identifier, NAK, numbers)


def parse_nak(packet: EapPacket) -> tuple[MethodType, ...]:
    """Return the Types that a Nak of either form asks for; malformed rests are ignored."""
    if not packet.expanded:
        return tuple(MethodType(number) for number in packet.data if number not in (0, EapType.EXPANDED))
    step = _EXPANDED_HEADER_SIZE
    entries = [packet.data[start : start + step] for start in range(0, len(packet.data) - step + 1, step)]
    kinds = [EapPacket.parse_body(EapCode.RESPONSE, 0, entry).kind for entry in entries if entry[0] == EapType.EXPANDED]
    return tuple(kind for kind in kinds if kind is not None and kind.number)
