"""UDP ports of this machine for forwarded datagrams."""

from __future__ import annotations

import errno
import socket

import trio

from ...errors import ConfigError

_HINTS = {
    errno.EADDRINUSE: "another program has this port; choose another, or 0 for a free one",
    errno.EACCES: "ports below 1024 need rights that sstpsocks does without; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; leave it out for 127.0.0.1",
}
_FAMILY_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


async def open_datagram_ports(host: str, port: int) -> list[socket.socket]:
    """Listen by UDP on every address of ``host``, at the same port; 0 takes a free one. Raises ConfigError."""
    where = f"udp/[{host}]:{port}" if ":" in host else f"udp/{host}:{port}"
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(
            f"cannot listen on {where}: {error.strerror}", hint="give an address of this machine"
        ) from None
    opened: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in dict.fromkeys((entry[0], str(entry[4][0])) for entry in found):
            try:
                opened.append(_bind(family, address, port))
            except OSError as error:
                # What a machine without IPv6 says when "localhost" is also ::1.
                if error.errno not in _FAMILY_MISSING or len(found) == 1:
                    raise _refusal(where, error) from None
                missing = error
                continue
            port = opened[-1].getsockname()[1]
        if not opened:
            raise _refusal(where, missing or OSError(errno.EADDRNOTAVAIL, "no address"))
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def _bind(family: int, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(where: str, error: OSError) -> ConfigError:
    hint = _HINTS.get(error.errno or 0, "choose another address or port")
    return ConfigError(f"cannot listen on {where}: {error.strerror or error}", hint=hint)
