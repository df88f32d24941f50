"""Listening sockets for local programs."""

from __future__ import annotations

import errno
import socket
from contextlib import AsyncExitStack

import trio

from ..errors import ConfigError

_HINTS = {
    errno.EADDRINUSE: "another program, perhaps another sstpsocks, has this port; choose another, or 0 for a free one",
    errno.EACCES: "ports below 1024 need rights that sstpsocks does without; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; 127.0.0.1 is always there",
}
# What a machine without IPv6 says when "localhost" is also ::1.
_FAMILY_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Listen on every address of ``host`` (a name or an address of this machine) at ``port``.

    Port 0 takes a free one, the same for all addresses. Raises ConfigError, with what to do about it, when the port
    is taken or the address is not ours.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise ConfigError(
            f"cannot listen on {where}: {error.strerror}", hint="give an address of this machine"
        ) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    listeners: list[trio.SocketListener] = []
    missing: OSError | None = None
    async with AsyncExitStack() as on_failure:
        for address in addresses:
            try:
                opened = await trio.open_tcp_listeners(port, host=address)
            except OSError as error:
                if error.errno in _FAMILY_MISSING and len(addresses) > 1:
                    missing = error
                    continue
                raise _refusal(where, error) from None
            for listener in opened:
                on_failure.push_async_callback(listener.aclose)
                listeners.append(listener)
            port = int(opened[0].socket.getsockname()[1])
        if not listeners:
            raise _refusal(where, missing or OSError(errno.EADDRNOTAVAIL, "no address"))
        on_failure.pop_all()
    return listeners


def _refusal(where: str, error: OSError) -> ConfigError:
    hint = _HINTS.get(error.errno or 0, "choose another address or port with --listen")
    return ConfigError(f"cannot listen on {where}: {error.strerror or error}", hint=hint)
