"""Listening sockets for local programs."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import MutableMapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from ..base.listen_address import Activated, ListenAddress, TcpAddress, UnixAddress
from ..errors import ConfigError
from .activation import take_activated
from .unix_socket import SocketFile, listen_on_path

if TYPE_CHECKING:
    from .port import ProxyPort

_HINTS = {
    errno.EADDRINUSE: "another program, perhaps another sstpsocks, has this port; choose another, or 0 for a free one",
    errno.EACCES: "ports below 1024 need rights that sstpsocks does without; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address; 127.0.0.1 is always there",
}
# What a machine without IPv6 says when "localhost" is also ::1.
_FAMILY_MISSING = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class Listeners(list[trio.SocketListener]):
    """Listening sockets, and the files of those that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[SocketFile] = []
        self.served_by: ProxyPort | None = None
        """Who serves them, for whoever shows how many connections there are."""

    async def aclose(self) -> None:
        """Close them all and remove their files; a second time does nothing."""
        for listener in self:
            await listener.aclose()
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files; enough for a program that ends here and now."""
        for file in self.files:
            file.remove()


async def open_all(
    addresses: Sequence[ListenAddress], *, open_to_all: bool, environ: MutableMapping[str, str] = os.environ
) -> Listeners:
    """Listen on every address. ``open_to_all``: also on sockets of systemd's that other machines reach.

    Raises ConfigError, and listens nowhere then.
    """
    listeners = Listeners()
    try:
        activated = [address for address in addresses if isinstance(address, Activated)]
        if activated:
            names = [address.name for address in activated]
            for sock in take_activated(environ, () if "" in names else names):
                listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
                _check_reach(sock, open_to_all)
        for address in addresses:
            if isinstance(address, TcpAddress):
                listeners += await open_listeners(address.host, address.port)
            elif isinstance(address, UnixAddress):
                sock, file = listen_on_path(address.path, address.mode)
                listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
                listeners.files.append(file)
    except BaseException:
        with trio.CancelScope(shield=True):  # closing a listening socket does not wait
            await listeners.aclose()
        raise
    return listeners


def _check_reach(sock: socket.socket, open_to_all: bool) -> None:
    address = sock.getsockname()
    if isinstance(address, tuple) and not open_to_all and not ip_address(address[0].partition("%")[0]).is_loopback:
        raise ConfigError(
            f"systemd's socket on {address[0]} would let other machines into the private network without a password",
            hint="Put 127.0.0.1 before the port of ListenStream=, or ask for credentials with --socks-user and "
            "--socks-password-file, or say --allow-remote",
        )


def name_of(listener: trio.SocketListener) -> str:
    """Return where a listener is: "127.0.0.1:1080", "[::1]:1080" or "unix:/run/sstpsocks.sock"."""
    address = listener.socket.getsockname()
    if not isinstance(address, tuple):
        return f"unix:{os.fsdecode(address)}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
