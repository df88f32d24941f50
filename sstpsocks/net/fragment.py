"""Fragments (RFC 791 section 3.2, RFC 815): putting received ones together, and cutting what is larger than the MTU.

Theory of operation. A datagram under assembly keeps its fragments by offset until their lengths add up to the end that
the last fragment gave; since overlaps are not allowed, nothing else needs to be looked at. The rule about overlaps is
IPv6's, which is safe for IPv4 too (RFC 1858, RFC 3128 show what attackers do with the old one). Memory is bounded
altogether and per source, and the oldest datagram makes room.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import RemoteProtocolError
from .config import StackConfig
from .counters import NetCounters
from .ip import HEADER_SIZE, MAX_PACKET, Ipv4Header

_OVERHEAD = 128
"""Octets that a fragment is charged on top of its payload, about what Python's objects take."""
_MAX_FRAGMENTS = 256
"""Of one datagram; 65535 octets over the smallest MTU that is in use, 576, are 119."""

_Key = tuple[bytes, bytes, int, int]
"""RFC 791: "source, destination, protocol, and identification"."""


@dataclass(slots=True, eq=False)
class _Assembly:
    """One datagram of which not everything has arrived."""

    source: bytes
    deadline: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    """Payloads by offset."""
    received: int = 0
    """Payload octets in ``pieces``."""
    charged: int = 0
    """What it counts against the bounds."""
    end: int | None = None
    """Payload octets of the whole datagram, known from its last fragment."""
    first: Ipv4Header | None = None
    """Header of the fragment at offset 0."""
    poisoned: bool = False
    """It overlapped; it stays only to swallow its other fragments."""


class Reassembler:
    """Collects the fragments that are addressed to us."""

    __slots__ = ("_assemblies", "_charged", "_charged_by_source", "_config", "_counters")

    def __init__(self, config: StackConfig, counters: NetCounters) -> None:
        self._config = config
        self._counters = counters
        self._assemblies: dict[_Key, _Assembly] = {}
        """In order of arrival, therefore of deadline."""
        self._charged = 0
        self._charged_by_source: dict[bytes, int] = {}

    def __repr__(self) -> str:
        return f"<Reassembler {len(self._assemblies)} datagrams, {self._charged} octets>"

    def __len__(self) -> int:
        return len(self._assemblies)

    def receive(self, header: Ipv4Header, payload: bytes, now: float) -> tuple[Ipv4Header, bytes] | None:
        """Take one fragment; return header and payload of the whole datagram when it was the last that was missing.

        Raises RemoteProtocolError for a fragment that cannot be part of any datagram.
        """
        self._counters.ip_reasm_reqds += 1
        size = len(payload)
        if size == 0 or (header.more_fragments and size % 8):
            raise RemoteProtocolError(f"IPv4 fragment of {size} octets", layer="ip")
        if header.header_length + header.fragment_offset + size > MAX_PACKET:
            raise RemoteProtocolError("IPv4 fragment beyond 65535 octets", layer="ip")
        key = (header.source, header.destination, header.protocol, header.identification)
        assembly = self._assemblies.get(key)
        if assembly is None:
            assembly = _Assembly(header.source, now + self._config.reassembly_timeout)
            self._assemblies[key] = assembly
            self._charge(assembly, _OVERHEAD)
        if assembly.poisoned or assembly.pieces.get(header.fragment_offset) == payload:
            # An exact duplicate is the network's doing, not an overlap: RFC 8200 section 4.5 allows to ignore it.
            return None
        if self._contradicts(assembly, header, size):
            self._poison(assembly)
            return None
        assembly.pieces[header.fragment_offset] = payload
        assembly.received += size
        if not header.more_fragments:
            assembly.end = header.fragment_offset + size
        if header.fragment_offset == 0:
            assembly.first = header
        self._charge(assembly, size + _OVERHEAD)
        if assembly.received == assembly.end and assembly.first is not None:
            self._remove(key)
            return self._assemble(assembly.first, assembly)
        self._make_room(key)
        return None

    def poll_at(self) -> float | None:
        """Return when the oldest datagram times out."""
        for assembly in self._assemblies.values():
            return assembly.deadline
        return None

    def handle_timer(self, now: float) -> list[bytes]:
        """Give up what has waited too long.

        Returns the first fragments that had arrived, for ICMP errors. RFC 1122 section 3.3.2: "the partially-
        reassembled datagram MUST be discarded and an ICMP Time Exceeded message sent to the source host (if fragment
        zero has been received)".
        """
        expired: list[bytes] = []
        while True:
            key = next(iter(self._assemblies), None)
            if key is None or self._assemblies[key].deadline > now:
                return expired
            assembly = self._assemblies[key]
            self._remove(key)
            if not assembly.poisoned:
                self._counters.ip_reasm_fails += 1
            if assembly.first is not None:
                expired.append(assembly.first.to_bytes() + assembly.pieces[0])

    def clear(self) -> None:
        """Forget everything."""
        self._assemblies.clear()
        self._charged_by_source.clear()
        self._charged = 0

    def _contradicts(self, assembly: _Assembly, header: Ipv4Header, size: int) -> bool:
        """Whether the fragment overlaps another, or disagrees about where the datagram ends."""
        start = header.fragment_offset
        end = start + size
        if len(assembly.pieces) >= _MAX_FRAGMENTS:
            return True
        if assembly.end is not None and (end > assembly.end or not header.more_fragments):
            return True
        overlaps_end = not header.more_fragments
        return any(
            (offset < end and start < offset + len(piece)) or (overlaps_end and offset >= end)
            for offset, piece in assembly.pieces.items()
        )

    def _poison(self, assembly: _Assembly) -> None:
        # RFC 5722 section 4: "the entire datagram (and any constituent fragments, including those not yet received)
        # MUST be silently discarded".
        self._counters.ip_reasm_fails += 1
        self._charge(assembly, _OVERHEAD - assembly.charged)
        assembly.pieces.clear()
        assembly.first = None
        assembly.poisoned = True

    def _charge(self, assembly: _Assembly, amount: int) -> None:
        assembly.charged += amount
        self._charged += amount
        total = self._charged_by_source.get(assembly.source, 0) + amount
        if total:
            self._charged_by_source[assembly.source] = total
        else:
            self._charged_by_source.pop(assembly.source, None)

    def _remove(self, key: _Key) -> None:
        assembly = self._assemblies.pop(key)
        self._charge(assembly, -assembly.charged)

    def _make_room(self, newest: _Key) -> None:
        """Drop the oldest datagrams, of this source first, until the bounds hold."""
        source = newest[0]
        while self._charged_by_source.get(source, 0) > self._config.reassembly_bytes_per_source:
            self._give_up(next(key for key in self._assemblies if key[0] == source))
        while self._charged > self._config.reassembly_bytes:
            self._give_up(next(iter(self._assemblies)))

    def _give_up(self, key: _Key) -> None:
        if not self._assemblies[key].poisoned:
            self._counters.ip_reasm_fails += 1
        self._remove(key)

    def _assemble(self, first: Ipv4Header, assembly: _Assembly) -> tuple[Ipv4Header, bytes]:
        payload = b"".join(assembly.pieces[offset] for offset in sorted(assembly.pieces))
        self._counters.ip_reasm_oks += 1
        length = first.header_length + len(payload)
        if length > MAX_PACKET:
            raise RemoteProtocolError("IPv4 datagram beyond 65535 octets", layer="ip")
        return replace(first, total_length=length, more_fragments=False), payload


def fragment_packet(packet: bytes, mtu: int) -> list[bytes]:
    """Cut a packet of ours (no options, not marked "don't fragment") into pieces of at most ``mtu`` octets.

    ``mtu`` is at least 28, so that a piece holds something. A packet that fits comes back as it is.
    """
    if len(packet) <= mtu:
        return [packet]
    header = Ipv4Header.parse(packet, 0, len(packet))
    room = (mtu - HEADER_SIZE) & ~7
    fragments: list[bytes] = []
    for offset in range(0, len(packet) - HEADER_SIZE, room):
        payload = packet[HEADER_SIZE + offset : HEADER_SIZE + offset + room]
        piece = replace(
            header,
            total_length=HEADER_SIZE + len(payload),
            fragment_offset=offset,
            more_fragments=HEADER_SIZE + offset + len(payload) < len(packet),
        )
        fragments.append(piece.to_bytes() + payload)
    return fragments
