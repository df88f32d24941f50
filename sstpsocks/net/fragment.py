"""Fragments (RFC 791 section 3.2, RFC 815; RFC 8200 section 4.5): putting received ones together, and cutting IPv4's.

Theory of operation. A datagram under assembly keeps its fragments by offset until their lengths add up to the end that
the last fragment gave; since overlaps are not allowed, nothing else needs to be looked at. The rule about overlaps is
IPv6's (RFC 5722), which is safe for IPv4 too (RFC 1858, RFC 3128 show what attackers do with the old one). Memory is
bounded altogether and per source, both IP versions together, and the oldest datagram makes room.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import RemoteProtocolError
from .config import StackConfig
from .counters import NetCounters
from .ip import CONGESTION_EXPERIENCED, HEADER_SIZE, MAX_PACKET, Ipv4Header

_OVERHEAD = 128
"""Octets that a fragment is charged on top of its payload, about what Python's objects take."""
_MAX_FRAGMENTS = 256
"""Of one datagram; 65535 octets over the smallest MTU that is in use, 576, are 119."""

_Key = tuple[bytes, bytes, int, int]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment of either IP version."""

    key: _Key
    """Which datagram it is part of. RFC 791: "source, destination, protocol, and identification"; with IPv6 the
    protocol does not count (RFC 8200 section 4.5) and is 0 here."""
    offset: int
    """Where the payload lies in that of the datagram, in octets."""
    more: bool
    """Whether this is not the last one."""
    head: bytes
    """What came before the payload: the headers. Those of the first fragment become the datagram's."""
    payload: bytes
    ecn: int
    """The ECN codepoint (RFC 3168 section 5)."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram put together from its fragments."""

    head: bytes
    """That of the first fragment."""
    payload: bytes
    marked: bool
    """A fragment had the ECN codepoint CE, so the datagram has."""


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
    first: bytes | None = None
    """Head of the fragment at offset 0."""
    codepoints: int = 0
    """The ECN codepoints seen, as a set of bits."""
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

    def receive(self, fragment: Fragment, now: float) -> Datagram | None:
        """Take one fragment that is sound by itself; return the datagram when it was the last that was missing."""
        self._counters.ip_reasm_reqds += 1
        key, offset, payload = fragment.key, fragment.offset, fragment.payload
        size = len(payload)
        assembly = self._assemblies.get(key)
        if assembly is None:
            assembly = _Assembly(key[0], now + self._config.reassembly_timeout)
            self._assemblies[key] = assembly
            self._charge(assembly, _OVERHEAD)
        if assembly.poisoned or assembly.pieces.get(offset) == payload:
            # An exact duplicate is the network's doing, not an overlap: RFC 8200 section 4.5 allows to ignore it.
            return None
        if self._contradicts(assembly, offset, offset + size, more=fragment.more):
            self._poison(assembly)
            return None
        assembly.pieces[offset] = payload
        assembly.received += size
        assembly.codepoints |= 1 << fragment.ecn
        if not fragment.more:
            assembly.end = offset + size
        if offset == 0:
            assembly.first = fragment.head
        self._charge(assembly, size + _OVERHEAD)
        if assembly.received == assembly.end and assembly.first is not None:
            self._remove(key)
            marked = assembly.codepoints >> CONGESTION_EXPERIENCED & 1 > 0
            if marked and assembly.codepoints & 1:
                # RFC 3168 section 5.3: CE MUST NOT be lost, and "MUST NOT" be set "if any of the other fragments
                # contributing to this reassembly carries the Not-ECT codepoint": what remains is to drop the packet.
                self._counters.ip_reasm_fails += 1
                return None
            self._counters.ip_reasm_oks += 1
            payload = b"".join(assembly.pieces[offset] for offset in sorted(assembly.pieces))
            return Datagram(assembly.first, payload, marked)
        self._make_room(key)
        return None

    def poll_at(self) -> float | None:
        """Return when the oldest datagram times out."""
        for assembly in self._assemblies.values():
            return assembly.deadline
        return None

    def handle_timer(self, now: float) -> list[bytes]:
        """Give up what has waited too long.

        Returns the first fragments that had arrived, whole packets of either version, for ICMP errors. RFC 1122 section
        3.3.2: "the partially-reassembled datagram MUST be discarded and an ICMP Time Exceeded message sent to the
        source host (if fragment zero has been received)"; RFC 8200 section 4.5 says the same of IPv6.
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
                expired.append(assembly.first + assembly.pieces[0])

    def clear(self) -> None:
        """Forget everything."""
        self._assemblies.clear()
        self._charged_by_source.clear()
        self._charged = 0

    def _contradicts(self, assembly: _Assembly, start: int, end: int, *, more: bool) -> bool:
        """Whether the fragment overlaps another, or disagrees about where the datagram ends."""
        if len(assembly.pieces) >= _MAX_FRAGMENTS:
            return True
        if assembly.end is not None and (end > assembly.end or not more):
            return True
        return any(
            (offset < end and start < offset + len(piece)) or (not more and offset >= end)
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


def reassemble_ipv4(
    reassembler: Reassembler, header: Ipv4Header, payload: bytes, now: float
) -> tuple[Ipv4Header, bytes] | None:
    """Take one IPv4 fragment; return header and payload of the whole datagram when it was the last that was missing.

    Raises RemoteProtocolError for a fragment that cannot be part of any datagram.
    """
    size = len(payload)
    if size == 0 or (header.more_fragments and size % 8):
        raise RemoteProtocolError(f"IPv4 fragment of {size} octets", layer="ip")
    if header.header_length + header.fragment_offset + size > MAX_PACKET:
        raise RemoteProtocolError("IPv4 fragment beyond 65535 octets", layer="ip")
    key = (header.source, header.destination, header.protocol, header.identification)
    whole = reassembler.receive(
        Fragment(
            key, header.fragment_offset, header.more_fragments, header.to_bytes(), payload, header.traffic_class & 3
        ),
        now,
    )
    if whole is None:
        return None
    datagram = whole.head + whole.payload
    length = len(datagram)
    if length > MAX_PACKET:
        raise RemoteProtocolError("IPv4 datagram beyond 65535 octets", layer="ip")
    first = Ipv4Header.parse(datagram, 0, length)
    traffic_class = first.traffic_class | (CONGESTION_EXPERIENCED if whole.marked else 0)
    return replace(first, total_length=length, more_fragments=False, traffic_class=traffic_class), whole.payload


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
