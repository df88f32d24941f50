"""From a host and a port to a connection inside the tunnel."""

from __future__ import annotations

import logging
from ipaddress import IPv6Address

from ..dns.resolver import Resolver
from ..errors import DeniedByRule, NetworkUnreachable, TunnelDown
from ..tunnel.network import IPAddress, OpenNetwork, TunnelListener, TunnelStream, is_global_ipv6, may_come, wait_up
from .addresses import dialling_order
from .datagrams import DialledDatagrams
from .happy_eyeballs import connect_to_first
from .rules import denied_reason, is_anybody, parse_target

ANY_PORT = 1  # for questions that are about no port

_logger = logging.getLogger("sstpsocks.proxy")


class Dialer:
    """Opens connections by name or address, inside the tunnel and nowhere else."""

    def __init__(self, network: OpenNetwork, resolver: Resolver) -> None:
        self._network = network
        self._resolver = resolver

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect to ``host``, a name or an address, at ``port`` (1 to 65535).

        A name is looked up by the tunnel's DNS; its addresses are tried in the order of RFC 6724, a quarter of a second
        apart, and the first that answers wins (RFC 8305). Raises a DialError: DeniedByRule (this machine, link-local,
        multicast, broadcast: neither dialled nor looked up), NameNotFound, NameLookupFailed, NetworkUnreachable (also
        an IPv6 target without IPv6 in the tunnel), HostUnreachable, ConnectionRefused, ConnectTimedOut,
        TooManyConnections or TunnelDown.
        """
        target, name = _judge(host, port)
        await wait_up(self._network)
        self._check_up()
        if not isinstance(target, str):
            return await self._connect(target, port)
        allowed = self._allowed(target, await self._resolver.resolve(name))
        if not allowed:
            raise DeniedByRule(f"{target} has only addresses that are never reached through the tunnel")
        ordered = dialling_order(allowed, self._network.local_addresses)
        return await connect_to_first(ordered, lambda address: self._connect(address, port))

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect without waiting for anything; None when that takes open_tcp_stream().

        It does for names that are not known, or have several addresses. Raises what Network.begin_connect() and the
        rules do.
        """
        if not self._network.up and may_come(self._network):
            return None
        self._check_up()
        target, name = _judge(host, port)
        if isinstance(target, str):
            allowed = self._allowed(target, self._resolver.known(name))
            if len(allowed) != 1:
                return None
            target = allowed[0]
        self._check_reachable(target)
        return self._network.begin_connect(target, port)

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name. Raises NameNotFound, NameLookupFailed or TunnelDown."""
        await wait_up(self._network)
        self._check_up()
        return await self._resolver.resolve(name)

    def open_datagrams(self, port: int = 0) -> DialledDatagrams:
        """Open a UDP socket whose datagrams go where connections go, 0 for a random port.

        Raises TunnelDown, TooManyConnections, or LocalProtocolError for a port that is in use.
        """
        return DialledDatagrams(self._network.open_udp_port(port), self._known_address, self.address_of)

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Take TCP connections from inside the tunnel; see Outlet."""
        await wait_up(self._network)
        if host is None or is_anybody(host):
            return self._network.listen_tcp(port)
        return self._network.listen_tcp(port, peer=await self.address_of(host))

    def _known_address(self, host: str | IPAddress, port: int = ANY_PORT) -> IPAddress | None:
        """Return where a datagram goes, None when a name must be looked up for that. Raises a DialError."""
        self._check_up()
        target, name = _judge(host, port)
        if not isinstance(target, str):
            self._check_reachable(target)
            return target
        addresses = self._resolver.known(name)
        return self._best(target, addresses) if addresses else None

    async def address_of(self, host: str | IPAddress, port: int = ANY_PORT) -> IPAddress:
        """Return the address of a host that a datagram goes to, the first to be tried of a name. Raises a DialError."""
        await wait_up(self._network)
        known = self._known_address(host, port)
        if known is not None:
            return known
        target, name = _judge(host, port)
        return self._best(str(target), await self._resolver.resolve(name))

    def _best(self, name: str, addresses: list[IPAddress]) -> IPAddress:
        allowed = self._allowed(name, addresses)
        if not allowed:
            raise DeniedByRule(f"{name} has only addresses that are never reached through the tunnel")
        best = dialling_order(allowed, self._network.local_addresses)[0]
        self._check_reachable(best)
        return best

    def _check_up(self) -> None:
        if not self._network.up:
            raise TunnelDown("the tunnel is down")

    def _allowed(self, name: str, addresses: list[IPAddress]) -> list[IPAddress]:
        """Leave out what is never dialled: a name in anybody's zone can point at this machine."""
        allowed: list[IPAddress] = []
        for address in addresses:
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            reason = denied_reason(address)
            if reason:
                _logger.debug("%s: %s left out, %s", name, address, reason)
            else:
                allowed.append(address)
        return allowed

    async def _connect(self, address: IPAddress, port: int) -> TunnelStream:
        self._check_reachable(address)
        return await self._network.connect_tcp(address, port)

    def _check_reachable(self, address: IPAddress) -> None:
        if isinstance(address, IPv6Address):
            ours = self._network.local_addresses
            if ours and not any(map(is_global_ipv6, ours)):
                raise NetworkUnreachable(f"{address} cannot be reached: the tunnel has no IPv6")


def _judge(host: str | IPAddress, port: int) -> tuple[str | IPAddress, str]:
    """Return the target, and the name to look up when it is one. Raises what the rules say against it."""
    target = parse_target(host)
    if not 0 < port < 65536:
        raise DeniedByRule(f"there is no port {port}")
    if not isinstance(target, str):
        return target, ""
    # A final dot says that the name is complete, and is not to be looked for in the search domains.
    return target, f"{target}." if isinstance(host, str) and host.endswith(".") else target
