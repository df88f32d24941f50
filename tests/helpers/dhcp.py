"""DHCP answers as a server sends them, written octet by octet."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

Option = tuple[int, bytes]

SERVER = IPv4Address("10.20.0.1")
ACK: Option = (53, b"\x05")
IDENTIFIER: Option = (54, SERVER.packed)


def encode(options: Sequence[Option], *, end: bool = True) -> bytes:
    return b"".join(bytes((code, len(value))) + value for code, value in options) + (b"\xff" if end else b"")


def answer(
    request: bytes,
    options: Sequence[Option] = (),
    *,
    head: Sequence[Option] = (ACK, IDENTIFIER),
    operation: int = 2,
    transaction: bytes | None = None,
    file: bytes = b"",
    sname: bytes = b"",
    raw_options: bytes | None = None,
) -> bytes:
    """Return a DHCPACK to ``request`` with these options, or something near one."""
    transaction = request[4:8] if transaction is None else transaction
    fixed = bytes((operation, 8, 0, 0)) + transaction + bytes(4) + request[12:16] + bytes(12) + bytes(16)
    fixed += sname.ljust(64, b"\0") + file.ljust(128, b"\0") + b"\x63\x82\x53\x63"
    return fixed + (encode([*head, *options]) if raw_options is None else raw_options)


def routes_option(*routes: tuple[str, str], code: int = 121) -> Option:
    """Return RFC 3442's form of ("172.30.0.0/16", "10.20.0.1")."""
    value = b""
    for network, gateway in routes:
        address, _, width = network.partition("/")
        octets = (int(width) + 7) // 8
        value += bytes((int(width),)) + IPv4Address(address).packed[:octets] + IPv4Address(gateway).packed
    return code, value
