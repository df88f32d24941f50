"""The programs' side of SOCKS5 (RFC 1928), blocking, with as few calls as it needs."""

from __future__ import annotations

import socket
from ipaddress import ip_address

SO_BINDTODEVICE = 25
"""Of Linux; not in the socket module of other systems, where the type checker comes too."""


class SocksRefused(ConnectionError):
    """The proxy refused; the message has the reply code."""


def connect_request(host: str, port: int) -> bytes:
    """Return the request for a connection to an address."""
    packed = ip_address(host).packed
    return b"\x05\x01\x00" + (b"\x01" if len(packed) == 4 else b"\x04") + packed + port.to_bytes(2, "big")


def exactly(stream: socket.socket, count: int) -> bytes:
    """Read so many octets."""
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("the connection was closed early")
        data += more
    return data


def connect_through(stream: socket.socket, host: str, port: int) -> None:
    """Ask the proxy at the other end of the stream for a connection."""
    stream.sendall(b"\x05\x01\x00")
    if exactly(stream, 2) != b"\x05\x00":
        raise SocksRefused("the proxy wants credentials")
    stream.sendall(connect_request(host, port))
    head = exactly(stream, 4)
    exactly(stream, {1: 4, 4: 16}[head[3]] + 2)
    if head[1]:
        raise SocksRefused(f"reply {head[1]}")


def plain_connection(host: str, port: int, timeout: float, device: str | None = None) -> socket.socket:
    """Connect without a proxy, through a certain network device where one is given."""
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout)
        if device is not None:
            stream.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
        stream.connect((host, port))
    except OSError:
        stream.close()
        raise
    return stream
