"""UDP (RFC 768, RFC 1122 section 4.1, RFC 8200 section 8.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..base.checksum import checksum, pseudo_header_sum
from ..errors import DialError, LocalProtocolError, RemoteProtocolError, SstpsocksError
from .address import LIMITED_BROADCAST, IPAddress, is_ipv6_group, require_reachable, require_source
from .flow import FlowHost
from .icmp import IcmpErrorKind
from .ip import PROTOCOL_UDP
from .memory import DATAGRAM_COST, ENDPOINT_COST

HEADER_SIZE = 8
MAX_PAYLOAD = 65535 - 20 - HEADER_SIZE
"""What fits a packet of IPv4; IPv6 would take 20 octets more."""
MAX_ERRORS = 64
"""ICMP errors about an unconnected endpoint's datagrams that wait for its owner; older ones are dropped."""
_URGENT_BYTES = 4096
"""An endpoint with no more than this to send (a DNS query, a game's update) passes bulk."""

Endpoint = tuple[IPAddress, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True)
class UdpDatagram:
    """Ports and payload; the checksum is verified by parse and computed by to_bytes."""

    source_port: int
    destination_port: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes, start: int, end: int, source: bytes, destination: bytes) -> UdpDatagram:
        """Read the datagram in ``data[start:end]`` that went between two packed addresses.

        Octets behind its own length are ignored. Raises RemoteProtocolError when lengths or checksum are wrong.
        """
        available = end - start
        if available < HEADER_SIZE:
            raise RemoteProtocolError(f"UDP datagram of {available} octets", layer="udp")
        length = int.from_bytes(data[start + 4 : start + 6], "big")
        if not HEADER_SIZE <= length <= available:
            raise RemoteProtocolError(f"UDP length {length}, {available} octets came", layer="udp")
        # RFC 768: "An all zero transmitted checksum value means that the transmitter generated no checksum".
        if data[start + 6] or data[start + 7]:
            initial = pseudo_header_sum(source, destination, PROTOCOL_UDP, length)
            if checksum(data, start, start + length, initial):
                raise RemoteProtocolError("UDP datagram with a wrong checksum", layer="udp")
        elif len(source) == 16:
            # RFC 8200 section 8.1: "IPv6 receivers must discard UDP packets containing a zero checksum".
            raise RemoteProtocolError("UDP datagram over IPv6 without a checksum", layer="udp")
        return cls(
            int.from_bytes(data[start : start + 2], "big"),
            int.from_bytes(data[start + 2 : start + 4], "big"),
            data[start + HEADER_SIZE : start + length],
        )

    def to_bytes(self, source: bytes, destination: bytes) -> bytes:
        """Return the datagram for a packet between two packed addresses."""
        length = HEADER_SIZE + len(self.payload)
        head = b"".join(
            (self.source_port.to_bytes(2, "big"), self.destination_port.to_bytes(2, "big"), length.to_bytes(2, "big"))
        )
        initial = pseudo_header_sum(source, destination, PROTOCOL_UDP, length) + int.from_bytes(head, "big")
        # RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        value = checksum(self.payload, 0, len(self.payload), initial) or 0xFFFF
        return b"".join((head, value.to_bytes(2, "big"), self.payload))


class UdpEndpoint:
    """A UDP port of ours, connected to one peer or open to all."""

    __slots__ = (
        "__weakref__", "_charged", "_host", "_incoming", "_incoming_bytes", "_outgoing", "_outgoing_bytes", "_sent_any",
        "allow_broadcast", "allow_multicast", "any_address", "closed", "dropped", "error", "errors", "local", "notify",
        "remote",
    )  # fmt: skip

    def __init__(
        self,
        host: FlowHost,
        local: Endpoint,
        remote: Endpoint | None,
        *,
        any_address: bool = False,
        allow_broadcast: bool = False,
        allow_multicast: bool = False,
    ) -> None:
        self._host = host
        self.local = local
        """Our address and port in the tunnel."""
        self.any_address = any_address
        """Whether it has the port on all our addresses, ``local`` naming but the first."""
        self.remote = remote
        """The only peer, None when it is not connected."""
        self.allow_broadcast = allow_broadcast
        """Whether it sends to, and receives for, 255.255.255.255."""
        self.allow_multicast = allow_multicast
        """Whether it sends to multicast groups of IPv6; answers come from the members' own addresses."""
        self.error: SstpsocksError | None = None
        """Of a connected endpoint: what ICMP last said, or why the tunnel ended. The reader may clear it."""
        self.errors: deque[tuple[DialError, Endpoint]] = deque(maxlen=MAX_ERRORS)
        """Of one that is not connected: what ICMP said, and about which peer. The reader takes them out."""
        self.closed = False
        self.dropped = 0
        """Datagrams received that found the queue full."""
        self.notify: Callable[[], None] | None = None
        self._incoming: deque[tuple[bytes, Endpoint]] = deque()
        self._incoming_bytes = 0
        self._outgoing: deque[tuple[bytes, Endpoint]] = deque()
        self._outgoing_bytes = 0
        self._sent_any = False
        self._charged = 0
        """What it is charged for in the stack's memory."""
        self._charge()

    def __repr__(self) -> str:
        remote = "any" if self.remote is None else f"{self.remote[0]}:{self.remote[1]}"
        state = "closed" if self.closed else "open"
        return f"<UdpEndpoint {self.local[0]}:{self.local[1]} to {remote}, {state}, {len(self._incoming)} waiting>"

    # For the program

    def send(self, payload: bytes) -> bool:
        """Queue one datagram to the connected peer; False when the queue is full and it was not taken.

        Raises LocalProtocolError when it is not connected, closed, or the payload larger than 65507 octets.
        """
        if self.remote is None:
            raise LocalProtocolError("send() on a UDP endpoint that is not connected", layer="udp")
        return self._queue(payload, self.remote)

    def send_to(self, payload: bytes, remote: Endpoint) -> bool:
        """Queue one datagram to an address and port, as send() does.

        Raises DeniedByRule for an address of no host, NetworkUnreachable when we have no address for it.
        """
        address = remote[0]
        if not (
            (self.allow_broadcast and address == LIMITED_BROADCAST) or (self.allow_multicast and is_ipv6_group(address))
        ):
            require_reachable(address, self._host.local_addresses)
        require_source(address, self._source_for(address))
        return self._queue(payload, remote)

    def receive(self) -> bytes | None:
        """Return the next payload, None when there is none."""
        received = self.receive_from()
        return None if received is None else received[0]

    def receive_from(self) -> tuple[bytes, Endpoint] | None:
        """Return the next payload and where it came from, None when there is none."""
        if not self._incoming:
            return None
        received = self._incoming.popleft()
        self._incoming_bytes -= len(received[0])
        self._charge()
        return received

    def close(self) -> None:
        """Free the port. Datagrams that still wait to be sent are sent; received ones are dropped."""
        if not self.closed:
            self.closed = True
            self._incoming.clear()
            self._incoming_bytes = 0
            self._host.forget(self)
            self._charge()

    # For the stack

    @property
    def has_urgent_output(self) -> bool:
        """Whether little waits to be sent."""
        return 0 < self._outgoing_bytes <= _URGENT_BYTES

    def has_output(self) -> bool:
        """Whether a datagram waits to be sent."""
        return bool(self._outgoing)

    def next_packets(self, now: float, max_bytes: int) -> list[bytes]:
        """Build the packets of the next datagrams."""
        packets: list[bytes] = []
        left = max_bytes
        while self._outgoing and left > 0:
            payload, (address, port) = self._outgoing.popleft()
            self._outgoing_bytes -= len(payload) + HEADER_SIZE
            own = self._source_for(address)
            if own is None:
                # We had an address for it when the datagram was queued.
                self._host.counters.ip_out_discards += 1
                continue
            datagram = UdpDatagram(self.local[1], port, payload).to_bytes(own.packed, address.packed)
            built = self._host.build_datagrams(own.packed, address.packed, PROTOCOL_UDP, datagram)
            self._host.counters.udp_out_datagrams += 1
            left -= sum(map(len, built))
            packets += built
        self._sent_any = self._sent_any or bool(packets)
        self._charge()
        return packets

    def receive_datagram(self, payload: bytes, source: Endpoint) -> None:
        """Queue what has arrived, or drop it when the queue is full or memory is short."""
        config = self._host.config
        waiting = len(self._incoming)
        size = self._incoming_bytes + len(payload)
        memory = self._host.memory
        if (
            waiting >= config.udp_receive_datagrams
            or size > config.udp_receive_bytes
            or (memory.short and size + (waiting + 1) * DATAGRAM_COST > memory.share)
        ):
            self.dropped += 1
            self._host.counters.udp_in_errors += 1
            return
        self._host.counters.udp_in_datagrams += 1
        self._incoming.append((payload, source))
        self._incoming_bytes = size
        self._charge()
        self._host.mark_dirty(self)

    def on_icmp_error(self, kind: IcmpErrorKind, remote: Endpoint) -> bool:
        """Take an ICMP error about a datagram to ``remote``; False when none was ever sent.

        RFC 1122 section 4.1.3.3: "UDP MUST pass to the application layer all ICMP error messages that it receives from
        the IP layer". "Fragmentation needed" cannot be about IPv4, where we allow fragmentation; a "packet too big" of
        IPv6 is the IP layer's business, which makes smaller fragments from then on.
        """
        if kind is IcmpErrorKind.FRAGMENTATION_NEEDED:
            return self._sent_any and (self.any_address or self.local[0].version == 6)
        if not self._sent_any:
            return False
        error: DialError = kind.to_error(f"{remote[0]} port {remote[1]} (UDP)")
        if self.remote is None:
            self.errors.append((error, remote))
        else:
            self.error = error
        self._host.mark_dirty(self)
        return True

    def fail(self, error: SstpsocksError) -> None:
        """End it: the tunnel is gone."""
        self.error = error
        self._outgoing.clear()
        self._outgoing_bytes = 0
        self.close()
        self._charge()
        self._host.mark_dirty(self)

    def handle_timer(self, now: float) -> None:
        """Nothing: UDP has no timers."""

    def _charge(self) -> None:
        """Tell the stack's memory what the endpoint holds: nothing when it is closed and all is sent."""
        waiting = len(self._incoming) + len(self._outgoing)
        held = self._incoming_bytes + self._outgoing_bytes + waiting * DATAGRAM_COST
        if not self.closed:
            held += ENDPOINT_COST
        if held != self._charged:
            memory = self._host.memory
            memory.flows += (held > 0) - (self._charged > 0)
            charged, self._charged = self._charged, held
            memory.charge(held - charged)

    def _source_for(self, address: IPAddress) -> IPAddress | None:
        if self.local[0].version == address.version:
            return self.local[0]
        return self._host.source_for(address) if self.any_address else None

    def _queue(self, payload: bytes, remote: Endpoint) -> bool:
        if self.closed:
            raise LocalProtocolError("send on a closed UDP endpoint", layer="udp")
        if len(payload) > MAX_PAYLOAD:
            raise LocalProtocolError(f"UDP payload of {len(payload)} octets, at most {MAX_PAYLOAD} fit", layer="udp")
        size = self._outgoing_bytes + len(payload) + HEADER_SIZE
        memory = self._host.memory
        if size > self._host.config.udp_send_bytes or (
            memory.short and size + (len(self._outgoing) + 1) * DATAGRAM_COST > memory.share
        ):
            self._host.counters.ip_out_discards += 1
            return False
        self._outgoing.append((payload, remote))
        self._outgoing_bytes = size
        self._charge()
        self._host.mark_output(self)
        return True
