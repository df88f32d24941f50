"""The IP Control Protocol: RFC 1332, with the name server options of RFC 1877."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from ipaddress import IPv4Address

from .config import PppConfig, Role
from .control import ControlProtocol, Judgement
from .packet import PROTOCOL_IPCP, Option


class IpcpOption(IntEnum):
    """Options that we ask for or take. IP-Addresses (1, deprecated) and IP-Compression-Protocol (2) are rejected."""

    IP_ADDRESS = 3
    PRIMARY_DNS = 129
    PRIMARY_NBNS = 130
    SECONDARY_DNS = 131
    SECONDARY_NBNS = 132


UNSPECIFIED = IPv4Address(0)
_DNS = (IpcpOption.PRIMARY_DNS, IpcpOption.SECONDARY_DNS)
_NBNS = (IpcpOption.PRIMARY_NBNS, IpcpOption.SECONDARY_NBNS)


def _is_host_address(address: IPv4Address) -> bool:
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address == IPv4Address("255.255.255.255")
    )


class Ipcp(ControlProtocol):
    """IPCP of the client, who asks for everything, or of the server, who gives it."""

    protocol = PROTOCOL_IPCP
    name = "ipcp"

    def __init__(self, config: PppConfig) -> None:
        super().__init__(
            peer_name=config.peer_name,
            restart_timer=config.restart_timer,
            max_configure=config.tries_within(config.address_timeout),
        )
        self._role = config.role
        self._wanted: dict[int, IPv4Address] = {IpcpOption.IP_ADDRESS: config.local_address or UNSPECIFIED}
        """What our request asks for, in this order; 0.0.0.0 asks the peer to choose."""
        self._asked_for = config.local_address if config.role is Role.CLIENT else None
        """Client: the one address that will do."""
        self._tells_address = True
        self._given: dict[int, IPv4Address] = {}
        """Server: what the client must ask for."""
        if config.role is Role.CLIENT:
            self._wanted |= dict.fromkeys(sorted({*_DNS, *_NBNS} - config.unasked), UNSPECIFIED)
        else:
            self._given.update(zip(_DNS, config.dns, strict=False))
            self._given.update(zip(_NBNS, config.nbns, strict=False))
            if config.peer_address is not None:
                self._given[IpcpOption.IP_ADDRESS] = config.peer_address
        self._peer_address = UNSPECIFIED
        self.rejected: frozenset[int] = frozenset()
        """Options that the peer rejected."""

    @property
    def local(self) -> IPv4Address:
        """Our address; holds once IPCP has opened."""
        return self._wanted[IpcpOption.IP_ADDRESS]

    @property
    def peer(self) -> IPv4Address | None:
        """The peer's address, None when it gave none."""
        return None if self._peer_address == UNSPECIFIED else self._peer_address

    @property
    def dns(self) -> tuple[IPv4Address, ...]:
        """The name servers we were given."""
        return self._servers(_DNS)

    @property
    def nbns(self) -> tuple[IPv4Address, ...]:
        """The NetBIOS name servers we were given."""
        return self._servers(_NBNS)

    def _servers(self, types: tuple[IpcpOption, ...]) -> tuple[IPv4Address, ...]:
        found = (self._wanted.get(option, UNSPECIFIED) for option in types)
        # A server that has one name server may give it twice.
        return tuple(dict.fromkeys(address for address in found if _is_host_address(address)))

    # What we ask for.

    def _request_options(self) -> tuple[Option, ...]:
        return tuple(
            Option(option, address.packed)
            for option, address in self._wanted.items()
            if self._tells_address or option != IpcpOption.IP_ADDRESS
        )

    def _take_nak(self, options: tuple[Option, ...]) -> None:
        for option in options:
            if option.type not in self._wanted or len(option.value) != 4:
                continue
            suggested = IPv4Address(option.value)
            if option.type == IpcpOption.IP_ADDRESS:
                if self._role is Role.SERVER:
                    continue  # a client does not choose the server's address
                if self._asked_for is not None and suggested != self._asked_for:
                    self._refused_address(f"it offers {suggested}")
                elif not _is_host_address(suggested):
                    self._fail_for_address(f"{self._peer_name} offers {suggested} as our IPv4 address")
                self._wanted[option.type] = suggested
            elif _is_host_address(suggested):
                self._wanted[option.type] = suggested
            else:
                # It has none: asking again would get the same Nak for ever.
                del self._wanted[option.type]

    def _take_reject(self, types: frozenset[int]) -> None:
        if IpcpOption.IP_ADDRESS in types and self._asked_for is not None:
            self._refused_address("it rejects the option")
        elif IpcpOption.IP_ADDRESS in types and self._role is Role.CLIENT:
            self._fail_for_address("the server refuses to give us an IPv4 address")
        self.rejected |= types
        self.leave_out(types)
        # A server keeps its own address, told or not.
        self._tells_address = self._tells_address and IpcpOption.IP_ADDRESS not in types

    def leave_out(self, types: Iterable[int]) -> None:
        """Ask for these no more, nor for the first time. The address stays."""
        for option in types:
            if option != IpcpOption.IP_ADDRESS:
                self._wanted.pop(option, None)

    def _acknowledged(self) -> None:
        if not _is_host_address(self.local):
            self._fail_for_address(f"{self._peer_name} acknowledged {self.local} as our IPv4 address")

    def _fail_for_address(self, message: str) -> None:
        self._fail(
            message, hint="The server's address pool or DHCP server may be exhausted or missing; ask its administrator."
        )

    def _refused_address(self, how: str) -> None:
        self._fail(
            f"the server does not give us the address {self._asked_for}: {how}",
            hint="Leave --address out to take what it gives, or have the address reserved for you there.",
        )

    # What the peer asks for.

    def _judge_request(self, options: tuple[Option, ...]) -> Judgement:
        if self._role is Role.CLIENT:
            # Whatever address it has is its own affair, 0.0.0.0 too: nothing is routed by it.
            return Judgement(rejected=tuple(o for o in options if o.type != IpcpOption.IP_ADDRESS or len(o.value) != 4))
        rejected = tuple(o for o in options if o.type not in self._given or len(o.value) != 4)
        suggested = [
            Option(o.type, self._given[o.type].packed)
            for o in options
            if o not in rejected and o.value != self._given[o.type].packed
        ]
        # RFC 1661 section 5.3: an option that the peer left out may be appended to the Nak.
        if all(option.type != IpcpOption.IP_ADDRESS for option in options):
            suggested.append(Option(IpcpOption.IP_ADDRESS, self._given[IpcpOption.IP_ADDRESS].packed))
        return Judgement(rejected, tuple(suggested))

    def _request_accepted(self, options: tuple[Option, ...]) -> None:
        self._peer_address = UNSPECIFIED
        for option in options:
            if option.type == IpcpOption.IP_ADDRESS:
                self._peer_address = IPv4Address(option.value)
