"""One table decides for every name where it is looked up; the resolver and the DNS port both ask it.

In order: names of this machine (RFC 6761) never leave it; hosts of the user's own have the addresses that he gave;
then the longest suffix that fits counts, of those that the user gave and of the domains that the network told. Names
of a single label, and the reverse zones of private networks and of pushed routes, belong to the network behind the
tunnel. For what is left the user's word on the rest counts.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ..tunnel.name_settings import NameSettings, Target, Way
from ..tunnel.network import IPAddress
from .names import is_localhost

Routes = Callable[[], tuple[IPv4Network | IPv6Network, ...]]

_IPV4_ZONE = ".in-addr.arpa"
_IPV6_ZONE = ".ip6.arpa"
# RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291: what the public DNS knows nothing of (RFC 6303).
_PRIVATE = tuple(
    ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
        *("fc00::/7", "fe80::/10"),
    )
)


def is_below(name: str, suffix: str) -> bool:
    """Whether ``name`` is ``suffix`` or below it; everything is below the empty suffix."""
    return not suffix or name == suffix or name.endswith(f".{suffix}")


def never_exists(name: str) -> bool:
    """Whether no DNS has a name: RFC 6761 section 6.4 (invalid), RFC 7686 (onion, where asking tells on the user)."""
    return is_below(name, "invalid") or is_below(name, "onion")


def reverse_address(name: str) -> tuple[IPAddress, bool] | None:
    """Return the address that a reverse name stands for, and whether it is whole; None for other names.

    Of a zone such as ``10.in-addr.arpa`` it is the first address.
    """
    if name.endswith(_IPV4_ZONE):
        parts = name.removesuffix(_IPV4_ZONE).split(".")[::-1]
        if len(parts) > 4 or not all(part.isascii() and part.isdecimal() for part in parts):
            return None
        text = ".".join([*parts, *["0"] * (4 - len(parts))])
        whole = len(parts) == 4
    elif name.endswith(_IPV6_ZONE):
        parts = name.removesuffix(_IPV6_ZONE).split(".")[::-1]
        if len(parts) > 32 or not all(len(part) == 1 for part in parts):
            return None
        digits = "".join(parts).ljust(32, "0")
        text = ":".join(digits[start : start + 4] for start in range(0, 32, 4))
        whole = len(parts) == 32
    else:
        return None
    try:
        return ip_address(text), whole
    except ValueError:
        return None


class NameTable:
    """The decisions that follow from the user's settings and from what the network told."""

    def __init__(
        self,
        settings: NameSettings | None = None,
        *,
        domains: Callable[[], tuple[str, ...]] = tuple,
        routes: Routes = tuple,
    ) -> None:
        self._domains = domains
        self._routes = routes
        self.replace(settings if settings is not None else NameSettings())

    def replace(self, settings: NameSettings) -> None:
        """Decide by other settings from now on; what was learned by the old ones is the caller's to forget."""
        self.settings = settings
        self._hosts = dict(settings.hosts)
        self._suffixes = dict(settings.suffixes)
        self._names: dict[IPAddress, str] = {}
        for name, addresses in settings.hosts:
            for address in addresses:
                self._names.setdefault(address, name)

    def __repr__(self) -> str:
        return f"<NameTable {len(self._hosts)} hosts, {len(self._suffixes)} suffixes, rest {self.settings.rest.value}>"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains in which names of a single label are looked for, in order."""
        return self._domains()

    def addresses_of(self, name: str) -> tuple[IPAddress, ...]:
        """Return the addresses that the user gave a name; none for others."""
        return self._hosts.get(name, ())

    def name_of(self, address: IPAddress) -> str | None:
        """Return the first name that the user gave an address."""
        return self._names.get(address)

    def decide(self, name: str) -> Target:
        """Return who is asked about a normalised name that is neither this machine's nor one of the hosts."""
        labels = name.split(".") if name else []
        told = set(self._domains())
        for start in range(len(labels)):
            suffix = ".".join(labels[start:])
            given = self._suffixes.get(suffix)
            if given is not None:
                return given
            if suffix in told:
                return Way.TUNNEL
        everything = self._suffixes.get("")
        if everything is not None:
            return everything
        if self.settings.rest is not Way.TUNNEL and (len(labels) == 1 or self._is_inside(name)):
            return Way.TUNNEL
        return self.settings.rest

    def _is_inside(self, name: str) -> bool:
        found = reverse_address(name)
        if found is None:
            return False
        address, _ = found
        return any(address in network for network in (*_PRIVATE, *self._routes()))

    def leaks(self) -> tuple[str, ...]:
        """Return, in words, every group of names that is asked past the tunnel."""
        groups = [f"names below {suffix}" for suffix, target in self.settings.suffixes if target is Way.SYSTEM]
        if self.settings.rest is Way.SYSTEM:
            groups.append("all names that the network behind the tunnel has not claimed")
        return tuple(groups)


def is_ours(name: str) -> bool:
    """Whether a name is this machine's own, forwards or backwards (RFC 6761 section 6.3, RFC 6303 section 4.2)."""
    if is_localhost(name):
        return True
    found = reverse_address(name)
    return found is not None and found[0].is_loopback
