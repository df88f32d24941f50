"""IPv6 of one stack: our addresses, what comes to them, and what leaves from them (RFC 8200, RFC 4291)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Protocol

from ..base.entropy import random_below
from ..errors import LocalProtocolError, RemoteProtocolError
from .address import is_unicast
from .echo import EchoRequests
from .fragment import Fragment, Reassembler
from .icmp6 import Icmp6Type, solicited_node
from .icmp6_layer import ALL_NODES, CODE_PORT_UNREACHABLE, CODE_REASSEMBLY_TIME_EXCEEDED, Icmp6Host, Icmp6Layer
from .ip import MAX_PACKET, PROTOCOL_TCP, PROTOCOL_UDP, TruncatedPacket
from .ip6 import (
    FRAGMENT_HEADER_SIZE,
    HEADER_SIZE,
    NO_NEXT_HEADER,
    PROTOCOL_ICMP6,
    Chain,
    FragmentHeader,
    Ipv6Header,
    ParameterProblem,
    build_packet,
    fragment_packet,
    join_fragments,
    read_chain,
)
from .source_address import OwnAddress, choose_source

_UNSPECIFIED = bytes(16)


class Ipv6Host(Icmp6Host, Protocol):
    """What IPv6 needs of the stack besides."""

    def receive_tcp(
        self, source: bytes, destination: bytes, data: bytes, start: int, end: int, now: float, /, *, marked: bool
    ) -> None:
        """Take a TCP segment between two packed addresses; ``marked``: it came with the ECN codepoint CE."""
        ...

    def receive_udp(self, source: bytes, destination: bytes, data: bytes, start: int, end: int, /) -> bool:
        """Take a UDP datagram between two packed addresses; False when there is no endpoint for it."""
        ...


class Ipv6Layer:
    """The IPv6 half of a stack. Without an address everything that comes is dropped."""

    __slots__ = ("_addresses", "_groups", "_host", "_reassembler", "icmp")

    def __init__(self, host: Ipv6Host, reassembler: Reassembler, echoes: EchoRequests) -> None:
        self._host = host
        self._reassembler = reassembler
        self.icmp = Icmp6Layer(host, echoes)
        self._addresses: dict[bytes, OwnAddress] = {}
        """By packed address."""
        self._groups: frozenset[bytes] = frozenset()
        """Multicast addresses that we listen to. No MLD report tells of them: the peer's end of a point-to-point link
        has nobody else to send to."""

    def __repr__(self) -> str:
        return f"<Ipv6Layer {', '.join(map(str, self.addresses)) or 'no address'}>"

    @property
    def addresses(self) -> tuple[IPv6Address, ...]:
        """Our addresses, in the order they were added."""
        return tuple(own.address for own in self._addresses.values())

    def add_address(self, own: OwnAddress) -> None:
        """Add an address, or change what is known about it. Raises LocalProtocolError for one no host can have."""
        if not is_unicast(own.address.packed) or not 0 <= own.prefix_length <= 128:
            raise LocalProtocolError(f"{own.address}/{own.prefix_length} is no host's address", layer="ip")
        self._addresses[own.address.packed] = own
        self._join_groups()

    def remove_address(self, address: IPv6Address) -> bool:
        """Forget an address; False when it was not ours."""
        known = self._addresses.pop(address.packed, None) is not None
        self._join_groups()
        return known

    def source_for(self, destination: IPv6Address) -> IPv6Address | None:
        """Return which of our addresses a packet leaves from (RFC 6724), None when none will do."""
        return choose_source(self._addresses.values(), destination)

    def build(self, source: bytes, destination: bytes, protocol: int, payload: bytes, mtu: int) -> list[bytes]:
        """Return a packet between two packed addresses, or its fragments when it is larger than ``mtu``."""
        packet = build_packet(source, destination, protocol, payload)
        if len(packet) <= mtu:
            return [packet]
        # RFC 7739 section 5.3: a random identification, since a predictable one lets others collide with it.
        return fragment_packet(packet, mtu, random_below(self._host.entropy, 1 << 32))

    def receive(self, data: bytes, start: int, end: int, now: float) -> None:
        """Take one packet."""
        counters = self._host.counters
        try:
            header = Ipv6Header.parse(data, start, end)
        except TruncatedPacket:
            counters.ip_in_truncated_pkts += 1
            return
        except RemoteProtocolError:
            counters.ip_in_hdr_errors += 1
            return
        if not self._accepts(header):
            counters.ip_in_addr_errors += 1
            return
        end = start + HEADER_SIZE + header.payload_length
        chain = self._read_chain(header, data, start, end, now, reassembled=False)
        if chain is None:
            return
        if chain.fragment is None:
            self._deliver(header, chain, data, start, end, now)
        elif header.is_multicast:
            # Whatever a group of ours is sent fits a packet (RFC 6980 forbids the rest).
            counters.ip_in_discards += 1
        else:
            self._receive_fragment(header, chain.fragment, data, start, chain.position, end, now)

    def reassembly_timed_out(self, first: bytes, now: float) -> None:
        """Tell the sender of an incomplete packet; ``first`` is the fragment at its beginning."""
        header = Ipv6Header.parse(first, 0, len(first))
        self.icmp.send_error(Icmp6Type.TIME_EXCEEDED, CODE_REASSEMBLY_TIME_EXCEEDED, 0, header, first, now)

    def _join_groups(self) -> None:
        # RFC 4291 section 2.8: all nodes, and the solicited-node address of each of ours.
        groups = {solicited_node(address) for address in self._addresses}
        self._groups = frozenset(groups | {ALL_NODES}) if groups else frozenset()

    def _accepts(self, header: Ipv6Header) -> bool:
        """Whether the packet came to us, from an address somebody may send from."""
        if header.destination not in self._addresses and header.destination not in self._groups:
            return False
        if header.source in self._addresses:
            return False
        # From the unspecified address only Neighbor Solicitations come; ICMPv6 sees to that.
        return is_unicast(header.source) or header.source == _UNSPECIFIED

    def _read_chain(
        self, header: Ipv6Header, data: bytes, start: int, end: int, now: float, *, reassembled: bool
    ) -> Chain | None:
        try:
            return read_chain(data, start, end, header, reassembled=reassembled)
        except ParameterProblem as problem:
            self.icmp.send_problem(problem, header, data[start:end], now)
        except RemoteProtocolError:
            pass
        self._host.counters.ip_in_hdr_errors += 1
        return None

    def _receive_fragment(
        self, header: Ipv6Header, fragment: FragmentHeader, data: bytes, start: int, payload: int, end: int, now: float
    ) -> None:
        whole = self._reassembler.receive(
            Fragment(
                (header.source, header.destination, 0, fragment.identification),
                fragment.offset,
                fragment.more,
                data[start:payload],
                data[payload:end],
                header.traffic_class & 3,
            ),
            now,
        )
        if whole is None:
            return
        if len(whole.head) - HEADER_SIZE - FRAGMENT_HEADER_SIZE + len(whole.payload) > MAX_PACKET:
            # The first fragment has longer headers than the one that was judged.
            self._host.counters.ip_in_hdr_errors += 1
            return
        packet = join_fragments(whole.head, whole.payload, marked=whole.marked)
        header = Ipv6Header.parse(packet, 0, len(packet))
        chain = self._read_chain(header, packet, 0, len(packet), now, reassembled=True)
        if chain is not None:
            self._deliver(header, chain, packet, 0, len(packet), now)

    def _deliver(self, header: Ipv6Header, chain: Chain, data: bytes, start: int, end: int, now: float) -> None:
        host = self._host
        counters = host.counters
        position = chain.position
        if chain.protocol == PROTOCOL_ICMP6:
            counters.ip_in_delivers += 1
            self.icmp.receive(header, data, position, end, now)
        elif header.is_multicast or header.source == _UNSPECIFIED:
            # RFC 9293 section 3.9.2.3 for TCP; no program of ours listens to a group by UDP.
            counters.ip_in_addr_errors += 1
        elif chain.protocol == PROTOCOL_TCP:
            counters.ip_in_delivers += 1
            host.receive_tcp(header.source, header.destination, data, position, end, now, marked=header.marked)
        elif chain.protocol == PROTOCOL_UDP:
            counters.ip_in_delivers += 1
            if not host.receive_udp(header.source, header.destination, data, position, end):
                kind, code = Icmp6Type.DESTINATION_UNREACHABLE, CODE_PORT_UNREACHABLE
                self.icmp.send_error(kind, code, 0, header, data[start:end], now)
        elif chain.protocol == NO_NEXT_HEADER:
            # RFC 8200 section 4.7: "those octets must be ignored".
            counters.ip_in_delivers += 1
        else:
            counters.ip_in_unknown_protos += 1
            problem = ParameterProblem(ParameterProblem.UNRECOGNIZED_NEXT_HEADER, chain.named_at)
            self.icmp.send_problem(problem, header, data[start:end], now)
