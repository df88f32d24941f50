"""Router discovery, the host's side: RFC 4861 section 6.3, on a link whose only neighbour is the server.

PPP has no link-layer addresses and no neighbour but the peer, so that nothing has to be resolved or probed; what is
left is to ask, and to keep what advertisements say for as long as it holds. Every packet goes to the peer whether it
calls itself a default router or not, since there is nobody else to send it to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv6Address

from ...base.entropy import Entropy, random_below
from ...errors import RemoteProtocolError
from .advertisement import RouterAdvertisement, RouterSolicitation
from .lifetimes import ExpiringValues, earliest

ALL_ROUTERS = IPv6Address("ff02::2")
ALL_NODES = IPv6Address("ff02::1")
HOP_LIMIT = 255
"""What neighbor discovery packets are sent with, and must still have: no router has passed them on."""

# RFC 4861 section 10: host constants.
MAX_RTR_SOLICITATION_DELAY = 1.0
RTR_SOLICITATION_INTERVAL = 4.0
MAX_RTR_SOLICITATIONS = 3

MIN_LINK_MTU = 1280  # RFC 8200 section 5

# RFC 8106 section 5.3.1 wants room for three at least.
MAX_SERVERS = 8
MAX_DOMAINS = 16


@dataclass(frozen=True, slots=True)
class RouterAdvertised:
    """A valid advertisement came."""

    router: IPv6Address
    """Who sent it."""
    advertisement: RouterAdvertisement


class RouterDiscovery:
    """Asks for advertisements and keeps the name servers, search domains and MTU that they give."""

    def __init__(self, entropy: Entropy, *, link_mtu: int) -> None:
        self._entropy = entropy
        self._link_mtu = link_mtu
        self._solicit_at: float | None = None
        self._solicitations = 0
        self._pending: list[bytes] = []
        self._events: deque[RouterAdvertised] = deque()
        self._servers: ExpiringValues[IPv6Address] = ExpiringValues(MAX_SERVERS)
        self._domains: ExpiringValues[str] = ExpiringValues(MAX_DOMAINS)
        self.mtu = link_mtu
        """The largest IPv6 packet to send, in octets."""

    def __repr__(self) -> str:
        return f"<RouterDiscovery {self._solicitations} solicitations, servers {self.servers}, MTU {self.mtu}>"

    @property
    def servers(self) -> tuple[IPv6Address, ...]:
        """The recursive name servers (RFC 8106)."""
        return self._servers.values

    @property
    def domains(self) -> tuple[str, ...]:
        """The search domains (RFC 8106)."""
        return self._domains.values

    def start(self, now: float) -> None:
        """Begin to ask.

        RFC 4861 section 6.3.7: "Before a host sends an initial solicitation, it SHOULD delay the transmission for a
        random amount of time between 0 and MAX_RTR_SOLICITATION_DELAY". On a link of two that spares nobody, but a
        server that comes up again has all its clients at once.
        """
        self._solicitations = 0
        self._solicit_at = now + MAX_RTR_SOLICITATION_DELAY * random_below(self._entropy, 1000) / 1000

    def receive_packet(self, source: IPv6Address, hop_limit: int, message: bytes, now: float) -> None:
        """Take an advertisement whose checksum is right. Raises RemoteProtocolError for what is to be discarded.

        RFC 4861 section 6.1.2: "IP Source Address is a link-local address", "The IP Hop Limit field has a value of
        255".
        """
        if not source.is_link_local or hop_limit != HOP_LIMIT:
            raise RemoteProtocolError(f"Router Advertisement from {source} with hop limit {hop_limit}", layer="ipv6")
        advertisement = RouterAdvertisement.parse(message)
        # Section 6.3.7: "the host MUST desist from sending additional solicitations" after a "valid Router
        # Advertisement with a non-zero Router Lifetime".
        if advertisement.router_lifetime:
            self._solicit_at = None
        # Section 6.3.4: a value "between the minimum link MTU [...] and the default value" is taken.
        if advertisement.mtu is not None and MIN_LINK_MTU <= advertisement.mtu <= self._link_mtu:
            self.mtu = advertisement.mtu
        for option in advertisement.servers:
            for address in option.addresses:
                if not (address.is_multicast or address.is_unspecified or address.is_loopback):
                    self._servers.refresh(address, option.lifetime, now)
        for search_list in advertisement.search_lists:
            for domain in search_list.domains:
                self._domains.refresh(domain, search_list.lifetime, now)
        self._events.append(RouterAdvertised(source, advertisement))

    def next_event(self) -> RouterAdvertised | None:
        """Return the next event, or None."""
        return self._events.popleft() if self._events else None

    def packets_to_send(self, now: float) -> list[bytes]:
        """Return ICMPv6 messages, without checksum, to send from our link-local address to ALL_ROUTERS."""
        pending, self._pending = self._pending, []
        return pending

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        return earliest((self._solicit_at, self._servers.next_end(), self._domains.next_end()))

    def handle_timer(self, now: float) -> None:
        """Ask, and forget what has expired."""
        self._servers.expire(now)
        self._domains.expire(now)
        if self._solicit_at is None or now < self._solicit_at:
            return
        self._pending.append(RouterSolicitation().to_bytes())
        self._solicitations += 1
        more = self._solicitations < MAX_RTR_SOLICITATIONS
        self._solicit_at = now + RTR_SOLICITATION_INTERVAL if more else None
