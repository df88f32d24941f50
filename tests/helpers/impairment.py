"""What a bad network does to the packets of one direction. Seeded; knows no clock, so it serves real and virtual time.

The stage is told when a packet enters and answers when it comes out, how often and with which octets. Whoever calls it
keeps the packets until then: a simulation in a heap of its own (netsim.py), the bridge to a kernel in real time
(tests/differential).
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

ECT_1, ECT_0, CE = 1, 2, 3
"""Codepoints of the ECN field (RFC 3168 section 5); 0 is Not-ECT."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """One direction of the network: seconds, octets, probabilities."""

    delay: float = 0.01
    jitter: float = 0.0
    """Up to this much more; packets keep their order but for ``reorder``."""
    rate: float = 0.0
    """Octets per second, 0 for no limit."""
    queue: int = 1000
    """Packets that wait for the rate; more are dropped."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Probability of an extra delay of up to ``reorder_delay``, by which others pass."""
    reorder_delay: float = 0.02
    mark: float = 0.0
    """Probability that an ECN-capable packet is marked as having met congestion."""
    mark_above: int = 0
    """ECN-capable packets that find more than these waiting for the rate are marked; 0 for none."""
    corrupt: float = 0.0
    """Probability that one bit is flipped, anywhere in the packet."""
    mtu_blackhole: int = 0
    """Larger packets vanish, without an ICMP error; 0 for none."""
    burst: range = range(0)
    """Data packets that vanish, counted from 0: a burst of losses. Packets of up to 100 octets do not count."""


class Impairment:
    """One direction. ``path`` may be replaced while packets are under way."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self.dice = dice
        self.carried = 0
        """Packets that came through, duplicates not counted."""
        self.dropped = 0
        self.corrupted = 0
        self.marked = 0
        """Packets that were marked CE here."""
        self.overtaken = 0
        """Packets held back so that others pass."""
        self._data_packets = 0
        self._busy_until = 0.0
        self._last_arrival = 0.0
        self._departures: deque[float] = deque()

    def __repr__(self) -> str:
        return (
            f"<Impairment carried {self.carried} dropped {self.dropped} corrupted {self.corrupted}"
            f" marked {self.marked} overtaken {self.overtaken}, {self.path}>"
        )

    def carry(self, packet: bytes, now: float) -> list[tuple[float, bytes]]:
        """Return when a packet sent now arrives and as what: never, once or twice."""
        path, dice = self.path, self.dice
        if self._vanishes(packet):
            self.dropped += 1
            return []
        if path.rate:
            departures = self._departures
            while departures and departures[0] <= now:
                departures.popleft()
            if len(departures) >= path.queue:
                self.dropped += 1
                return []
            if path.mark_above and len(departures) > path.mark_above:
                packet = self._mark(packet)
            self._busy_until = max(self._busy_until, now) + len(packet) / path.rate
            departures.append(self._busy_until)
            now = self._busy_until
        if dice.random() < path.loss:
            self.dropped += 1
            return []
        if path.mark and dice.random() < path.mark:
            packet = self._mark(packet)
        self.carried += 1
        arrivals = []
        for _ in range(2 if dice.random() < path.duplicate else 1):
            time = now + path.delay + dice.random() * path.jitter
            if dice.random() < path.reorder:
                self.overtaken += 1
                time += dice.random() * path.reorder_delay
            else:
                time = self._last_arrival = max(time, self._last_arrival)
            damaged = path.corrupt and dice.random() < path.corrupt
            self.corrupted += bool(damaged)
            arrivals.append((time, flip_bit(packet, dice.randrange(len(packet) * 8)) if damaged else packet))
        return arrivals

    def _mark(self, packet: bytes) -> bytes:
        """RFC 3168 section 5: CE takes the place of ECT(0) and ECT(1); what is not ECN-capable is left alone."""
        if ecn_codepoint(packet) not in (ECT_0, ECT_1):
            return packet
        self.marked += 1
        return with_ecn_codepoint(packet, CE)

    def _vanishes(self, packet: bytes) -> bool:
        path = self.path
        if path.mtu_blackhole and len(packet) > path.mtu_blackhole:
            return True
        if path.burst and len(packet) > 100:
            self._data_packets += 1
            return self._data_packets - 1 in path.burst
        return False


def ecn_codepoint(packet: bytes) -> int:
    """Return the ECN field of an IP packet of either version."""
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def with_ecn_codepoint(packet: bytes, codepoint: int) -> bytes:
    """Return the packet with another ECN field, its header checksum right again if it was."""
    octets = bytearray(packet)
    if packet[0] >> 4 == 6:
        octets[1] = octets[1] & 0xCF | codepoint << 4
        return bytes(octets)
    octets[1] = octets[1] & 0xFC | codepoint
    # RFC 1624: HC' = ~(~HC + ~m + m')
    value = (~int.from_bytes(packet[10:12], "big") & 0xFFFF) + (~packet[1] & 0xFFFF) + octets[1]
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    octets[10:12] = (~value & 0xFFFF).to_bytes(2, "big")
    return bytes(octets)


def flip_bit(packet: bytes, bit: int) -> bytes:
    """Return the packet with one bit inverted."""
    octets = bytearray(packet)
    octets[bit // 8] ^= 1 << bit % 8
    return bytes(octets)
