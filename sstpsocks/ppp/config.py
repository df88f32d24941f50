"""What PPP of one tunnel needs to know, checked and immutable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ..errors import LocalProtocolError
from .auth import AuthMethod, Credentials
from .automaton import MAX_CONFIGURE, RESTART_TIMER

if TYPE_CHECKING:
    from .eap.tls_engine import EapTlsClient, EapTlsServer

MAX_MRU = 4087  # MS-SSTP 3.1.5.2: 4095 less 4 of SSTP header and 4 of PPP header


class Role(Enum):
    """Which end we are. PPP itself has no roles; authentication and addresses do."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class PppConfig:
    """One end of one PPP link."""

    role: Role = Role.CLIENT
    mru: int = MAX_MRU
    """The largest IP packet, in octets, that we ask the peer to send; 128 to 4087."""
    magic_number: bool = True
    """Whether to ask for a Magic-Number. It finds looped-back lines; SoftEther rejects it, which takes a round trip."""
    methods: tuple[AuthMethod, ...] = (AuthMethod.MSCHAPV2,)
    """Client: what may be used to log in, most wanted first. Server: what is demanded, in turn; empty: nothing."""
    credentials: Credentials | None = None
    """Client: who logs in. Without them no method is agreed to."""
    lookup: Callable[[str], str | None] | None = field(default=None, repr=False)
    """Server: user name -> password, None for an unknown user."""
    name: str = "sstpsocks"
    """Server: the name in CHAP challenges."""
    eap_tls: EapTlsClient | None = None
    """Client: what EAP-TLS and PEAP need; without it neither is possible."""
    eap_tls_server: EapTlsServer | None = None
    """Server: the same."""
    eap_zero_hlak: bool = False
    """Client: bind bare EAP-MSCHAPv2 to SSTP with zeroes instead of its keys (see eap/keys.py)."""
    local_address: IPv4Address | None = None
    """Server: its own address. Client: the address to ask for; None: whichever the server gives."""
    peer_address: IPv4Address | None = None
    """Server: what it assigns to the client."""
    dns: tuple[IPv4Address, ...] = ()
    """Server: at most two name servers that it gives to the client."""
    nbns: tuple[IPv4Address, ...] = ()
    """Server: at most two NetBIOS name servers that it gives to the client."""
    ipv6: bool = False
    """Whether IPV6CP is spoken."""
    ipv6_whatever_it_costs: bool = False
    """Begin IPV6CP also with a peer like SoftEther, which stops everything for four seconds when it is asked."""
    interface_identifier: bytes | None = None
    """The eight octets to ask for as our IPv6 interface identifier (RFC 5072); None: random ones."""
    unasked: frozenset[int] = frozenset()
    """Client: IPCP options to leave out. Each that the server rejects takes a round trip."""
    lcp_timeout: float = 30.0
    """Seconds from open() to LCP's opening, and for each renegotiation."""
    authentication_timeout: float = 60.0
    """Seconds from LCP's opening to the verdict; stands still while the user is asked again."""
    address_timeout: float = 30.0
    """Seconds from start_network() to IPCP's opening."""
    restart_timer: float = RESTART_TIMER
    """Seconds between repeated requests."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 128 <= self.mru <= MAX_MRU:
            raise LocalProtocolError(f"MRU {self.mru} is not between 128 and {MAX_MRU}", layer="ppp")
        if self.interface_identifier is not None and len(self.interface_identifier) != 8:
            raise LocalProtocolError("an IPv6 interface identifier has eight octets", layer="ppp")
        if len(self.dns) > 2 or len(self.nbns) > 2:
            raise LocalProtocolError("IPCP can give at most two name servers of a kind", layer="ppp")
        if self.role is Role.SERVER:
            if self.local_address is None or self.peer_address is None:
                raise LocalProtocolError("a PPP server needs its own address and the client's", layer="ppp")
            if self.methods and self.lookup is None:
                raise LocalProtocolError("a PPP server that authenticates needs a lookup of passwords", layer="ppp")
        elif self.methods and self.credentials is None:
            raise LocalProtocolError("a PPP client that may authenticate itself needs credentials", layer="ppp")

    @property
    def peer_name(self) -> str:
        """What messages call the other end."""
        return "the server" if self.role is Role.CLIENT else "the client"

    def tries_within(self, seconds: float) -> int:
        """Return Max-Configure for a negotiation that may take so long: RFC 1661's ten, or more."""
        return max(MAX_CONFIGURE, math.ceil(seconds / self.restart_timer))
