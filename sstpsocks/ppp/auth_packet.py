"""The packets of PAP (RFC 1334 section 2.2) and CHAP (RFC 1994 section 4): the Information field of their frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from ..errors import RemoteProtocolError
from .packet import ControlPacket


class PapCode(IntEnum):
    """The Code field of PAP (RFC 1334 section 2.2)."""

    AUTHENTICATE_REQUEST = 1
    AUTHENTICATE_ACK = 2
    AUTHENTICATE_NAK = 3


class ChapCode(IntEnum):
    """The Code field of CHAP (RFC 1994 section 4)."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4
    CHANGE_PASSWORD = 7  # RFC 2759 section 7


class AuthPacket(ControlPacket):
    """A packet of PAP or CHAP, which have the form of control packets. Its repr hides the data: PAP's password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"AuthPacket(code={self.code}, identifier={self.identifier}, {len(self.data)} bytes)"


@dataclass(frozen=True, slots=True)
class ChapValue:
    """The data of a Challenge or Response (RFC 1994 section 4.1): a value with its size before it, and a name."""

    value: bytes = field(repr=False)
    """1 to 255 bytes."""
    name: bytes
    """Who sends it; the rest of the packet."""

    @classmethod
    def parse(cls, data: bytes, layer: str) -> ChapValue:
        """Parse; raises RemoteProtocolError when the value is empty or longer than the data."""
        if not data or not data[0]:
            raise RemoteProtocolError("a CHAP packet holds no value", layer=layer)
        end = 1 + data[0]
        if end > len(data):
            raise RemoteProtocolError(
                f"a CHAP packet announces a value of {data[0]} bytes and holds {len(data) - 1}", layer=layer
            )
        return cls(data[1:end], data[end:])

    def to_bytes(self) -> bytes:
        """Return the data as it is sent."""
        return bytes((len(self.value),)) + self.value + self.name


@dataclass(frozen=True, slots=True)
class PapRequest:
    """The data of a PAP Authenticate-Request (RFC 1334 section 2.2.1)."""

    peer_id: bytes
    """The user name, at most 255 bytes."""
    password: bytes = field(repr=False)
    """At most 255 bytes."""

    @classmethod
    def parse(cls, data: bytes) -> PapRequest:
        """Parse; raises RemoteProtocolError when a length does not fit. Bytes behind the password are ignored."""
        peer_id, rest = _take_counted(data, "peer ID")
        password, _ = _take_counted(rest, "password")
        return cls(peer_id, password)

    def to_bytes(self) -> bytes:
        """Return the data as it is sent."""
        return bytes((len(self.peer_id),)) + self.peer_id + bytes((len(self.password),)) + self.password


def _take_counted(data: bytes, what: str) -> tuple[bytes, bytes]:
    if not data or 1 + data[0] > len(data):
        raise RemoteProtocolError(f"the {what} of a PAP request is cut off", layer="pap")
    end = 1 + data[0]
    return data[1:end], data[end:]


def parse_pap_message(data: bytes) -> bytes:
    """Return the message of a PAP Ack or Nak (RFC 1334 section 2.2.2).

    The message is only for people, so a missing or wrong length is not worth an error: some servers send none.
    """
    return data[1 : 1 + data[0]] if data else b""


def pap_message_to_bytes(message: bytes) -> bytes:
    """Return the data of a PAP Ack or Nak; ``message`` is at most 255 bytes."""
    return bytes((len(message),)) + message
