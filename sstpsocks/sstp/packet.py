"""SSTP packets: delineation, data packets, control packets and their attributes (MS-SSTP 2.2).

All integers are big-endian. Reserved bits are sent as zero and ignored on receipt, as every field of 2.2 says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from ..errors import LocalProtocolError, RemoteProtocolError

VERSION: Final = 0x10  # MS-SSTP 2.2.1: "the 8-bit value of the Version field MUST be 0x10"
HEADER_SIZE: Final = 4
CONTROL_HEADER_SIZE: Final = 8
ATTRIBUTE_HEADER_SIZE: Final = 4
MAX_PACKET: Final = 4095  # the length field has 12 bits and counts the header too
MAX_FRAME: Final = MAX_PACKET - HEADER_SIZE
NONCE_SIZE: Final = 32
HASH_FIELD_SIZE: Final = 32  # room for SHA-256; SHA-1 leaves 12 bytes of padding
MAX_STATUS_VALUE: Final = 64  # MS-SSTP 2.2.8: AttribValue
PROTOCOL_PPP: Final = 0x0001  # SSTP_ENCAPSULATED_PROTOCOL_PPP, MS-SSTP 2.2.5

_LENGTH_MASK = 0x0FFF
_CONTROL_BIT = 0x01
_DATA_WORD = VERSION << 8
_CONTROL_WORD = VERSION << 8 | _CONTROL_BIT
_HEADER = struct.Struct(">HH")
_CONTROL = struct.Struct(">HHHH")
_ATTRIBUTE = struct.Struct(">BBH")
_STATUS_INFO = struct.Struct(">3xBI")


class MessageType(IntEnum):
    """SSTP_MSG_* of MS-SSTP 2.2.2."""

    CALL_CONNECT_REQUEST = 1
    CALL_CONNECT_ACK = 2
    CALL_CONNECT_NAK = 3
    CALL_CONNECTED = 4
    CALL_ABORT = 5
    CALL_DISCONNECT = 6
    CALL_DISCONNECT_ACK = 7
    ECHO_REQUEST = 8
    ECHO_RESPONSE = 9


class AttributeId(IntEnum):
    """SSTP_ATTRIB_* of MS-SSTP 2.2.4."""

    NO_ERROR = 0
    ENCAPSULATED_PROTOCOL_ID = 1
    STATUS_INFO = 2
    CRYPTO_BINDING = 3
    CRYPTO_BINDING_REQ = 4


class Status(IntEnum):
    """ATTRIB_STATUS_* of MS-SSTP 2.2.8."""

    NO_ERROR = 0
    DUPLICATE_ATTRIBUTE = 1
    UNRECOGNIZED_ATTRIBUTE = 2
    INVALID_ATTRIB_VALUE_LENGTH = 3
    VALUE_NOT_SUPPORTED = 4
    UNACCEPTED_FRAME_RECEIVED = 5
    RETRY_COUNT_EXCEEDED = 6
    INVALID_FRAME_RECEIVED = 7
    NEGOTIATION_TIMEOUT = 8
    ATTRIB_NOT_SUPPORTED_IN_MSG = 9
    REQUIRED_ATTRIBUTE_MISSING = 0x0A
    STATUS_INFO_NOT_SUPPORTED_IN_MSG = 0x0B


class HashProtocol(IntFlag):
    """CERT_HASH_PROTOCOL_* of MS-SSTP 2.2.6 and 2.2.7: a set in CALL_CONNECT_ACK, one bit in CALL_CONNECTED."""

    SHA1 = 1
    SHA256 = 2


ALL_HASHES: Final = HashProtocol.SHA1 | HashProtocol.SHA256


def malformed(message: str) -> RemoteProtocolError:
    """Return the error for a packet that breaks MS-SSTP 2.2."""
    return RemoteProtocolError(message, layer="sstp")


def _check(condition: bool, message: str) -> None:
    """Refuse to build a packet that the specification does not have."""
    if not condition:
        raise LocalProtocolError(message, layer="sstp")


# Delineation


def check_header(packet: bytes | bytearray, start: int = 0) -> int:
    """Return the length of the packet that begins at ``start``, header included.

    At least HEADER_SIZE bytes must be there. Raises RemoteProtocolError when the stream cannot be delineated:
    wrong version, or a length that does not hold the packet's own header.
    """
    word, length = _HEADER.unpack_from(packet, start)
    length &= _LENGTH_MASK
    if word >> 8 != VERSION:
        raise malformed(f"SSTP version 0x{word >> 8:02x} instead of 0x10")
    if length < (CONTROL_HEADER_SIZE if word & _CONTROL_BIT else HEADER_SIZE):
        raise malformed(f"SSTP packet with an impossible length of {length} bytes")
    return int(length)


def is_control(packet: bytes) -> bool:
    """Return the C bit of a whole packet: control (True) or data (False)."""
    return bool(packet[1] & _CONTROL_BIT)


class PacketBuffer:
    """Cuts the byte stream behind the HTTP header into SSTP packets (MS-SSTP 3.1.5.1)."""

    __slots__ = ("_data", "_start")

    def __init__(self) -> None:
        self._data = bytearray()
        self._start = 0

    def __len__(self) -> int:
        return len(self._data) - self._start

    def __repr__(self) -> str:
        return f"<PacketBuffer holding {len(self)} bytes>"

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes of the stream."""
        if self._start:
            # Once per chunk, not per packet: what is left is at most one incomplete packet.
            del self._data[: self._start]
            self._start = 0
        self._data += data

    def next_packet(self) -> bytes | None:
        """Return the next whole packet with its header, or None when more bytes are needed.

        Raises RemoteProtocolError when the stream cannot be delineated; nothing behind that point is usable.
        """
        if len(self) < HEADER_SIZE:
            return None
        length = check_header(self._data, self._start)
        if len(self) < length:
            return None
        end = self._start + length
        packet = bytes(self._data[self._start : end])
        self._start = end
        return packet


def encode_data(frame: bytes) -> bytes:
    """Return the data packet that carries one PPP frame of at most MAX_FRAME bytes (MS-SSTP 2.2.3)."""
    length = HEADER_SIZE + len(frame)
    if length > MAX_PACKET:
        raise LocalProtocolError(f"a PPP frame of {len(frame)} bytes does not fit an SSTP packet", layer="sstp")
    return _HEADER.pack(_DATA_WORD, length) + frame


# Control packets


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a control packet, value uninterpreted (MS-SSTP 2.2.4)."""

    attribute_id: int
    """0-255; see AttributeId."""
    value: bytes
    """Everything behind the attribute's 4-byte header."""

    def __post_init__(self) -> None:
        _check(0 <= self.attribute_id <= 0xFF, f"no attribute id: {self.attribute_id}")
        _check(len(self.value) <= MAX_PACKET - CONTROL_HEADER_SIZE - ATTRIBUTE_HEADER_SIZE, "attribute value too long")

    def to_bytes(self) -> bytes:
        """Return the attribute as on the wire."""
        return _ATTRIBUTE.pack(0, self.attribute_id, ATTRIBUTE_HEADER_SIZE + len(self.value)) + self.value


@dataclass(frozen=True, slots=True)
class ControlPacket:
    """A control packet (MS-SSTP 2.2.2)."""

    message_type: int
    """0-65535; see MessageType."""
    attributes: tuple[Attribute, ...] = ()

    def __post_init__(self) -> None:
        _check(0 <= self.message_type <= 0xFFFF, f"no message type: {self.message_type}")
        size = CONTROL_HEADER_SIZE + sum(ATTRIBUTE_HEADER_SIZE + len(each.value) for each in self.attributes)
        _check(size <= MAX_PACKET, f"a control packet of {size} bytes")

    @classmethod
    def parse(cls, packet: bytes) -> ControlPacket:
        """Return the control packet in ``packet``, which is one whole SSTP packet.

        Raises RemoteProtocolError when it is none or when an attribute reaches beyond its end. Bytes behind the
        last attribute are ignored.
        """
        if len(packet) < CONTROL_HEADER_SIZE or check_header(packet) != len(packet) or not is_control(packet):
            raise malformed("not one whole SSTP control packet")
        _, _, message_type, count = _CONTROL.unpack_from(packet)
        attributes = []
        position = CONTROL_HEADER_SIZE
        for _ in range(count):
            if len(packet) - position < ATTRIBUTE_HEADER_SIZE:
                raise malformed(f"SSTP message {message_type} ends before its {count} attributes do")
            _, attribute_id, length = _ATTRIBUTE.unpack_from(packet, position)
            length &= _LENGTH_MASK
            if length < ATTRIBUTE_HEADER_SIZE or position + length > len(packet):
                raise malformed(f"SSTP attribute {attribute_id} with an impossible length of {length} bytes")
            attributes.append(Attribute(attribute_id, packet[position + ATTRIBUTE_HEADER_SIZE : position + length]))
            position += length
        return cls(message_type, tuple(attributes))

    def to_bytes(self) -> bytes:
        """Return the packet as on the wire."""
        body = b"".join(attribute.to_bytes() for attribute in self.attributes)
        length = CONTROL_HEADER_SIZE + len(body)
        return _CONTROL.pack(_CONTROL_WORD, length, self.message_type, len(self.attributes)) + body

    def find(self, attribute_id: int) -> Attribute | None:
        """Return the first attribute of that id, or None."""
        return next((each for each in self.attributes if each.attribute_id == attribute_id), None)


# Attributes


@dataclass(frozen=True, slots=True)
class EncapsulatedProtocolId:
    """The protocol that the call is to carry (MS-SSTP 2.2.5)."""

    protocol: int = PROTOCOL_PPP
    """0-65535; PROTOCOL_PPP is the only one that exists."""

    def __post_init__(self) -> None:
        _check(0 <= self.protocol <= 0xFFFF, f"no protocol id: {self.protocol}")

    @classmethod
    def parse(cls, value: bytes) -> EncapsulatedProtocolId:
        """Parse an attribute's value of 2 bytes."""
        if len(value) != 2:
            raise malformed(f"Encapsulated Protocol ID of {len(value)} bytes instead of 2")
        return cls(int.from_bytes(value, "big"))

    def to_attribute(self) -> Attribute:
        """Return it as an attribute."""
        return Attribute(AttributeId.ENCAPSULATED_PROTOCOL_ID, self.protocol.to_bytes(2, "big"))


@dataclass(frozen=True, slots=True)
class StatusInfo:
    """What was wrong with which attribute (MS-SSTP 2.2.8)."""

    attribute_id: int
    """The attribute that the status is about; see AttributeId."""
    status: int
    """0 to 2**32-1; see Status."""
    value: bytes = b""
    """In CALL_CONNECT_NAK the first 64 bytes of the refused attribute's value; empty elsewhere."""

    def __post_init__(self) -> None:
        _check(0 <= self.attribute_id <= 0xFF, f"no attribute id: {self.attribute_id}")
        _check(0 <= self.status <= 0xFFFFFFFF, f"no status: {self.status}")
        _check(len(self.value) <= MAX_STATUS_VALUE, f"an AttribValue of {len(self.value)} bytes")

    @classmethod
    def parse(cls, value: bytes) -> StatusInfo:
        """Parse an attribute's value of 8 to 72 bytes."""
        if not _STATUS_INFO.size <= len(value) <= _STATUS_INFO.size + MAX_STATUS_VALUE:
            raise malformed(f"Status Info of {len(value)} bytes")
        attribute_id, status = _STATUS_INFO.unpack_from(value)
        return cls(attribute_id, status, value[_STATUS_INFO.size :])

    def to_attribute(self) -> Attribute:
        """Return it as an attribute."""
        return Attribute(AttributeId.STATUS_INFO, _STATUS_INFO.pack(self.attribute_id, self.status) + self.value)


@dataclass(frozen=True, slots=True)
class CryptoBindingRequest:
    """The hashes that the server allows and its nonce (MS-SSTP 2.2.6)."""

    hashes: HashProtocol
    """The set offered; bits that the specification does not have are dropped."""
    nonce: bytes
    """32 bytes, new for each call."""

    def __post_init__(self) -> None:
        _check(len(self.nonce) == NONCE_SIZE, f"a nonce of {len(self.nonce)} bytes")

    @classmethod
    def parse(cls, value: bytes) -> CryptoBindingRequest:
        """Parse an attribute's value of 36 bytes."""
        if len(value) != 4 + NONCE_SIZE:
            raise malformed(f"Crypto Binding Request of {len(value)} bytes instead of {4 + NONCE_SIZE}")
        return cls(HashProtocol(value[3] & ALL_HASHES), value[4:])

    def to_attribute(self) -> Attribute:
        """Return it as an attribute."""
        return Attribute(AttributeId.CRYPTO_BINDING_REQ, bytes((0, 0, 0, self.hashes)) + self.nonce)


@dataclass(frozen=True, slots=True)
class CryptoBinding:
    """The proof that TLS and PPP authentication have the same ends (MS-SSTP 2.2.7)."""

    hash_protocol: int
    """HashProtocol.SHA1 or HashProtocol.SHA256; from a peer possibly anything of 0-255."""
    nonce: bytes
    """The server's, 32 bytes."""
    certificate_hash: bytes
    """32 bytes: the hash of the server's certificate, with 12 bytes of padding for SHA-1."""
    compound_mac: bytes
    """32 bytes: the MAC over the whole message, with 12 bytes of padding for SHA-1."""

    def __post_init__(self) -> None:
        _check(0 <= self.hash_protocol <= 0xFF, f"no hash protocol: {self.hash_protocol}")
        _check(len(self.nonce) == NONCE_SIZE, f"a nonce of {len(self.nonce)} bytes")
        _check(len(self.certificate_hash) == HASH_FIELD_SIZE, "the certificate hash field has 32 bytes")
        _check(len(self.compound_mac) == HASH_FIELD_SIZE, "the compound MAC field has 32 bytes")

    @classmethod
    def parse(cls, value: bytes) -> CryptoBinding:
        """Parse an attribute's value of 100 bytes."""
        size = 4 + NONCE_SIZE + 2 * HASH_FIELD_SIZE
        if len(value) != size:
            raise malformed(f"Crypto Binding of {len(value)} bytes instead of {size}")
        return cls(value[3], value[4:36], value[36:68], value[68:])

    def to_attribute(self) -> Attribute:
        """Return it as an attribute."""
        value = bytes((0, 0, 0, self.hash_protocol)) + self.nonce + self.certificate_hash + self.compound_mac
        return Attribute(AttributeId.CRYPTO_BINDING, value)


# Messages


def call_connect_request() -> bytes:
    """Return SSTP_MSG_CALL_CONNECT_REQUEST for PPP (MS-SSTP 2.2.9)."""
    return ControlPacket(MessageType.CALL_CONNECT_REQUEST, (EncapsulatedProtocolId().to_attribute(),)).to_bytes()


def call_connect_ack(hashes: HashProtocol, nonce: bytes) -> bytes:
    """Return SSTP_MSG_CALL_CONNECT_ACK (MS-SSTP 2.2.10)."""
    request = CryptoBindingRequest(hashes, nonce)
    return ControlPacket(MessageType.CALL_CONNECT_ACK, (request.to_attribute(),)).to_bytes()


def call_connect_nak(faults: tuple[StatusInfo, ...]) -> bytes:
    """Return SSTP_MSG_CALL_CONNECT_NAK with one Status Info for each fault, at least one (MS-SSTP 2.2.12)."""
    _check(bool(faults), "a CALL_CONNECT_NAK without Status Info")
    return ControlPacket(MessageType.CALL_CONNECT_NAK, tuple(each.to_attribute() for each in faults)).to_bytes()


def call_abort(attribute_id: int, status: int) -> bytes:
    """Return SSTP_MSG_CALL_ABORT with a Status Info (MS-SSTP 2.2.13)."""
    return ControlPacket(MessageType.CALL_ABORT, (StatusInfo(attribute_id, status).to_attribute(),)).to_bytes()


def call_disconnect() -> bytes:
    """Return SSTP_MSG_CALL_DISCONNECT with the only Status Info it may have, no error (MS-SSTP 2.2.14)."""
    info = StatusInfo(AttributeId.NO_ERROR, Status.NO_ERROR)
    return ControlPacket(MessageType.CALL_DISCONNECT, (info.to_attribute(),)).to_bytes()


# The Status Info of MS-SSTP 2.2.13 is a SHOULD, and an abort that only answers the peer's has no fault to report.
CALL_ABORT_ANSWER: Final = ControlPacket(MessageType.CALL_ABORT).to_bytes()
CALL_DISCONNECT_ACK: Final = ControlPacket(MessageType.CALL_DISCONNECT_ACK).to_bytes()
ECHO_REQUEST: Final = ControlPacket(MessageType.ECHO_REQUEST).to_bytes()
ECHO_RESPONSE: Final = ControlPacket(MessageType.ECHO_RESPONSE).to_bytes()


def end_status(packet: bytes) -> tuple[int | None, int | None]:
    """Return (attribute id, status) of a CALL_ABORT or CALL_DISCONNECT as far as they can be made out.

    Servers write this attribute in several wrong ways, and none of them makes the end of the call less true: no
    attribute at all, the 4 bytes of the status alone, attribute id 0 instead of 2. So this never raises; what
    cannot be read is None.
    """
    try:
        attributes = ControlPacket.parse(packet).attributes
    except RemoteProtocolError:
        return None, None
    for attribute in attributes:
        if attribute.attribute_id in (AttributeId.STATUS_INFO, AttributeId.NO_ERROR):
            if len(attribute.value) >= _STATUS_INFO.size:
                attribute_id, status = _STATUS_INFO.unpack_from(attribute.value)
                return attribute_id, status
            if len(attribute.value) == 4:
                return None, int.from_bytes(attribute.value, "big")
    return None, None
