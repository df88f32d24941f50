"""The direct way: ordinary connections of this machine, only for what a rule sends ``direct``.

Names are looked up by this machine's resolver here and nowhere else. What is never dialled through a tunnel is not
dialled directly either; nor are this machine's own addresses, or a program that may use the port from elsewhere could
reach what listens only for this machine.
"""

from __future__ import annotations

import errno
import logging
import socket
from ipaddress import IPv6Address, ip_address

import trio

from ...errors import (
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    DialError,
    HostUnreachable,
    NameLookupFailed,
    NameNotFound,
    NetworkUnreachable,
    TooManyConnections,
)
from ...tunnel.network import IPAddress, TunnelListener, TunnelStream
from ..happy_eyeballs import connect_to_first
from ..outlet import Datagrams
from ..relay import close_socket
from ..rules import denied_reason, parse_target
from .direct_datagrams import DirectDatagrams
from .direct_stream import DirectStream

CONNECT_TIMEOUT = 30.0  # seconds; what the tunnel's connections have
LOOKUP_TIMEOUT = 20.0  # seconds; the system's resolver has long limits of its own

_NOT_FOUND = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")} - {None}
_KINDS: dict[int, type[DialError]] = {
    errno.ECONNREFUSED: ConnectionRefused,
    errno.ECONNRESET: ConnectionRefused,
    errno.ETIMEDOUT: ConnectTimedOut,
    errno.EMFILE: TooManyConnections,
    errno.ENFILE: TooManyConnections,
    errno.ENETUNREACH: NetworkUnreachable,
    errno.EAFNOSUPPORT: NetworkUnreachable,
    errno.EADDRNOTAVAIL: NetworkUnreachable,
}
_logger = logging.getLogger("sstpsocks.proxy")


class Direct:
    """Opens connections past all tunnels; implements Outlet. ``nursery`` is for the tasks that read them."""

    def __init__(self, nursery: trio.Nursery, *, connect_timeout: float = CONNECT_TIMEOUT) -> None:
        self._nursery = nursery
        self._connect_timeout = connect_timeout

    def begin(self, host: str | IPAddress, port: int) -> TunnelStream | None:
        """Return None: it always takes open_tcp_stream()."""
        return None

    async def open_tcp_stream(self, host: str | IPAddress, port: int) -> TunnelStream:
        """Connect to a name or an address. Raises a DialError."""
        target = parse_target(host)
        if not 0 < port < 65536:
            raise DeniedByRule(f"there is no TCP port {port}")
        addresses = [target] if not isinstance(target, str) else await self.resolve(target)
        allowed = [address for address in addresses if not denied_reason(address) and not is_own(address)]
        if not allowed:
            raise DeniedByRule(
                f"{target} has only addresses that are never reached: those of this machine and its links"
            )
        return await connect_to_first(allowed, lambda address: self._connect(address, port))

    async def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name by this machine's resolver. Raises NameNotFound or NameLookupFailed."""
        try:
            with trio.fail_after(LOOKUP_TIMEOUT):
                found = await trio.socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in _NOT_FOUND:
                raise NameNotFound(f"this machine's resolver knows no address of {name}") from None
            raise NameLookupFailed(f"this machine's resolver failed for {name}: {error.strerror}") from None
        except trio.TooSlowError:
            raise NameLookupFailed(f"this machine's resolver did not answer for {name}") from None
        addresses: list[IPAddress] = []
        for _family, _kind, _protocol, _canonical, where in found:
            address = ip_address(str(where[0]).partition("%")[0])
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            addresses.append(address)
        return list(dict.fromkeys(addresses))

    def open_datagrams(self) -> Datagrams:
        """Open a UDP socket that goes past all tunnels, for the destinations that connections have."""
        return DirectDatagrams(
            self._nursery,
            resolve=self.resolve,
            may_reach=lambda address: not denied_reason(address) and not is_own(address),
            as_dial_error=_dial_error,
        )

    async def listen_tcp(self, port: int = 0, host: str | IPAddress | None = None) -> TunnelListener:
        """Raise DeniedByRule: a program that may use our port must not open one of this machine to its network."""
        raise DeniedByRule("a port is opened inside a tunnel only, whatever the rules say about connections")

    async def _connect(self, address: IPAddress, port: int) -> TunnelStream:
        try:
            sock = trio.socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        except OSError as error:
            raise _dial_error(error, address) from None
        with sock:
            try:
                with trio.fail_after(self._connect_timeout):
                    await sock.connect((str(address), port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw = socket.socket(fileno=sock.detach())
            except trio.TooSlowError:
                raise ConnectTimedOut(f"{address} did not answer in {self._connect_timeout:g} s") from None
            except OSError as error:
                raise _dial_error(error, address) from None
        raw.setblocking(False)
        try:
            return DirectStream(raw, self._nursery)
        except OSError as error:  # it was reset in the moment in which it stood
            close_socket(raw)
            raise _dial_error(error, address) from None


def is_own(address: IPAddress) -> bool:
    """Whether this machine has the address: what it sends there comes from the same address. Nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(str(probe.getsockname()[0]).partition("%")[0]) == address
    except OSError:
        return False  # there is no way to it at all, which connecting will say


def _dial_error(error: OSError, address: IPAddress) -> DialError:
    kind = _KINDS.get(error.errno or 0, HostUnreachable)
    return kind(f"{address} was not reached directly: {error.strerror or error}")
