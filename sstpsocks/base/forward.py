"""What -L, -R and -W say, as ssh users know it: ``[bind:]port:host:port``, with a Unix socket at this machine's end.

Colons part the fields, except inside brackets, which hold an IPv6 address. ``udp/`` before -L's makes it datagrams.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

MAX_FIELDS = 4
UDP, TCP = "udp/", "tcp/"
_HOST_FORBIDDEN = frozenset("/[]@\\")


@dataclass(frozen=True, slots=True)
class Place:
    """A host and a port, or, without a host, the path of a Unix socket of this machine."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Forward:
    """A place to listen at and a place to connect to."""

    listen: Place
    """A host of "" is not said: loopback at this machine, all our addresses inside the tunnel."""
    target: Place
    udp: bool = False
    """Whether datagrams are forwarded, and not connections."""

    def __str__(self) -> str:
        listen = str(self.listen) if self.listen.host or self.listen.path else str(self.listen.port)
        return f"{UDP if self.udp else ''}{listen}:{self.target}"


def parse_local(text: str) -> Forward:
    """Read what -L says: ``[udp/][bind:]port:host:port`` or ``/path:host:port``. Raises ValueError."""
    rest, udp = _protocol(text)
    if udp:
        fields = _fields(rest)
        if len(fields) < 3 or "/" in fields[0] or fields[-1].startswith("/"):
            raise ValueError(f'"{text}" is not udp/[BIND:]PORT:HOST:PORT')
        return Forward(_listen(fields[:-2], text), _target(fields[-2:], text), udp=True)
    fields = _fields(rest)
    if fields[-1].startswith("/"):
        raise ValueError(f'"{text}": there are no Unix sockets inside the tunnel; it ends with host:port')
    if fields[0].startswith("/"):
        if len(fields) != 3:
            raise ValueError(f'"{text}" is not PATH:HOST:PORT')
        return Forward(Place("", 0, fields[0]), _target(fields[1:], text))
    if len(fields) < 3:
        raise ValueError(f'"{text}" is not [BIND:]PORT:HOST:PORT')
    return Forward(_listen(fields[:-2], text), _target(fields[-2:], text))


def parse_remote(text: str) -> Forward:
    """Read what -R says: ``port:host:port`` or ``port:/path``. Raises ValueError."""
    rest, udp = _protocol(text)
    if udp:
        raise ValueError(f'"{text}": -R forwards connections only; datagrams go by -L')
    fields = _fields(rest)
    if fields[0].startswith("/"):
        raise ValueError(f'"{text}": there are no Unix sockets inside the tunnel; it begins with a port')
    if fields[-1].startswith("/"):
        listen, target = fields[:-1], Place("", 0, fields[-1])
    elif len(fields) < 3:
        raise ValueError(f'"{text}" is not PORT:HOST:PORT or PORT:PATH')
    else:
        listen, target = fields[:-2], _target(fields[-2:], text)
    place = _listen(listen, text)
    if place.host not in ("", "*"):
        raise ValueError(f'"{text}": inside the tunnel it listens at our own addresses; leave out "{place.host}"')
    return Forward(Place("", place.port), target)


def parse_stdio(text: str) -> Place:
    """Read what -W says: ``host:port``. Raises ValueError."""
    fields = _fields(text)
    if len(fields) != 2:
        raise ValueError(f'"{text}" is not HOST:PORT; an IPv6 address stands in brackets')
    return _target(fields, text)


def _protocol(text: str) -> tuple[str, bool]:
    """Return what stands behind the protocol, and whether that is UDP."""
    stripped = text.strip()
    before, slash, rest = stripped.partition("/")
    if not slash or not before or ":" in before or "[" in before:
        return stripped, False
    if f"{before}/".lower() not in (UDP, TCP):
        raise ValueError(f'"{text}": "{before}/" is neither {UDP} nor {TCP}')
    return rest, before.lower() == "udp"


def _fields(text: str) -> list[str]:
    fields: list[str] = []
    rest = text.strip()
    while True:
        if rest.startswith("["):
            inside, bracket, rest = rest[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(inside):
                raise ValueError(f'"{text}": brackets hold an IPv6 address')
            fields.append(inside)
            colon, rest = rest[:1], rest[1:]
        else:
            field, colon, rest = rest.partition(":")
            fields.append(field)
        if not colon:
            break
    if not 2 <= len(fields) <= MAX_FIELDS:
        raise ValueError(f'"{text}" is not [BIND:]PORT:HOST:PORT; an IPv6 address stands in brackets')
    return fields


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _listen(fields: list[str], text: str) -> Place:
    if len(fields) == 1:
        return Place("", _port(fields[0], text, lowest=0))
    if len(fields) == 2:
        return Place(_host(fields[0], text), _port(fields[1], text, lowest=0))
    raise ValueError(f'"{text}" is not [BIND:]PORT:HOST:PORT; an IPv6 address stands in brackets')


def _target(fields: list[str], text: str) -> Place:
    return Place(_host(fields[0], text), _port(fields[1], text, lowest=1))


def _host(field: str, text: str) -> str:
    if not field or not field.isprintable() or " " in field or _HOST_FORBIDDEN & set(field):
        raise ValueError(f'"{text}": "{field}" is no name or address of a host')
    return field


def _port(field: str, text: str, *, lowest: int) -> int:
    if not (field.isascii() and field.isdigit() and len(field) <= 5 and lowest <= int(field) <= 65535):
        raise ValueError(f'"{text}": "{field}" is no port from {lowest} to 65535')
    return int(field)
