"""The place of a tunnel in the router: there from the beginning, and after the tunnel was lost for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dns.message
import dns.rcode

from ..dns.names import normalise_name
from ..dns.policy import Answers
from ..dns.replies import make_reply
from ..dns.table import reverse_address
from ..errors import DialError, TunnelDown
from ..library import Tunnel
from ..proxy.outlet import Datagrams
from ..proxy.routing.language import REFUSE
from ..proxy.routing.router import Router
from ..proxy.routing.table import Decision
from ..tunnel.network import IPAddress, TunnelDatagrams, TunnelListener, TunnelStream, is_global_ipv6

ECHO_TIMEOUT = 10.0  # seconds


class Slot:
    """Leads to a tunnel, or says that it is down; an Outlet, and Answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tunnel: Tunnel | None = None

    def __repr__(self) -> str:
        return f"<Slot {self.name}{'' if self.tunnel else ' empty'}>"

    def _require(self) -> Tunnel:
        if self.tunnel is None:
            raise TunnelDown(f'the tunnel "{self.name}" is down')
        return self.tunnel

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Begin to connect; see Outlet."""
        return self._require().dialer.begin(host, port)

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect; see Outlet."""
        return await self._require().dialer.open_tcp_stream(host, port)

    async def resolve(self, name: str) -> list[IPAddress]:
        """Look a name up; see Outlet."""
        return await self._require().dialer.resolve(name)

    def open_datagrams(self) -> Datagrams:
        """Open a UDP socket; see Outlet."""
        return self._require().dialer.open_datagrams()

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Take connections from inside the tunnel; see Outlet."""
        return await self._require().dialer.listen_tcp(port, host)

    def together(self, action: Callable[[], None]) -> None:
        """Send at once what is sent by ``action``; see PacketOutlet."""
        if self.tunnel is None:
            action()
        else:
            self.tunnel.network.together(action)

    def has_ipv6(self) -> bool:
        """Whether the tunnel has IPv6 now."""
        return self.tunnel is not None and any(map(is_global_ipv6, self.tunnel.network.local_addresses))

    async def ping(self, address: IPAddress, size: int) -> float:
        """Send an echo request; see PacketOutlet."""
        return await self._require().network.ping(address, size, ECHO_TIMEOUT)

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Answer a DNS query; see Answers."""
        if self.tunnel is None or self.tunnel.answers is None:
            return make_reply(query, dns.rcode.SERVFAIL, reason=f'the tunnel "{self.name}" is down')
        return await self.tunnel.answers.answer(query)


class RoutedAnswers:
    """Has each DNS query answered by the way that the rules say, as connections to that name go; implements Answers.

    A question for the name of an address goes the way of the address. Rules for some ports alone are not about DNS.
    """

    def __init__(self, router: Router, ways: Mapping[str, Answers], default: str) -> None:
        """``ways``: every tunnel by its name, and DIRECT."""
        self._router = router
        self._ways = ways
        self._default = default

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        """Return the response; REFUSED where a rule refuses."""
        name = query.question[0].name.to_text(omit_final_dot=True)
        way = self._default
        try:
            decision = self._decide(name)
        except DialError:
            # This machine's own names, and what is no host name: every tunnel answers those without asking, or as is.
            pass
        else:
            if decision.way == REFUSE:
                return make_reply(query, dns.rcode.REFUSED, reason=f"refused by {decision}")
            way = decision.way
        return await self._ways[way].answer(query)

    def _decide(self, name: str) -> Decision:
        reverse = reverse_address(normalise_name(name))
        if reverse is not None and reverse[1]:
            return self._router.table.decide_address(reverse[0], None)
        return self._router.decide_name(name)


class NoNetwork:
    """A network that is never up, for what goes past the tunnels."""

    up = False
    local_addresses: tuple[IPAddress, ...] = ()
    dns_servers: tuple[IPAddress, ...] = ()
    search_domains: tuple[str, ...] = ()

    async def connect_tcp(self, address: IPAddress, port: int) -> TunnelStream:
        """Raise TunnelDown."""
        raise TunnelDown("no tunnel leads there")

    def begin_connect(self, address: IPAddress, port: int) -> TunnelStream:
        """Raise TunnelDown."""
        raise TunnelDown("no tunnel leads there")

    def open_udp(self, address: IPAddress, port: int) -> TunnelDatagrams:
        """Raise TunnelDown."""
        raise TunnelDown("no tunnel leads there")
