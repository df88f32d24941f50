"""The IPv6 configuration of a host in the tunnel, from all its sources: one machine that owns the others.

An advertisement's prefixes make addresses (slaac.py), its flags say whether DHCPv6 is asked (dhcpv6.py), and both give
name servers. The owner is told of the whole result whenever it has changed, and brings the stack in line with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from ...base.entropy import Entropy
from .dhcpv6 import Dhcpv6Client
from .lifetimes import earliest
from .router import RouterDiscovery
from .slaac import AddressAutoconfiguration, link_local_address


@dataclass(frozen=True, slots=True)
class HostAddress:
    """One of our addresses."""

    address: IPv6Address
    preferred: bool
    """False: deprecated. What uses it goes on, nothing new should (RFC 4862 section 5.5.4)."""


@dataclass(frozen=True, slots=True)
class Ipv6Configured:
    """All that holds now; replaces what came before."""

    addresses: tuple[HostAddress, ...]
    """Global addresses (unique local ones among them); the link-local address is not listed."""
    dns_servers: tuple[IPv6Address, ...]
    search_domains: tuple[str, ...]
    mtu: int
    """The largest IPv6 packet to send, in octets."""


class Ipv6Configuration:
    """Finds addresses and name servers after IPV6CP has opened; asks quietly, and never in vain for ever."""

    def __init__(self, identifier: bytes, *, duid: bytes, entropy: Entropy, link_mtu: int) -> None:
        """``identifier``: our interface identifier by IPV6CP. ``duid``: by which DHCPv6 knows us."""
        self.link_local = link_local_address(identifier)
        """Our link-local address, from which everything is sent."""
        self._router = RouterDiscovery(entropy, link_mtu=link_mtu)
        self._slaac = AddressAutoconfiguration(identifier)
        self._dhcp = Dhcpv6Client(duid, entropy)
        self._told = self._snapshot()

    def __repr__(self) -> str:
        return f"<Ipv6Configuration {self.link_local} {self._router!r} {self._slaac!r} {self._dhcp!r}>"

    def start(self, now: float) -> None:
        """Begin to look for a router."""
        self._router.start(now)

    def receive_advertisement(self, source: IPv6Address, hop_limit: int, message: bytes, now: float) -> None:
        """Take a Router Advertisement whose checksum is right. Raises RemoteProtocolError for one to be discarded."""
        self._router.receive_packet(source, hop_limit, message, now)
        while (event := self._router.next_event()) is not None:
            for information in event.advertisement.prefixes:
                self._slaac.receive_prefix(information, now)
            # RFC 4861 section 4.2: "If the M flag is set, the O flag is redundant".
            if event.advertisement.managed or event.advertisement.other:
                self._dhcp.start(now, stateful=event.advertisement.managed)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take a DHCPv6 datagram that came to CLIENT_PORT. Raises RemoteProtocolError for one to be discarded."""
        self._dhcp.receive_datagram(data, now)

    def next_event(self) -> Ipv6Configured | None:
        """Return what holds now when it is something else than was told last, otherwise None."""
        snapshot = self._snapshot()
        if snapshot == self._told:
            return None
        self._told = snapshot
        return snapshot

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return ICMPv6 messages, without checksum, to send from link_local to router.ALL_ROUTERS, hop limit 255."""
        return self._router.packets_to_send(now)

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """Return payloads to send from dhcpv6.CLIENT_PORT to dhcpv6.ALL_DHCP_SERVERS, SERVER_PORT."""
        return self._dhcp.datagrams_to_send(now)

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        return earliest((self._router.poll_at(), self._slaac.poll_at(), self._dhcp.poll_at()))

    def handle_timer(self, now: float) -> None:
        """Let what is due happen."""
        self._router.handle_timer(now)
        self._slaac.handle_timer(now)
        self._dhcp.handle_timer(now)

    def _snapshot(self) -> Ipv6Configured:
        found = dict(self._dhcp.addresses) | dict(self._slaac.addresses)
        return Ipv6Configured(
            addresses=tuple(HostAddress(address, preferred) for address, preferred in found.items()),
            dns_servers=tuple(dict.fromkeys((*self._router.servers, *self._dhcp.dns_servers))),
            search_domains=tuple(dict.fromkeys((*self._router.domains, *self._dhcp.domains))),
            mtu=self._router.mtu,
        )
