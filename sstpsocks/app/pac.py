"""The pages of the local port: the PAC file, at the two paths where programs look for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..proxy.context import Pages, no_pages
from ..proxy.routing.pac import PAC_PATHS, PAC_TYPE, proxy_configuration
from ..proxy.routing.table import RuleTable
from .messages import UNIX
from .values import split_host_port

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to say for it, nothing is bound


@dataclass(frozen=True, slots=True)
class PacPage:
    """The file as the port answers it."""

    body: bytes
    content_type: str = PAC_TYPE


def pac_pages(table: Callable[[], RuleTable], places: Sequence[str]) -> Pages:
    """Return what finds the PAC file, made of the rules that hold when it is asked for.

    ``places``: where the port is ("host:port"; Unix sockets are left out). The first is what the file names.
    """
    reachable = [place for place in places if not place.startswith(UNIX)]
    if not reachable:
        return no_pages
    named, port = split_host_port(reachable[0])
    host = named.strip("[]")
    host = _ANY.get(host, host)

    def find(path: str) -> PacPage | None:
        if path.partition("?")[0] not in PAC_PATHS:
            return None
        return PacPage(proxy_configuration(table(), host, port or 0).encode())

    return find
