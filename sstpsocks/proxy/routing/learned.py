"""Rules about names, for programs that dial addresses: what an address was the answer for is remembered.

Theory of operation. A program in a namespace asks for a name and dials the address that it was given, so what the rules
say of the name must hold for the address. Each answer is noted; an address that came of one name goes the way of that
name, one that came of none goes by the rules about addresses. When names with different ways have the same address,
nobody can tell which was meant, and the connection is refused rather than sent to the wrong network.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING

import dns.message
import dns.rdatatype

from ...dns.names import normalise_name
from ...errors import DeniedByRule
from .datagrams import RoutedDatagrams

if TYPE_CHECKING:
    from ...dns.policy import Answers
    from ...tunnel.network import IPAddress, TunnelListener, TunnelStream
    from ..outlet import Outlet
    from .router import Router

LIFETIME = 3600.0
"""Seconds that an answer is remembered, whatever it says itself: programs keep addresses for longer."""
MAX_ADDRESSES = 8192
MAX_NAMES = 32
"""Of one address; the one that was asked for longest ago is forgotten."""


class LearnedNames:
    """Which names led to an address lately."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._names: dict[IPAddress, dict[str, float]] = {}
        """With the time of the last answer; what was learned longest ago first, addresses and names."""

    def __repr__(self) -> str:
        return f"<LearnedNames of {len(self._names)} addresses>"

    def learn(self, name: str, address: IPAddress) -> None:
        """Note an answer."""
        names = self._names.pop(address, {})
        names.pop(name, None)
        names[name] = self._now()
        self._names[address] = names
        if len(names) > MAX_NAMES:
            del names[next(iter(names))]
        if len(self._names) > MAX_ADDRESSES:
            del self._names[next(iter(self._names))]

    def names_of(self, address: IPAddress) -> list[str]:
        """Return the names that an address was the answer for."""
        oldest = self._now() - LIFETIME
        return [name for name, learned in self._names.get(address, {}).items() if learned > oldest]


class LearningAnswers:
    """Notes what names are answered with; implements Answers."""

    def __init__(self, answers: Answers, names: LearnedNames) -> None:
        self._answers = answers
        self._names = names

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Return the response."""
        response = await self._answers.answer(query)
        # What was asked for, and not the end of a chain of aliases: the rules are about what the program said.
        name = normalise_name(query.question[0].name.to_text(omit_final_dot=True))
        for records in response.answer:
            if records.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                for record in records:
                    self._names.learn(name, ip_address(record.to_text()))
        return response


class LearnedOutlet:
    """A router for who dials addresses; implements Outlet and PacketOutlet."""

    def __init__(self, router: Router, names: LearnedNames) -> None:
        self._router = router
        self._names = names

    def __repr__(self) -> str:
        return f"<LearnedOutlet {self._router!r}>"

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect; see Outlet."""
        return self._way(host, port).begin(host, port)

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect; see Outlet."""
        return await self._way(host, port).open_tcp_stream(host, port)

    async def resolve(self, name: str) -> list[IPAddress]:
        """Look a name up; see Outlet."""
        return await self._router.resolve(name)

    def open_datagrams(self) -> RoutedDatagrams:
        """Open a UDP socket; see Outlet."""
        return RoutedDatagrams(self._known_way, self._found_way)

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Take connections from inside a tunnel; see Outlet."""
        return await self._router.listen_tcp(port, host)

    def together(self, action: Callable[[], None]) -> None:
        """Send at once what is sent by ``action``; see PacketOutlet."""
        self._router.together(action)

    def has_ipv6(self) -> bool:
        """Whether IPv6 leads anywhere now."""
        return self._router.has_ipv6()

    async def ping(self, address: IPAddress, size: int) -> float:
        """Send an echo request; see PacketOutlet."""
        return await self._router.ping_by(self._way(address, None), address, size)

    def _known_way(self, host: str | IPAddress, port: int) -> tuple[Outlet, str | IPAddress]:
        return self._way(host, port), host

    async def _found_way(self, host: str | IPAddress, port: int) -> tuple[Outlet, str | IPAddress]:
        return self._known_way(host, port)

    def _way(self, host: str | IPAddress, port: int | None) -> Outlet:
        """Return the way to an address, of a name the router. Raises a DialError."""
        if isinstance(host, str):
            return self._router
        names = self._names.names_of(host) if self._router.table.rules else []
        if not names:
            return self._router.way_to(host, host, port)
        ways = {self._router.way_to(name, host, port) for name in names}
        if len(ways) > 1:
            raise DeniedByRule(f"{host} is the address of names that the rules send different ways")
        return ways.pop()
