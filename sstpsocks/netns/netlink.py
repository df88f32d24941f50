"""The few messages of rtnetlink (rtnetlink(7)) that configure an interface: link, address, default route."""

from __future__ import annotations

import os
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_ERROR = 2
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_UP = 0x1
_LINK_MTU, _LINK_QUEUE = 4, 13
_ADDRESS_ADDRESS, _ADDRESS_LOCAL = 1, 2
_NO_DUPLICATE_DETECTION = 0x02
_ROUTE_INTERFACE, _ROUTE_METRICS = 4, 8
_METRIC_ADVERTISED_MSS = 8
_MAIN_TABLE, _BOOT, _SCOPE_LINK, _UNICAST = 254, 3, 253, 1
_INET, _INET6 = 2, 10
"""Linux's AF_INET and AF_INET6; the socket module of another system, where this is only tested, has others."""


class NetlinkSocket(Protocol):
    """A connected socket of NETLINK_ROUTE."""

    def send(self, data: bytes, /) -> int:
        """Send one message."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Return the kernel's next answer."""
        ...


def link_up(index: int, mtu: int | None = None, queue: int | None = None) -> bytes:
    """Return the message that sets an interface up, its MTU, and how many packets may wait in its queue."""
    attributes = b""
    for kind, value in ((_LINK_MTU, mtu), (_LINK_QUEUE, queue)):
        if value is not None:
            attributes += _attribute(kind, struct.pack("=I", value))
    return _message(_NEW_LINK, 0, _LINK.pack(0, 0, index, _UP, _UP) + attributes)


def add_address(index: int, address: IPv4Address | IPv6Address) -> bytes:
    """Return the message that gives an interface an address, and no network with it."""
    family, flags = (_INET, 0) if address.version == 4 else (_INET6, _NO_DUPLICATE_DETECTION)
    head = _ADDRESS.pack(family, address.max_prefixlen, flags, 0, index)
    packed = address.packed
    attributes = _attribute(_ADDRESS_LOCAL, packed) + _attribute(_ADDRESS_ADDRESS, packed)
    return _message(_NEW_ADDRESS, _CREATE | _REPLACE, head + attributes)


def add_default_route(index: int, version: int, advertised_mss: int) -> bytes:
    """Return the message that sends everything of an IP version to an interface.

    ``advertised_mss``: what TCP tells its peer to send at once, whatever the MTU is.
    """
    family = _INET if version == 4 else _INET6
    scope = _SCOPE_LINK if version == 4 else 0
    head = _ROUTE.pack(family, 0, 0, 0, _MAIN_TABLE, _BOOT, scope, _UNICAST, 0)
    metrics = _attribute(_METRIC_ADVERTISED_MSS, struct.pack("=I", advertised_mss))
    attributes = _attribute(_ROUTE_INTERFACE, struct.pack("=I", index)) + _attribute(_ROUTE_METRICS, metrics)
    return _message(_NEW_ROUTE, _CREATE | _REPLACE, head + attributes)


def exchange(sock: NetlinkSocket, message: bytes) -> None:
    """Send a message and wait for the kernel to have done it. Raises OSError when it refused."""
    sock.send(message)
    answer = sock.recv(65536)
    if len(answer) < _HEADER.size + 4:
        raise OSError(0, "the kernel's answer is too short")
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    (error,) = struct.unpack_from("=i", answer, _HEADER.size)
    if kind != _ERROR or error:
        raise OSError(-error, os.strerror(-error))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body


def _attribute(kind: int, content: bytes) -> bytes:
    size = 4 + len(content)
    return struct.pack("=HH", size, kind) + content + bytes(-size % 4)
