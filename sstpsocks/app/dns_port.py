"""The DNS port of the command: opened before dialling, served as long as the tunnel is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ..dns.desk import Desk
from ..dns.listener import DnsListener, open_dns_listener
from ..dns.policy import Answers
from ..dns.table import NameTable
from ..tunnel.name_settings import NameSettings
from .dns_config import DnsAddress


async def open_dns_port(addresses: Sequence[DnsAddress]) -> list[DnsListener]:
    """Listen at every address. Raises ConfigError, and leaves none open then."""
    listeners: list[DnsListener] = []
    try:
        for address in addresses:
            listeners.append(await open_dns_listener(address.host, address.port))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


async def serve_dns_port(listeners: Sequence[DnsListener], answers: Answers) -> None:
    """Answer until cancelled; the bounds hold over all addresses together."""
    desk = Desk(answers)
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(listener.serve, desk)


def tell_leaks(names: NameSettings, tell: Callable[[str], None]) -> None:
    """Say which names are asked past the tunnel: the user chose that, and sees it each time."""
    for group in NameTable(names).leaks():
        tell(f"{group} are asked of this machine's own DNS, past the tunnel, as the settings say")
