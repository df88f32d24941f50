"""TLS in EAP packets (RFC 5216 sections 2.1.5 and 3): flags, lengths and fragments, the same for EAP-TLS and PEAP.

A message of TLS goes in as many packets as it takes; each but the last has the M flag and is acknowledged by a packet
without data. The first says how long the whole is. PEAP keeps its version in the lowest bits of the flags.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag

from ...errors import RemoteProtocolError

MAX_MESSAGE = 64 * 1024
"""Bytes of one TLS message that are put together: RFC 5216 section 2.1.5, what a chain of certificates may need."""
FRAGMENT_SIZE = 1010
"""Bytes of TLS in a packet, so that it has at most 1020 bytes: RFC 3748 section 3.1, the least that every lower layer
carries, RADIUS behind the server included."""
_VERSION_MASK = 0x07
_LENGTH_SIZE = 4


class Flags(IntFlag):
    """The first byte of the data (RFC 5216 section 3.1)."""

    LENGTH_INCLUDED = 0x80
    MORE_FRAGMENTS = 0x40
    START = 0x20


_NO_FLAGS = Flags(0)


@dataclass(frozen=True, slots=True)
class TlsPacket:
    """The data of an EAP-TLS or PEAP packet."""

    flags: Flags = _NO_FLAGS
    version: int = 0
    """PEAP's; 0 in EAP-TLS."""
    length: int | None = None
    """Of the whole message, when the packet says so."""
    data: bytes = field(default=b"", repr=False)

    @classmethod
    def parse(cls, data: bytes, layer: str) -> TlsPacket:
        """Parse; raises RemoteProtocolError when it is cut short. The reserved bits are ignored."""
        if not data:
            return cls()  # some peers acknowledge without even the flags
        flags, version, rest = Flags(data[0] & 0xE0), data[0] & _VERSION_MASK, data[1:]
        if not flags & Flags.LENGTH_INCLUDED:
            return cls(flags, version, None, rest)
        if len(rest) < _LENGTH_SIZE:
            raise RemoteProtocolError("the length of a TLS message is cut short", layer=layer)
        return cls(flags, version, int.from_bytes(rest[:_LENGTH_SIZE], "big"), rest[_LENGTH_SIZE:])

    def to_bytes(self) -> bytes:
        """Return the data as it is sent."""
        flags = self.flags & ~Flags.LENGTH_INCLUDED
        if self.length is None:
            return bytes((flags | self.version,)) + self.data
        head = bytes((flags | Flags.LENGTH_INCLUDED | self.version,))
        return head + self.length.to_bytes(_LENGTH_SIZE, "big") + self.data

    @property
    def is_acknowledgement(self) -> bool:
        """Whether it carries nothing."""
        return not self.data and not self.flags & (Flags.START | Flags.MORE_FRAGMENTS)


class TlsTransport:
    """Cuts the messages to send, and puts the received ones together."""

    def __init__(self, layer: str) -> None:
        self.version = 0
        """What our packets carry."""
        self._layer = layer
        self._outgoing = b""
        self._sent = 0
        self._incoming = bytearray()
        self._expected: int | None = None

    @property
    def sending(self) -> bool:
        """Whether fragments wait for an acknowledgement of the one before."""
        return self._sent < len(self._outgoing)

    def send(self, message: bytes) -> bytes:
        """Take a message and return the data of the first packet; an empty one gives an acknowledgement."""
        self._outgoing, self._sent = message, 0
        return self.next_fragment()

    def next_fragment(self) -> bytes:
        """Return the data of the next packet."""
        first = self._sent == 0
        fragment = self._outgoing[self._sent : self._sent + FRAGMENT_SIZE]
        self._sent += len(fragment)
        if not self.sending:
            # A message in one packet needs no length, and some implementations want none there.
            length = None
            flags = _NO_FLAGS
        else:
            flags = Flags.MORE_FRAGMENTS
            length = len(self._outgoing) if first else None
        return TlsPacket(flags, self.version, length, fragment).to_bytes()

    def receive(self, packet: TlsPacket) -> bytes | None:
        """Take a packet with data and return the whole message, None while more is to come.

        Raises RemoteProtocolError when the parts do not fit together.
        """
        if self._expected is None:
            self._expected = packet.length
        elif packet.length not in (None, self._expected):
            raise RemoteProtocolError(
                "the length of a TLS message changes from fragment to fragment", layer=self._layer
            )
        size = len(self._incoming) + len(packet.data)
        if size > min(MAX_MESSAGE, self._expected or MAX_MESSAGE):
            raise RemoteProtocolError("a TLS message is longer than it says, or than is taken", layer=self._layer)
        self._incoming += packet.data
        if packet.flags & Flags.MORE_FRAGMENTS:
            return None
        message = bytes(self._incoming)
        self._incoming.clear()
        self._expected = None
        return message
