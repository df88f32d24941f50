"""Routes: which networks lie behind the tunnel, looked up by the longest prefix (RFC 1812 section 5.2.4.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_ALL_ONES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Route:
    """One network, and the router that leads to it."""

    network: IPv4Network
    gateway: IPv4Address | None = None
    """None: reached without a router. On a point-to-point link it makes no difference: everything goes to the peer."""

    def __str__(self) -> str:
        return str(self.network)


class RouteTable:
    """An immutable set of routes; of two to the same network the first counts."""

    __slots__ = ("_by_length", "routes")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        by_length: dict[int, dict[int, Route]] = {}
        for route in routes:
            same_length = by_length.setdefault(route.network.prefixlen, {})
            same_length.setdefault(int(route.network.network_address), route)
        self._by_length = [
            (_ALL_ONES << (32 - length) & _ALL_ONES, by_length[length]) for length in sorted(by_length, reverse=True)
        ]
        """Mask and routes by network address, the longest prefix first."""
        self.routes = tuple(route for _, same_length in self._by_length for route in same_length.values())
        """All of them, the longest prefixes first."""

    def __repr__(self) -> str:
        return f"<RouteTable {', '.join(map(str, self.routes)) or 'empty'}>"

    def __len__(self) -> int:
        return len(self.routes)

    def lookup(self, address: IPv4Address) -> Route | None:
        """Return the most specific route to the address, None when there is none."""
        number = int(address)
        for mask, same_length in self._by_length:
            route = same_length.get(number & mask)
            if route is not None:
                return route
        return None
