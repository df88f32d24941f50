"""What a namespace is to look like: its addresses, its link, and what its programs read about names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

INTERFACE = "sstpsocks0"
ADDRESS = IPv4Address("192.0.0.2")
GATEWAY = IPv4Address("192.0.0.1")
"""RFC 7335: 192.0.0.0/29 is for what translates inside a host, and never seen outside of it. So it cannot be an address
of the network behind the tunnel, whatever that network has."""
ADDRESS6 = IPv6Address("64:ff9b:1::2")
GATEWAY6 = IPv6Address("64:ff9b:1::1")
"""RFC 8215: 64:ff9b:1::/48 is the same for IPv6. Programs take it for a global address, and so use IPv6 (RFC 6724)."""
DNS_PORT = 53
RESOLV_CONF = "/etc/resolv.conf"
NSSWITCH_CONF = "/etc/nsswitch.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the programs in the namespace find."""

    mtu: int
    """Of the link, in octets: the tunnel's, so that programs that look find the right one."""
    resolv_conf: bytes
    """Their /etc/resolv.conf."""
    nsswitch_conf: bytes | None
    """Their /etc/nsswitch.conf; None: there is none."""


def resolv_conf(search: Iterable[str]) -> bytes:
    """Return a resolv.conf that asks the gateway. ``search``: domains in which short names are looked for."""
    domains = " ".join(search)
    return f"nameserver {GATEWAY}\n{f'search {domains}' if domains else ''}\n".encode()


def nsswitch_conf(original: bytes) -> bytes:
    """Return an nsswitch.conf that looks hosts up in /etc/hosts and by DNS, and leaves all else as it is.

    What else there may be (resolve, mdns, mymachines, wins) asks services of the machine, which use its network.
    """
    lines = [line for line in original.splitlines() if line.split(b":", 1)[0].strip() != b"hosts"]
    return b"\n".join([*lines, b"hosts: files dns", b""])
