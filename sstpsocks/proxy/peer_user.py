"""Which user of this machine the other end of a local connection belongs to.

Loopback has no file modes: every user of the machine reaches a port there, and a program such as a browser cannot give
a password to a SOCKS port. The Linux kernel knows the owner of the client's socket, though. It is asked by sock_diag(7)
for this one connection, turned round: the client's address first. Where a container's filter forbids that, its table
in /proc is read. A Unix socket tells by SO_PEERCRED.

A socket that its program has closed already has no owner any more (inode 0), and one that cannot be found counts as a
stranger's: who is let in is known, never supposed.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_ANSWER_TIMEOUT = 1.0
"""Seconds; the kernel answers within the call, so this only bounds what must not happen."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
_REQUEST = struct.Struct("=BBBxI")  # inet_diag_req_v2: family, protocol, extensions, states; then the socket's id
_SOCKET_ID = struct.Struct("!HH16s16s12s")  # inet_diag_sockid: ports, addresses, interface and cookie
_NO_COOKIE = bytes(4) + b"\xff" * 8
_OWNER = struct.Struct("=II")  # inet_diag_msg: the user and the inode, behind 4 octets, the id and 3 numbers
_OWNER_AT = _HEADER.size + 4 + _SOCKET_ID.size + 12

_UDP_TABLES = ("/proc/net/udp", "/proc/net/udp6")
_TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}

Endpoint = tuple[str, int]


def can_tell_users() -> bool:
    """Whether this system says whose a local connection is."""
    return sys.platform == "linux"


def is_own_user(client: socket.socket) -> bool:
    """Tell whether the other end of an accepted connection is a program of our own user on this machine."""
    ours = False
    if sys.platform == "linux":
        ours = peer_user(client) == os.geteuid()
    return ours


def peer_user(client: socket.socket) -> int | None:
    """Return the number of the user at the other end, None if it is not to be found on this machine."""
    try:
        if client.family == getattr(socket, "AF_UNIX", None):
            return _user_behind_unix_socket(client)
        peer, own = client.getpeername()[:2], client.getsockname()[:2]
    except OSError:
        return None  # it has gone away
    try:
        return _ask_kernel(client.family, peer, own)
    except OSError:
        return _look_up(client.family, peer, own)


def sender_user(relay: socket.socket, sender: Endpoint) -> int | None:
    """Return the number of the user whose socket sent a datagram to ``relay``, None if that is not to be found here."""
    if not can_tell_users():
        return None
    try:
        own = relay.getsockname()[:2]
        # The kernel's table of UDP sockets wants the ends the other way round than that of TCP.
        return _ask_kernel(relay.family, own, sender, socket.IPPROTO_UDP)
    except OSError:
        return _look_up_sender(sender)


def _user_behind_unix_socket(client: socket.socket) -> int | None:
    user: int | None = None
    if sys.platform == "linux":
        _pid, user, _group = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user


def _packed(address: str) -> bytes:
    return ip_address(address.partition("%")[0]).packed


def _ask_kernel(family: int, peer: Endpoint, own: Endpoint, protocol: int = socket.IPPROTO_TCP) -> int | None:
    """Return the owner. Raises OSError where there is no sock_diag."""
    wanted = _SOCKET_ID.pack(peer[1], own[1], _packed(peer[0]), _packed(own[0]), _NO_COOKIE)
    body = _REQUEST.pack(family, protocol, 0, _ALL_STATES) + wanted
    header = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    answer = _exchange(header + body)
    _length, kind, *_rest = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        # NLMSG_ERROR: not found, or not supported; the table tells these apart.
        raise OSError("sock_diag does not know the connection")
    user, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return int(user) if inode else None


def _exchange(request: bytes) -> bytes:
    if sys.platform == "linux":
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
            kernel.settimeout(_ANSWER_TIMEOUT)
            kernel.sendto(request, (0, 0))
            return kernel.recv(4096)
    raise OSError("there is no sock_diag")


def _look_up(family: int, peer: Endpoint, own: Endpoint) -> int | None:
    """Return the owner out of the kernel's table, whose columns proc_pid_net(5) describes."""
    wanted = [_in_table(*peer), _in_table(*own)]
    try:
        with open(_TABLES[socket.AddressFamily(family)], encoding="ascii") as table:
            for line in table:
                columns = line.split()
                if columns[1:3] == wanted:
                    return int(columns[7]) if columns[9] != "0" else None
    except (OSError, ValueError, LookupError):
        pass  # no /proc here: nobody is known
    return None


def _look_up_sender(sender: Endpoint) -> int | None:
    """Return the owner of the UDP socket with this address and port, which may be bound to all addresses."""
    address, port = sender
    wanted = {_in_table(bound, port) for bound in (address, "0.0.0.0", "::")}  # noqa: S104  # looked for, not bound to
    users: set[int] = set()
    for name in _UDP_TABLES:
        try:
            with open(name, encoding="ascii") as table:
                rows = [line.split() for line in table]
            users |= {int(columns[7]) for columns in rows if columns[1] in wanted and columns[9] != "0"}
        except (OSError, ValueError, LookupError):
            continue  # no such table here
    return users.pop() if len(users) == 1 else None


def _in_table(address: str, port: int) -> str:
    """Return an end as the table writes it: words of four octets in the machine's order, as hexadecimal numbers."""
    value: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    words = struct.unpack(f"={len(value.packed) // 4}I", value.packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
