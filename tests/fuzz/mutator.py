"""Makes bad packets of good ones: what a broken or hostile host behind the tunnel could send to live connections.

Most mutations keep the checksums right, because a wrong one ends a packet before it gets anywhere.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

from sstpsocks.base.checksum import checksum, pseudo_header_sum

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
TRANSPORTS = (TCP, UDP, ICMP, ICMP6)
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2}
INTERESTING = (0, 1, 2, 7, 8, 20, 40, 60, 127, 128, 255, 256, 536, 1280, 1400, 32767, 32768, 65535)
DISTANCES = (0, 1, -1, 2, 100, -100, 1340, -1340, 65535, -65535, 1 << 20, -(1 << 20), 1 << 30, 1 << 31, -(1 << 30))
FLAGS = (0x10, 0x18, 0x11, 0x02, 0x12, 0x04, 0x14, 0x01, 0x29, 0x00, 0x3F, 0xFF, 0x30, 0xC2, 0x50, 0x90)
EXTENSIONS = (0, 43, 44, 50, 51, 59, 60, 135)
ICMP_TYPES = (0, 3, 4, 5, 8, 11, 12, 13, 17)
ICMP6_TYPES = (1, 2, 3, 4, 128, 129, 130, 133, 134, 135, 136, 137, 200)


def transport_of(packet: bytes | bytearray) -> tuple[int, int]:
    """Return the protocol and where its header begins; protocol -1 when there is none to be found."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        start = (packet[0] & 15) * 4
        return (packet[9], start) if 20 <= start < len(packet) else (-1, 0)
    if len(packet) > 40 and packet[0] >> 4 == 6:
        protocol, start = packet[6], 40
        while protocol in (0, 43, 60) and start + 8 < len(packet):
            protocol, start = packet[start], start + 8 + packet[start + 1] * 8
        return (protocol, start) if start < len(packet) else (-1, 0)
    return -1, 0


def repair(packet: bytearray) -> None:
    """Make the checksums right, as far as there are headers to be found."""
    version = packet[0] >> 4 if packet else 0
    protocol, start = transport_of(packet)
    if version == 4 and len(packet) >= 20:
        header = (packet[0] & 15) * 4
        if 20 <= header <= len(packet):
            packet[10:12] = b"\0\0"
            struct.pack_into(">H", packet, 10, checksum(packet, 0, header))
        if (packet[6] & 0x3F) or packet[7]:
            return  # a fragment: the sum is over the whole datagram
        end = min(len(packet), packet[2] << 8 | packet[3])
        source, destination = bytes(packet[12:16]), bytes(packet[16:20])
    elif version == 6 and len(packet) > 40:
        end = min(len(packet), 40 + (packet[4] << 8 | packet[5]))
        source, destination = bytes(packet[8:24]), bytes(packet[24:40])
    else:
        return
    at = CHECKSUM_AT.get(protocol)
    if at is None or start + at + 2 > end:
        return
    packet[start + at : start + at + 2] = b"\0\0"
    initial = 0 if protocol == ICMP else pseudo_header_sum(source, destination, protocol, end - start)
    struct.pack_into(">H", packet, start + at, checksum(packet, start, end, initial) or 0xFFFF)


def set_length(packet: bytearray) -> None:
    """Have the IP header say how long the packet is."""
    if packet[0] >> 4 == 4 and len(packet) >= 20:
        struct.pack_into(">H", packet, 2, len(packet) & 0xFFFF)
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        struct.pack_into(">H", packet, 4, len(packet) - 40 & 0xFFFF)


class Mutator:
    """Makes one to a few packets of a packet; ``sent`` gives packets of the host under test, to quote in errors."""

    def __init__(self, chance: random.Random, sent: Sequence[bytes]) -> None:
        self._random = chance.random
        self._sent = sent
        self._plans: dict[int, tuple[Callable[[bytearray], None], ...]] = {
            TCP: (self._numbers, self._numbers, self._numbers, self._tcp_flags, self._window, self._options,
                  self._options, self._resize, self._ports, self._ip_header, self._bits, self._extend_headers),
            UDP: (self._ports, self._udp_length, self._resize, self._ip_header, self._bits, self._extend_headers),
            ICMP: (self._icmp, self._resize, self._ip_header, self._bits),
            ICMP6: (self._icmp6, self._resize, self._ip_header, self._bits, self._extend_headers),
        }  # fmt: skip
        self._others = (self._ip_header, self._bits, self._resize)

    def below(self, bound: int) -> int:
        """Return an integer in [0, bound)."""
        return int(self._random() * bound)

    def mutate(self, packet: bytes) -> list[bytes]:
        """Return what is to arrive in place of the packet."""
        way = self._random()
        if way < 0.03:
            return [packet]  # once more
        if way < 0.09:
            packet = self._error_about()
        changed = bytearray(packet)
        protocol, _ = transport_of(changed)
        plans = self._plans.get(protocol, self._others)
        for _ in range(1 if way < 0.7 else 2 + self.below(3)):
            plans[self.below(len(plans))](changed)
        if self._random() < 0.95:
            repair(changed)
        else:
            self._bits(changed)
        way = self._random()
        if way < 0.03:
            return [bytes(changed[: self.below(len(changed) + 1)])]
        if way < 0.06:
            return self._fragments(changed)
        if way < 0.065:
            return [bytes(self.below(256) for _ in range(self.below(80)))]
        return [bytes(changed)]

    def _choice(self, values: Sequence[int]) -> int:
        return values[int(self._random() * len(values))]

    # TCP

    def _numbers(self, packet: bytearray) -> None:
        """Move the sequence number or the acknowledgement."""
        protocol, start = transport_of(packet)
        if protocol != TCP or start + 12 > len(packet):
            return
        at = start + (4 if self._random() < 0.5 else 8)
        distance = self._choice(DISTANCES) if self._random() < 0.6 else self.below(1 << 17) - (1 << 16)
        value = struct.unpack_from(">I", packet, at)[0] + distance
        struct.pack_into(">I", packet, at, value & 0xFFFFFFFF)

    def _tcp_flags(self, packet: bytearray) -> None:
        protocol, start = transport_of(packet)
        if protocol == TCP and start + 14 <= len(packet):
            packet[start + 13] = self._choice(FLAGS)
            if self._random() < 0.1:
                packet[start + 12] = self.below(256)

    def _window(self, packet: bytearray) -> None:
        protocol, start = transport_of(packet)
        if protocol == TCP and start + 20 <= len(packet):
            window = self._choice((0, 0, 1, 100, 1024, 65535)) if self._random() < 0.8 else self.below(65536)
            struct.pack_into(">H", packet, start + 14, window)
            struct.pack_into(">H", packet, start + 18, self.below(2) * self.below(65536))  # urgent pointer

    def _options(self, packet: bytearray) -> None:
        """Other options, well formed or not, with numbers near those of the connection."""
        protocol, start = transport_of(packet)
        if protocol != TCP or start + 20 > len(packet):
            return
        header = (packet[start + 12] >> 4) * 4
        acknowledged = struct.unpack_from(">I", packet, start + 8)[0]
        options = bytearray()
        for _ in range(1 + self.below(3)):
            options += self._option(acknowledged, bytes(packet[start + 20 : start + header]))
        del options[40:]
        options += bytes(-len(options) % 4)
        packet[start + 20 : max(start + header, start + 20)] = options
        packet[start + 12] = (20 + len(options)) << 2
        set_length(packet)

    def _option(self, acknowledged: int, old: bytes) -> bytes:
        kind = self.below(9)
        if kind == 0:
            return struct.pack(">BBH", 2, 4, self._choice(INTERESTING))
        if kind == 1:
            return bytes((3, 3, self.below(20)))
        if kind == 2:
            return bytes((4, 2))
        if kind < 6:
            edges = [
                (acknowledged + self._choice(DISTANCES) + self.below(5000) - 1000) & 0xFFFFFFFF
                for _ in range(2 * (1 + self.below(4)))
            ]
            return struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
        if kind == 6 and len(old) >= 12:
            value = (int.from_bytes(old[4:8], "big") + self._choice(DISTANCES)) & 0xFFFFFFFF
            return old[:4] + value.to_bytes(4, "big") + old[8:12]
        if kind == 7:
            return old
        return bytes((self.below(256), self.below(12), self.below(256), self.below(256)))

    # UDP, ICMP

    def _ports(self, packet: bytearray) -> None:
        protocol, start = transport_of(packet)
        if protocol in (TCP, UDP) and start + 4 <= len(packet):
            at = start + 2 * self.below(2)
            port = self._choice((0, 53, 80, 81, 8080, 5353, 65535)) if self._random() < 0.5 else self.below(65536)
            struct.pack_into(">H", packet, at, port)

    def _udp_length(self, packet: bytearray) -> None:
        protocol, start = transport_of(packet)
        if protocol == UDP and start + 6 <= len(packet):
            struct.pack_into(">H", packet, start + 4, self._choice(INTERESTING))

    def _icmp(self, packet: bytearray) -> None:
        self._message(packet, ICMP, ICMP_TYPES)

    def _icmp6(self, packet: bytearray) -> None:
        self._message(packet, ICMP6, ICMP6_TYPES)

    def _message(self, packet: bytearray, protocol: int, kinds: Sequence[int]) -> None:
        found, start = transport_of(packet)
        if found != protocol or start + 8 > len(packet):
            return
        what = self.below(4)
        if what == 0:
            packet[start] = self._choice(kinds)
        elif what == 1:
            packet[start + 1] = self.below(16)
        elif what == 2:
            struct.pack_into(">I", packet, start + 4, self._choice(INTERESTING))
        elif len(packet) > start + 8:
            packet[start + 8 + self.below(len(packet) - start - 8)] = self.below(256)

    def _error_about(self) -> bytes:
        """An ICMP error about something that was really sent."""
        quoted = self._sent[self.below(len(self._sent))]
        quoted = quoted[: self._choice((28, 48, 60, 88, 576, 1200))]
        mtu = self._choice((0, 68, 296, 576, 1000, 1279, 1280, 1399, 1400, 65535))
        if quoted[0] >> 4 == 6:
            body = struct.pack(">BBHI", self._choice((1, 2, 2, 3, 4)), self.below(7), 0, mtu) + quoted
            head = struct.pack(">IHBB", 6 << 28, len(body), ICMP6, 64) + quoted[24:40] + quoted[8:24]
        else:
            body = struct.pack(
                ">BBHI", self._choice((3, 3, 3, 4, 11, 12)), self._choice((0, 1, 2, 3, 4, 4, 13)), 0, mtu
            )
            body += quoted
            head = struct.pack(">HHIBBH", 0x4500, 20 + len(body), 0, 64, ICMP, 0) + quoted[16:20] + quoted[12:16]
        packet = bytearray(head + body)
        repair(packet)
        return bytes(packet)

    # IP

    def _ip_header(self, packet: bytearray) -> None:
        if len(packet) < 20:
            return
        what = self.below(6)
        if what == 0:
            at = 2 if packet[0] >> 4 == 4 else 4
            value = (packet[at] << 8 | packet[at + 1]) + self.below(41) - 20
            struct.pack_into(">H", packet, at, value & 0xFFFF)
        elif what == 1:
            packet[0] = self._choice((0x40, 0x44, 0x45, 0x46, 0x4F, 0x60, 0x6F, 0x00))
        elif what == 2:
            packet[9 if packet[0] >> 4 == 4 else 6] = self.below(256)
        elif what == 3 and packet[0] >> 4 == 4:
            struct.pack_into(">H", packet, 6, self.below(65536) if self._random() < 0.5 else self.below(4) << 13)
        elif what == 4:
            packet[12 + self.below(8) if packet[0] >> 4 == 4 else 8 + self.below(min(len(packet), 40) - 8)] = (
                self.below(256)
            )
        else:
            packet[1 + self.below(19)] = self.below(256)

    def _extend_headers(self, packet: bytearray) -> None:
        """IPv4 options, or an extension header of IPv6."""
        if len(packet) < 40:
            return
        if packet[0] >> 4 == 4:
            options = bytes(self._choice((0, 1, 7, 68, 131, 130, 4, 255)) for _ in range(4 * (1 + self.below(10))))
            if packet[0] == 0x45:
                packet[20:20] = options
                packet[0] = 0x45 + len(options) // 4
        else:
            extension = bytearray((packet[6], 0, 1, 4, 0, 0, 0, 0))
            if self._random() < 0.5:
                extension[1 + self.below(7)] = self.below(256)
            packet[6] = self._choice(EXTENSIONS)
            packet[40:40] = extension
        set_length(packet)

    def _fragments(self, packet: bytearray) -> list[bytes]:
        """The packet in pieces, in any order; now and then one overlaps, is missing or comes twice."""
        if len(packet) < 48:
            return [bytes(packet)]
        six = packet[0] >> 4 == 6
        header = 40 if six else 20
        payload = packet[header:]
        size = 8 * (1 + self.below(max(len(payload) // 16, 1)))
        if len(payload) // size > 64:
            size = (len(payload) // 64 + 7) // 8 * 8
        identification = self.below(64)
        pieces = []
        for offset in range(0, len(payload), size):
            piece = payload[offset : offset + size + (8 if self._random() < 0.05 else 0)]
            more = offset + size < len(payload)
            if six:
                fragment = bytearray(packet[:40])
                fragment[6] = 44
                fragment += struct.pack(">BBHI", packet[6], 0, offset | more, identification) + piece
            else:
                fragment = bytearray(packet[:20])
                fragment[0] = 0x45
                struct.pack_into(">HH", fragment, 4, identification, more << 13 | offset // 8)
                fragment += piece
            set_length(fragment)
            repair(fragment)
            pieces.append(bytes(fragment))
        if self._random() < 0.5:
            pieces.reverse()
        if self._random() < 0.2:
            del pieces[self.below(len(pieces))]
        if pieces and self._random() < 0.1:
            pieces.append(pieces[0])
        return pieces

    # Anything

    def _bits(self, packet: bytearray) -> None:
        for _ in range(1 + self.below(3)):
            if packet:
                packet[self.below(min(len(packet), 100))] ^= 1 << self.below(8)

    def _resize(self, packet: bytearray) -> None:
        if self._random() < 0.5:
            del packet[max(len(packet) - self.below(60), 1) :]
        elif len(packet) < 1500:
            packet += bytes(self._choice(INTERESTING[:14]))
        set_length(packet)
