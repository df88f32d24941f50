"""The three ways through the port, spoken by hand: what each answers to a program that wants a connection."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

FRONTS = ("socks5", "socks4a", "http")


@dataclass
class Opened:
    """What the port answered, and the connection to it."""

    stream: socket.socket
    answer: str
    """The reply code, or for HTTP the status and the error of Proxy-Status (RFC 9209)."""
    bound: str = ""
    """The address that the reply names; HTTP has none."""


def request_of(front: str, host: str, port: int) -> bytes:
    """Return all that a program says that does not wait for the first answer."""
    if front == "socks5":
        try:
            where = b"\x01" + IPv4Address(host).packed
        except ValueError:
            where = b"\x03" + bytes([len(host)]) + host.encode()
        return b"\x05\x01\x00\x05\x01\x00" + where + port.to_bytes(2, "big")
    if front == "socks4a":
        return b"\x04\x01" + port.to_bytes(2, "big") + b"\x00\x00\x00\x01alice\x00" + host.encode() + b"\x00"
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()


def ask(front: str, proxy: tuple[str, int], host: str, port: int, early: bytes = b"", timeout: float = 60.0) -> Opened:
    """Ask for a connection, with ``early`` in the same segment as the request, and read the answer."""
    stream = socket.create_connection(proxy, timeout)
    stream.sendall(request_of(front, host, port) + early)
    if front == "socks5":
        assert exactly(stream, 2) == b"\x05\x00"
        head = exactly(stream, 4)
        bound = exactly(stream, 16 if head[3] == 4 else 4)
        exactly(stream, 2)
        return Opened(stream, str(head[1]), str(ip_address(bound)))
    if front == "socks4a":
        reply = exactly(stream, 8)
        return Opened(stream, str(reply[1]), str(IPv4Address(reply[4:])))
    # One octet at a time: what follows the head belongs to the target.
    http = b""
    while not http.endswith(b"\r\n\r\n"):
        http += exactly(stream, 1)
    error = re.search(rb"Proxy-Status: sstpsocks; error=(\w+)", http)
    status = http.split()[1].decode()
    return Opened(stream, f"{status} {error[1].decode()}" if error else status)


def exactly(stream: socket.socket, count: int) -> bytes:
    """Read so many octets."""
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        assert more, f"the port closed the connection after {data!r}"
        data += more
    return data
