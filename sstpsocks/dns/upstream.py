"""Who is asked about a name, and how: the decision of the name table carried out."""

from __future__ import annotations

from collections.abc import Callable

import dns.message

from ..errors import DeniedByRule, NameLookupFailed, TunnelDown
from ..tunnel.name_settings import Servers, Way
from ..tunnel.network import IPAddress, Network
from .backend import TunnelBackend
from .exchange import Judge, ResultT, ServerQueue
from .system import system_queue, system_servers
from .table import NameTable


class Upstreams:
    """The servers of one tunnel and, for what the user gave away, those of this machine."""

    def __init__(
        self,
        network: Network,
        table: NameTable,
        *,
        servers: tuple[IPAddress, ...] | None = None,
        timeout: float = 5.0,
        find_system_servers: Callable[[], tuple[IPAddress, ...]] = system_servers,
    ) -> None:
        self._network = network
        self._table = table
        self._servers = servers
        self._tunnel = ServerQueue(TunnelBackend(network), timeout=timeout)
        self._system: ServerQueue | None = None
        self._find_system_servers = find_system_servers

    def clear(self) -> None:
        """Forget which servers were silent."""
        self._tunnel.clear()

    async def ask(self, name: str, query: dns.message.Message, judge: Judge[ResultT]) -> ResultT:
        """Ask about a normalised name. Raises DeniedByRule, NameLookupFailed or TunnelDown."""
        target = self._table.decide(name)
        if target is Way.REFUSE:
            raise DeniedByRule(f"names such as {name} are refused by the settings")
        if target is Way.SYSTEM:
            return await self._ask_system(name, query, judge)
        if not self._network.up:
            raise TunnelDown(f"cannot look up {name}: the tunnel is down")
        if isinstance(target, Servers):
            servers = target.addresses
        else:
            servers = self._network.dns_servers if self._servers is None else self._servers
        if not servers:
            raise NameLookupFailed(
                f"cannot look up {name}: the VPN server gave no DNS server",
                hint="use an address instead of a name, or have a DNS server set on the VPN server",
            )
        return await self._tunnel.ask(servers, query, judge)

    async def _ask_system(self, name: str, query: dns.message.Message, judge: Judge[ResultT]) -> ResultT:
        servers = self._find_system_servers()
        if not servers:
            raise NameLookupFailed(f"cannot look up {name}: /etc/resolv.conf of this machine names no DNS server")
        if self._system is None:
            self._system = system_queue()
        return await self._system.ask(servers, query, judge)
