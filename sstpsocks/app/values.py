"""What a person types for a server, an address, a pin or a list of methods, made into checked values.

Every function raises ValueError with a text that completes "OPTION: ..."; nothing here repeats a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from urllib.parse import unquote

from ..base.suggestion import did_you_mean
from ..ppp.auth import AuthMethod
from ..tunnel.pins import parse_pin as parse_pin

SCHEME = "sstp://"
MAX_NAME_LENGTH = 253  # RFC 1035 2.3.4, without the root's empty label
# Underscores are no part of host names but of names that resolve (RFC 2181 section 11).
_ASCII_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_OLD_METHODS = ("mschapv1", "mschap")


class PasswordInServer(ValueError):
    """A server was written as sstp://user:password@host."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the user names it."""

    host: str
    """An address without brackets, or a name in ASCII form."""
    port: int | None
    """None: the usual one."""
    username: str | None = None
    """The user of an sstp:// address, None when it has none."""


def parse_port(text: str, *, minimum: int = 1) -> int:
    """Return a port number."""
    # isdecimal() also knows digits of other scripts, which int() would take.
    if not (text.isascii() and text.isdecimal()) or not minimum <= int(text) <= 65535:
        raise ValueError(f'"{text}" is not a port number from {minimum} to 65535')
    return int(text)


def ascii_host(text: str) -> str:
    """Return an address in its usual form, or a name with international labels encoded (RFC 5891)."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        if bare != text:
            raise ValueError(f'"{bare}" is not an IPv6 address') from None
    name = text.removesuffix(".")
    if not name.isascii():
        import idna  # loads large tables, for the few names that need them

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f'"{text}" is not a host name: {error}') from None
    if len(name) > MAX_NAME_LENGTH or not _ASCII_NAME.fullmatch(name):
        raise ValueError(f'"{text}" is not a host name or address')
    return name.lower()


def parse_domain(text: str) -> str:
    """Return a DNS domain in ASCII form, lower case, without the final dot."""
    domain = ascii_host(text)
    if ":" in domain or domain.replace(".", "").isdecimal():
        raise ValueError(f'"{text}" is an address, not a domain')
    return domain


def split_host_port(text: str, *, minimum_port: int = 1) -> tuple[str, int | None]:
    """Split ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare IPv6 address; the host is not checked."""
    if text.startswith("["):
        inside, bracket, behind = text.partition("]")
        if not bracket or (behind and not behind.startswith(":")):
            raise ValueError(f'"{text}" is not [ADDRESS]:PORT')
        return inside + bracket, parse_port(behind[1:], minimum=minimum_port) if behind else None
    if text.count(":") > 1:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError(f'"{text}" has too many colons; write an IPv6 address as [ADDRESS]:PORT') from None
        return text, None
    host, colon, port = text.partition(":")
    return host, parse_port(port, minimum=minimum_port) if colon else None


def parse_server(text: str) -> Server:
    """Return the server of ``host[:port]``, ``[v6]:port`` or ``sstp://user@host:port``."""
    username = None
    rest = text.strip()
    is_address = rest.lower().startswith(SCHEME)
    if is_address:
        rest = rest[len(SCHEME) :].removesuffix("/")
    user_part, at, host_part = rest.rpartition("@")
    if at:
        # Checked first of all, so that no message below can repeat a password.
        if ":" in user_part:
            raise PasswordInServer("a password in the server's address is refused")
        if not is_address:
            raise ValueError(f'"{text}" names a user; write it as {SCHEME}{rest}')
        username = unquote(user_part) or None
        rest = host_part
    if "://" in rest:
        raise ValueError(f'"{rest}" is not a server; write host[:port] or {SCHEME}user@host:port')
    if any(character in rest for character in "/?#"):
        raise ValueError(f'"{rest}" has more behind the port; write host[:port] or {SCHEME}user@host:port')
    host, port = split_host_port(rest)
    if not host:
        raise ValueError("the server's name is empty")
    return Server(ascii_host(host), port, username)


def parse_address(text: str) -> str:
    """Return an IP address, with the zone if it has one."""
    bare = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        raise ValueError(f'"{text}" is not an IP address') from None


def parse_tunnel_address(text: str) -> IPv4Address:
    """Return an IPv4 address that a host can have."""
    try:
        address = IPv4Address(text.strip())
    except ValueError:
        raise ValueError(f'"{text}" is not an IPv4 address') from None
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_reserved:
        raise ValueError(f"{address} is no address of a host")
    return address


def parse_connect_to(text: str) -> tuple[str, int | None]:
    """Return host and port of ``ADDRESS[:PORT]``."""
    host, port = split_host_port(text.strip())
    return ascii_host(host), port


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of ``[HOST:]PORT``; the host is 127.0.0.1 unless given, port 0 means a free one."""
    stripped = text.strip()
    if stripped.isascii() and stripped.isdecimal():
        return "127.0.0.1", parse_port(stripped, minimum=0)
    host, port = split_host_port(stripped, minimum_port=0)
    if port is None:
        raise ValueError(f'"{text}" is not [HOST:]PORT')
    if host == "*":
        return "0.0.0.0", port  # noqa: S104 - only with credentials or --allow-remote, which config.py checks
    return (ascii_host(host) if host else "127.0.0.1"), port


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        # RFC 6761 6.3: names below localhost are loopback addresses.
        return host == "localhost" or host.endswith(".localhost")


def parse_methods(items: tuple[str, ...]) -> tuple[AuthMethod, ...]:
    """Return the methods of a list such as ``mschapv2, pap`` in its order, each once."""
    known = {method.value: method for method in AuthMethod}
    there_are = f"there are {', '.join(known)}"
    methods: list[AuthMethod] = []
    for item in items:
        name = item.lower()
        if name in _OLD_METHODS:
            raise ValueError(f'"{item}" is broken and not supported; {there_are}')
        if name not in known:
            raise ValueError(f'"{item}" is no method to log in; {there_are}. {did_you_mean(name, known)}'.rstrip(". "))
        if known[name] not in methods:
            methods.append(known[name])
    if not methods:
        raise ValueError(f"names no method; {there_are}")
    return tuple(methods)


def host_port(host: str, port: int) -> str:
    """Return ``host:port`` with brackets where an IPv6 address needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
