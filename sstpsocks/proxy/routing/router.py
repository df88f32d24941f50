"""The router: one outlet in front of several tunnels and the direct way, which the rules choose between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from ...errors import DeniedByRule, NetworkUnreachable
from ..happy_eyeballs import connect_to_first
from ..outlet import PacketOutlet
from ..rules import denied_reason, is_anybody, parse_target
from .datagrams import RoutedDatagrams
from .language import DIRECT, REFUSE, Rule, check_ways
from .table import Decision, RuleTable

if TYPE_CHECKING:
    from ...tunnel.network import IPAddress, TunnelListener, TunnelStream
    from ..outlet import Outlet

_logger = logging.getLogger("sstpsocks.proxy")


class Router:
    """Sends each connection and each look-up the way that the rules say; implements Outlet.

    A name is looked up by the way that the rules chose for it, and by no other: the first tunnel where no rule is about
    it, this machine's resolver only where a rule sends the name ``direct``. What is never dialled stays so on every
    way, also when it is what a name turns out to have.
    """

    def __init__(self, rules: Iterable[Rule], tunnels: Mapping[str, Outlet], direct: Outlet) -> None:
        """The first of ``tunnels`` is the default. Raises RuleSyntaxError for a rule that names none of them."""
        self._ways = {**tunnels, DIRECT: direct}
        self._tunnels = tuple(tunnels)
        if not self._tunnels or DIRECT in tunnels or REFUSE in tunnels:
            raise ValueError("there must be a tunnel, and none may be called like another way")
        self.table = RuleTable((), self._tunnels[0])
        self.replace(rules)

    def __repr__(self) -> str:
        return f"<Router {len(self.table.rules)} rules, {', '.join(self._tunnels)}>"

    def replace(self, rules: Iterable[Rule]) -> None:
        """Let other rules hold from now on; connections that stand stay. Raises RuleSyntaxError, the old ones hold."""
        rules = tuple(rules)
        check_ways(rules, self._tunnels)
        self.table = RuleTable(rules, self._tunnels[0])

    # Outlet

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect without waiting; None when that takes open_tcp_stream(). Raises a DialError."""
        decision = self._decide(host, port)
        outlet = self._outlet(decision, host)
        return None if decision.doubts else outlet.begin(host, port)

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect by the way that the rules say. Raises a DialError; DeniedByRule where they refuse it."""
        decision = self._decide(host, port)
        outlet = self._outlet(decision, host)
        if not decision.doubts:
            return await outlet.open_tcp_stream(host, port)
        ways = self._ways_of(decision, str(host), await outlet.resolve(str(host)))
        return await connect_to_first([*ways], lambda address: ways[address].open_tcp_stream(address, port))

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name, by the way that rules for all ports choose. Raises a DialError."""
        return await self._outlet(self.decide_name(name), name).resolve(name)

    def open_datagrams(self) -> RoutedDatagrams:
        """Open a UDP socket each of whose datagrams goes the way that the rules say; opens none of the ways yet."""
        return RoutedDatagrams(self._known_way, self._found_way)

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Take connections inside the tunnel that leads to ``host``, or else in the first. Raises a DialError."""
        if host is None or is_anybody(host):
            return await self._ways[self._tunnels[0]].listen_tcp(port)
        known = self._known_way(host, None)
        outlet, target = known if known is not None else await self._found_way(host, None)
        return await outlet.listen_tcp(port, target)

    def together(self, action: Callable[[], None]) -> None:
        """Send at once, on each way, what is sent by ``action``; see PacketOutlet."""
        for way in self._ways.values():
            if isinstance(way, PacketOutlet):
                action = partial(way.together, action)
        action()

    def has_ipv6(self) -> bool:
        """Whether any tunnel has IPv6 now."""
        return any(way.has_ipv6() for way in self._ways.values() if isinstance(way, PacketOutlet))

    async def ping(self, address: IPAddress, size: int) -> float:
        """Send an echo request the way that rules for all ports choose; see PacketOutlet. Raises a DialError."""
        return await self.ping_by(self.way_to(address, address, None), address, size)

    async def ping_by(self, outlet: Outlet, address: IPAddress, size: int) -> float:
        """Send an echo request by one of the ways; see PacketOutlet. Raises a DialError."""
        if not isinstance(outlet, PacketOutlet):
            raise DeniedByRule("echo requests are not sent past the tunnels, whatever the rules say about connections")
        return await outlet.ping(address, size)

    def _known_way(self, host: str | IPAddress, port: int | None) -> tuple[Outlet, str | IPAddress] | None:
        """Return the way to a host, None when a name has to be looked up to tell. Raises a DialError."""
        decision = self._decide(host, port)
        outlet = self._outlet(decision, host)
        return None if decision.doubts else (outlet, host)

    async def _found_way(self, host: str | IPAddress, port: int | None) -> tuple[Outlet, str | IPAddress]:
        """Return the way to a host whose addresses decide. Raises a DialError."""
        decision = self._decide(host, port)
        addresses = await self._outlet(decision, host).resolve(str(host))
        address, outlet = next(iter(self._ways_of(decision, str(host), addresses).items()))
        return outlet, address

    def way_to(self, host: str | IPAddress, address: IPAddress, port: int | None) -> Outlet:
        """Return the way to an address that ``host`` has, or is; without a port: by rules for all.

        Raises a DialError.
        """
        decision = self._decide(host, port).for_address(address)
        return self._outlet(decision, host)

    def decide_name(self, name: str) -> Decision:
        """Return which way looks a name up when nobody said for which port: DNS queries. Raises a DialError."""
        return self._decide(name, None)

    def _decide(self, host: str | IPAddress, port: int | None) -> Decision:
        target = parse_target(host)
        decision = (
            self.table.decide_name(target, port) if isinstance(target, str) else self.table.decide_address(target, port)
        )
        _logger.debug("%s port %s: %s, by %s", target, port, decision.way, decision)
        return decision

    def _outlet(self, decision: Decision, host: str | IPAddress) -> Outlet:
        if decision.way == REFUSE:
            raise DeniedByRule(f"{host} is refused by {decision}")
        return self._ways[decision.way]

    def _ways_of(self, decision: Decision, name: str, addresses: list[IPAddress]) -> dict[IPAddress, Outlet]:
        """Return the addresses that may be dialled, each with its way, in their order. Raises DeniedByRule."""
        ways: dict[IPAddress, Outlet] = {}
        refused: Decision | None = None
        for address in addresses:
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            if denied_reason(address):
                continue
            chosen = decision.for_address(address)
            if chosen.way == REFUSE:
                refused = chosen
            else:
                ways[address] = self._ways[chosen.way]
        if not ways and refused is not None:
            raise DeniedByRule(f"all addresses of {name} are refused, by {refused}")
        if not ways and addresses:
            raise DeniedByRule(f"{name} has only addresses that are never reached")
        if not ways:
            raise NetworkUnreachable(f"{name} has no address")
        return ways
