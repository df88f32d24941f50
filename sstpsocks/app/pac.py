"""The PAC file: as a page of the local port, at the two paths where programs look for one, and as ``sstpsocks pac``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..base.listen_address import TcpAddress
from ..errors import ConfigError
from ..proxy.context import Pages, no_pages
from ..proxy.routing.pac import PAC_PATHS, PAC_TYPE, proxy_configuration
from ..proxy.routing.table import RuleTable
from .listen_config import listen_settings
from .messages import UNIX
from .rules_config import UNNAMED, check_names, rules_of
from .sources import Sources
from .values import split_host_port

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to say for it, nothing is bound


@dataclass(frozen=True, slots=True)
class PacPage:
    """The file as the port answers it."""

    body: bytes
    content_type: str = PAC_TYPE


def pac_pages(table: Callable[[], RuleTable], places: Sequence[str]) -> Pages:
    """Return what finds the PAC file, made of the rules that hold when it is asked for.

    The file names the port as it was asked for, which is how the browser reaches it; else the first of ``places``
    ("host:port"; Unix sockets are left out).
    """
    reachable = [place for place in places if not place.startswith(UNIX)]
    if not reachable:
        return no_pages

    def find(path: str, asked: str) -> PacPage | None:
        if path.partition("?")[0] not in PAC_PATHS:
            return None
        named, port = split_host_port(asked or reachable[0])
        if port is None:
            _, port = split_host_port(reachable[0])
        return PacPage(proxy_configuration(table(), _reachable(named.strip("[]")), port or 0).encode())

    return find


def pac_file(sources: Sources) -> str:
    """Return the file that the port of a connect with the same options would answer. Raises ConfigError."""
    addresses = listen_settings(sources.shared).addresses
    place = next((address for address in addresses if isinstance(address, TcpAddress)), None)
    if place is None:
        raise ConfigError("pac: browsers need a TCP port, and there is none", hint="Add --listen 127.0.0.1:1080")
    if not place.port:
        raise ConfigError(
            "pac: which port it will be is known only when it is open",
            hint="Choose one with --listen PORT, or ask the running program for /proxy.pac",
        )
    names = [name or UNNAMED for name in sources.tunnels]
    check_names(names)
    table = RuleTable(rules_of(sources.shared, names), names[0])
    return proxy_configuration(table, _reachable(place.host), place.port)


def _reachable(host: str) -> str:
    return _ANY.get(host, host)
