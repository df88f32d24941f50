"""Which proxy leads to a server: the URL as people write it, and the variables that other programs obey, too.

``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are nobody's standard; what is done here is what curl and most others
agree on. Lower case beats upper case, HTTPS_PROXY beats ALL_PROXY, NO_PROXY is a list of names with all below them,
addresses and networks. A proxy that is named with ``--proxy`` is used whatever NO_PROXY says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote

from ..tunnel.settings import ProxyKind
from .values import ascii_host, is_loopback, split_host_port

NONE = "none"

# What browsers and other programs take for granted when the URL has none.
_DEFAULT_PORTS = {ProxyKind.HTTP: 8080, ProxyKind.HTTPS: 443, ProxyKind.SOCKS5: 1080, ProxyKind.SOCKS5H: 1080}


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A proxy as the user names it."""

    kind: ProxyKind
    host: str
    port: int
    username: str = ""
    password: str | None = field(default=None, repr=False)


def parse_proxy(text: str) -> ProxyUrl | None:
    """Return the proxy of ``[scheme://][user[:password]@]host[:port]``, None for "none".

    Raises ValueError; its text never repeats a password.
    """
    rest = text.strip()
    if rest.lower() == NONE:
        return None
    scheme, mark, behind = rest.partition("://")
    kind = ProxyKind.HTTP
    if mark:
        rest = behind
        try:
            kind = ProxyKind(scheme.lower())
        except ValueError:
            known = ", ".join(f"{kind.value}://" for kind in ProxyKind)
            shown = scheme if scheme.isalnum() else "that"
            raise ValueError(f'proxies of the kind "{shown}" are not supported; there are {known}') from None
    login, _, place = rest.rpartition("@")
    place, _, path = place.partition("/")
    if path:
        raise ValueError("a proxy's URL has nothing behind the port")
    if not place:
        raise ValueError("the proxy's host is missing")
    host, port = split_host_port(place)
    user, colon, password = login.partition(":")
    username = unquote(user)
    if not username.isprintable():
        raise ValueError("the proxy's user name holds control characters")
    return ProxyUrl(
        kind,
        ascii_host(host),
        port if port is not None else _DEFAULT_PORTS[kind],
        username,
        unquote(password) if colon else None,
    )


def environment_proxy(environ: Mapping[str, str], host: str, port: int) -> tuple[str, str] | None:
    """Return the variable and the value that name a proxy for this server, None when none does.

    This machine itself is never looked for behind a proxy.
    """
    if is_loopback(host) or excluded(_first(environ, "no_proxy")[1], host, port):
        return None
    for name in ("https_proxy", "all_proxy"):
        variable, value = _first(environ, name)
        if value:
            return variable, value
    return None


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return a variable in lower case, or else in upper case, with its value; a lower one that is empty counts."""
    for variable in (name, name.upper()):
        if variable in environ:
            return variable, environ[variable].strip()
    return name, ""


def excluded(no_proxy: str, host: str, port: int) -> bool:
    """Whether a list in the manner of NO_PROXY names this server. What cannot be understood in it names nothing."""
    address = _address(host)
    return any(_matches(entry.lower(), host.lower(), address, port) for entry in no_proxy.replace(",", " ").split())


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            return False
    try:
        name, entry_port = split_host_port(entry)
    except ValueError:
        return False
    if entry_port is not None and entry_port != port:
        return False
    if address is not None:
        return _address(name) == address
    # "example.org", ".example.org" and "*.example.org" all mean the domain with everything below it.
    domain = name.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
