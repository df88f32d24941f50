"""The TLVs of PEAP's Extensions Method ([MS-PEAP] 2.2.8, EAP type 33): results, crypto binding and Nak."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from ...errors import RemoteProtocolError

_LAYER = "peap"
_HEADER_SIZE = 4
_MANDATORY = 0x8000
_TYPE_MASK = 0x3FFF
NONCE_SIZE = 32
MAC_SIZE = 20


class TlvType(IntEnum):
    """The types that we know."""

    RESULT = 3
    NAK = 4
    CRYPTO_BINDING = 12


class Result(IntEnum):
    """The value of a Result TLV."""

    SUCCESS = 1
    FAILURE = 2


class BindingSubtype(IntEnum):
    """Which side made a Cryptobinding TLV."""

    REQUEST = 0
    RESPONSE = 1


@dataclass(frozen=True, slots=True)
class Tlv:
    """Type, length, value."""

    type: int
    value: bytes = field(repr=False)
    mandatory: bool = True

    def to_bytes(self) -> bytes:
        """Return the TLV as it is sent."""
        head = self.type | (_MANDATORY if self.mandatory else 0)
        return head.to_bytes(2, "big") + len(self.value).to_bytes(2, "big") + self.value


def parse_tlvs(data: bytes) -> tuple[Tlv, ...]:
    """Parse the data of an Extensions Method packet; raises RemoteProtocolError when a TLV is cut short."""
    tlvs = []
    while data:
        size = int.from_bytes(data[2:_HEADER_SIZE], "big")
        if len(data) < _HEADER_SIZE + size:
            raise RemoteProtocolError("a TLV of PEAP is cut short", layer=_LAYER)
        head = int.from_bytes(data[:2], "big")
        tlvs.append(Tlv(head & _TYPE_MASK, data[_HEADER_SIZE : _HEADER_SIZE + size], bool(head & _MANDATORY)))
        data = data[_HEADER_SIZE + size :]
    return tuple(tlvs)


def result_tlv(result: Result) -> Tlv:
    """Return a Result TLV."""
    return Tlv(TlvType.RESULT, result.to_bytes(2, "big"))


def nak_tlv(refused: int) -> Tlv:
    """Return what answers a mandatory TLV that is not known: a Nak with vendor 0 and its type."""
    return Tlv(TlvType.NAK, bytes(4) + refused.to_bytes(2, "big"))


def find_result(tlvs: tuple[Tlv, ...]) -> Result | None:
    """Return what the Result TLV says, None without one. Raises RemoteProtocolError for a malformed one."""
    for tlv in tlvs:
        if tlv.type == TlvType.RESULT:
            value = int.from_bytes(tlv.value, "big")
            if len(tlv.value) != 2 or value not in (Result.SUCCESS, Result.FAILURE):
                raise RemoteProtocolError("a Result TLV of PEAP is malformed", layer=_LAYER)
            return Result(value)
    return None


@dataclass(frozen=True, slots=True)
class CryptoBinding:
    """The value of a Cryptobinding TLV ([MS-PEAP] 2.2.8.1.1): proof that tunnel and inner method have the same ends."""

    version: int
    received_version: int
    """The PEAP version that its sender was offered."""
    subtype: int
    nonce: bytes = field(repr=False)
    mac: bytes = field(default=bytes(MAC_SIZE), repr=False)

    SIZE = 4 + NONCE_SIZE + MAC_SIZE

    @classmethod
    def find(cls, tlvs: tuple[Tlv, ...]) -> CryptoBinding | None:
        """Return the binding among TLVs, None without one. Raises RemoteProtocolError for a malformed one."""
        for tlv in tlvs:
            if tlv.type == TlvType.CRYPTO_BINDING:
                return cls.parse(tlv.value)
        return None

    @classmethod
    def parse(cls, value: bytes) -> CryptoBinding:
        """Parse; raises RemoteProtocolError when the size is wrong. The reserved byte is ignored."""
        if len(value) != cls.SIZE:
            raise RemoteProtocolError(f"a Cryptobinding TLV of {len(value)} bytes", layer=_LAYER)
        return cls(value[1], value[2], value[3], value[4 : 4 + NONCE_SIZE], value[4 + NONCE_SIZE :])

    def to_tlv(self) -> Tlv:
        """Return the TLV."""
        head = bytes((0, self.version, self.received_version, self.subtype))
        # Hosts that do not know it go on without: it is not mandatory.
        return Tlv(TlvType.CRYPTO_BINDING, head + self.nonce + self.mac, mandatory=False)
