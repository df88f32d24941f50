"""What a user has said about names: whose servers are asked for which, and what needs no asking."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

IPAddress = IPv4Address | IPv6Address


class Way(Enum):
    """Where questions go that are for no particular server."""

    TUNNEL = "tunnel"
    """The servers that the tunnel gave, through the tunnel."""
    REFUSE = "refuse"
    """Nowhere: they are refused."""
    SYSTEM = "system"
    """The servers of this machine, past the tunnel: only where the user wrote just that word."""


@dataclass(frozen=True, slots=True)
class Servers:
    """These servers, asked through the tunnel."""

    addresses: tuple[IPAddress, ...]


Target = Way | Servers


@dataclass(frozen=True, slots=True, kw_only=True)
class NameSettings:
    """How names are looked up. Names and suffixes are lower case, ASCII, without the final dot."""

    hosts: tuple[tuple[str, tuple[IPAddress, ...]], ...] = ()
    """Names with the addresses that they have, whatever any server says."""
    suffixes: tuple[tuple[str, Target], ...] = ()
    """Who is asked about a suffix and everything below it; the longest that fits counts."""
    rest: Way = Way.TUNNEL
    """Who is asked about everything else."""
