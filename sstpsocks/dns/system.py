"""The name servers of this machine, asked directly: only for names that the user gave away by the word ``system``."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import dns.asyncbackend

from ..tunnel.network import IPAddress
from .exchange import ServerQueue

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_SERVERS = 3  # resolv.conf(5): "up to MAXNS (currently 3)"


def system_servers(path: Path = RESOLV_CONF) -> tuple[IPAddress, ...]:
    """Return the servers that resolv.conf(5) names; none when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ()
    servers: list[IPAddress] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0] == "nameserver":
            try:
                servers.append(ip_address(fields[1]))
            except ValueError:
                continue
    return tuple(servers[:MAX_SERVERS])


def system_queue() -> ServerQueue:
    """Return what asks past the tunnel, over sockets of this machine."""
    return ServerQueue(dns.asyncbackend.get_backend("trio"), who="this machine's DNS")
