"""DHCP messages as far as DHCPINFORM needs them (RFC 2131, RFC 2132): the request we send, the answer we take.

The request is the one that Windows sends over PPP: servers and relays that serve VPN clients know it. The answer may
come from anybody in the private network, so every length is checked and everything is bounded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from ..errors import RemoteProtocolError
from .route import Route

SERVER_PORT = 67
CLIENT_PORT = 68
MAX_MESSAGE = 8192
"""Octets of the largest answer that is read. The options of real ones fit one Ethernet frame."""
MAX_SEARCH_DOMAINS = 16
"""More are ignored: each is a question that a single-label name may cost."""
MAX_NAME_SERVERS = 8

# RFC 2131 section 2: op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file;
# section 3: the magic cookie.
_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_SNAME = slice(44, 108)
_FILE = slice(108, 236)
_COOKIE = b"\x63\x82\x53\x63"
_BOOT_REQUEST, _BOOT_REPLY = 1, 2

# What Windows puts there on a PPP link: no hardware address at all, and six seconds from the start.
_HARDWARE_TYPE, _HARDWARE_LENGTH, _SECONDS = 8, 0, 6
_VENDOR_CLASS = b"MSFT 5.0"
_INFORM_SIZE = 300
"""A BOOTP message (RFC 1542 section 2.1): relays may drop shorter ones."""

_PAD, _END = 0, 255
_SUBNET_MASK, _NAME_SERVERS, _HOST_NAME, _DOMAIN_NAME = 1, 6, 12, 15
_NETBIOS_NAME_SERVERS, _VENDOR_INFORMATION = 44, 43
_OVERLOAD, _MESSAGE_TYPE, _SERVER_IDENTIFIER = 52, 53, 54
_PARAMETER_REQUEST_LIST, _VENDOR_CLASS_IDENTIFIER, _CLIENT_IDENTIFIER = 55, 60, 61
_DOMAIN_SEARCH, _CLASSLESS_ROUTES, _MICROSOFT_CLASSLESS_ROUTES = 119, 121, 249
_WANTED = bytes(
    (
        _NAME_SERVERS, _NETBIOS_NAME_SERVERS, _VENDOR_INFORMATION, _SUBNET_MASK, _MICROSOFT_CLASSLESS_ROUTES,
        _DOMAIN_NAME, _CLASSLESS_ROUTES, _DOMAIN_SEARCH,
    )
)  # fmt: skip
"""Windows' list in its order, then what it does not ask for."""
_INFORM, _ACK = 8, 5

_POINTER = 0xC0
_MAX_NAME = 253  # RFC 1035 section 2.3.4: 255 octets, less the first length and the root
_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpInform:
    """A DHCPINFORM: "I have this address, tell me the rest" (RFC 2131 section 3.4)."""

    transaction: int
    """The xid, 32 bits."""
    address: IPv4Address
    """Ours, in ciaddr."""
    identifier: bytes
    """16 octets that tell this client from others."""
    host_name: str | None = None
    """In ASCII; None: it is not told."""

    def to_bytes(self) -> bytes:
        """Return the message, 300 octets or, with a long host name, more."""
        fixed = _FIXED.pack(
            _BOOT_REQUEST, _HARDWARE_TYPE, _HARDWARE_LENGTH, 0, self.transaction, _SECONDS, 0,
            self.address.packed, b"", b"", b"", b"", b"", b"", _COOKIE,
        )  # fmt: skip
        options = [_option(_MESSAGE_TYPE, bytes((_INFORM,))), _option(_CLIENT_IDENTIFIER, b"\0" + self.identifier)]
        if self.host_name is not None:
            options.append(_option(_HOST_NAME, self.host_name.encode("ascii")))
        options.append(_option(_VENDOR_CLASS_IDENTIFIER, _VENDOR_CLASS))
        options.append(_option(_PARAMETER_REQUEST_LIST, _WANTED))
        options.append(bytes((_END,)))
        return b"".join((fixed, *options)).ljust(_INFORM_SIZE, b"\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpInformation:
    """What a DHCPACK says about the network; empty fields were not in it."""

    server: IPv4Address | None = None
    """Who answered, by the server identifier."""
    routes: tuple[Route, ...] = ()
    """Classless static routes: option 121, or Microsoft's 249 when that is absent."""
    subnet: IPv4Network | None = None
    """The network that our address is part of, by the subnet mask."""
    domain: str = ""
    search: tuple[str, ...] = ()
    """Domains to complete single-label names with, most wanted first: option 119, then what option 15 adds."""
    name_servers: tuple[IPv4Address, ...] = ()

    @classmethod
    def parse(cls, data: bytes, inform: DhcpInform) -> DhcpInformation:
        """Read the answer to ``inform``. Raises RemoteProtocolError when it is none, or not a well-formed one."""
        if len(data) > MAX_MESSAGE:
            raise _malformed(f"message of {len(data)} octets")
        if len(data) < _FIXED.size:
            raise _malformed(f"message of {len(data)} octets, {_FIXED.size} are the least")
        if data[0] != _BOOT_REPLY or data[_FIXED.size - 4 : _FIXED.size] != _COOKIE:
            raise _malformed("not a DHCP answer")
        # RFC 2131 section 4.4.3: the client takes the answer by its xid; answers to others are broadcast, too.
        if int.from_bytes(data[4:8], "big") != inform.transaction:
            raise _malformed("answer to somebody else's question")
        options = _all_options(data)
        if options.get(_MESSAGE_TYPE) != bytes((_ACK,)):
            raise _malformed("not a DHCPACK")
        # Microsoft's option has the format of RFC 3442. The router option, which classless routes replace, is not even
        # asked for: in a tunnel there is but one way.
        routes = options.get(_CLASSLESS_ROUTES) or options.get(_MICROSOFT_CLASSLESS_ROUTES) or b""
        domains = _domains_of_text(options.get(_DOMAIN_NAME, b""))
        search = [*_domains_of_names(options.get(_DOMAIN_SEARCH, b"")), *domains]
        servers = (server for server in _addresses(options.get(_NAME_SERVERS, b"")) if not server.is_unspecified)
        identifiers = _addresses(options.get(_SERVER_IDENTIFIER, b""))
        return cls(
            server=identifiers[0] if identifiers else None,
            routes=_routes(routes),
            subnet=_subnet(inform.address, options.get(_SUBNET_MASK, b"")),
            domain=domains[0] if domains else "",
            search=tuple(dict.fromkeys(search))[:MAX_SEARCH_DOMAINS],
            name_servers=tuple(dict.fromkeys(servers))[:MAX_NAME_SERVERS],
        )

    def __str__(self) -> str:
        """One line for a person."""
        parts = [f"routes {', '.join(map(str, self.routes))}"] if self.routes else []
        parts += [f"search {', '.join(self.search)}"] if self.search else []
        parts += [f"DNS {', '.join(map(str, self.name_servers))}"] if self.name_servers else []
        return "; ".join(parts) or "nothing of use"


def _malformed(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(text, layer="dhcp")


def _option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def _all_options(data: bytes) -> dict[int, bytes]:
    """Return all options by code.

    Options that occur more than once are concatenated, first those of the options field, then those of the file and
    the sname field (RFC 3396), where option 52 says that these two hold options.
    """
    options: dict[int, bytes] = {}

    def gather(field: bytes) -> None:
        for code, value in _options_in(field):
            options[code] = options.get(code, b"") + value

    gather(data[_FIXED.size :])
    overload = options.get(_OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        raise _malformed("option overload of no meaning")
    if overload[0] & 1:
        gather(data[_FILE])
    if overload[0] & 2:
        gather(data[_SNAME])
    return options


def _options_in(field: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the options of one field. A missing end option is forgiven, as everywhere."""
    position = 0
    while position < len(field):
        code = field[position]
        if code == _END:
            return
        position += 1
        if code == _PAD:
            continue
        if position == len(field) or position + 1 + field[position] > len(field):
            raise _malformed(f"option {code} goes beyond its field")
        end = position + 1 + field[position]
        yield code, field[position + 1 : end]
        position = end


def _addresses(value: bytes) -> list[IPv4Address]:
    if len(value) % 4:
        raise _malformed(f"a list of addresses of {len(value)} octets")
    return [IPv4Address(value[start : start + 4]) for start in range(0, len(value), 4)]


def _subnet(address: IPv4Address, value: bytes) -> IPv4Network | None:
    if not any(value):
        return None  # also for a mask of 0.0.0.0, which some servers send for want of a better one
    mask = int.from_bytes(value, "big")
    hosts = mask ^ 0xFFFFFFFF
    if len(value) != 4 or hosts & (hosts + 1):
        raise _malformed(f"{value.hex('.')} is no subnet mask")
    return IPv4Network((int(address) & mask, mask.bit_count()))


def _routes(value: bytes) -> tuple[Route, ...]:
    """Read classless static routes: width, as many octets of the destination as it needs, router (RFC 3442)."""
    routes: list[Route] = []
    position = 0
    while position < len(value):
        width = value[position]
        significant = (width + 7) // 8
        end = position + 1 + significant + 4
        if width > 32 or end > len(value):
            raise _malformed("a classless static route goes beyond its option")
        destination = int.from_bytes(value[position + 1 : position + 1 + significant].ljust(4, b"\0"), "big")
        # RFC 3442 wants bits outside the mask set to zero rather than the route refused.
        network = IPv4Network((destination & (0xFFFFFFFF << (32 - width)), width))
        gateway = IPv4Address(value[end - 4 : end])
        # RFC 3442: a router of 0.0.0.0 means that the destination is on the link itself.
        routes.append(Route(network, None if gateway.is_unspecified else gateway))
        position = end
    return tuple(routes)


def _domains_of_text(value: bytes) -> list[str]:
    """Read option 15. Windows servers end it with a NUL; some administrators put several domains into it."""
    text = value.decode("ascii", "replace").replace("\0", " ").replace(",", " ")
    return [domain for word in text.split() if (domain := _domain(word))]


def _domains_of_names(value: bytes) -> list[str]:
    """Read option 119: names as in a DNS message, their compression pointers relative to the option (RFC 3397)."""
    domains: list[str] = []
    position = 0
    while position < len(value) and len(domains) < MAX_SEARCH_DOMAINS:
        name, position = _name(value, position)
        if domain := _domain(name):
            domains.append(domain)
    return domains


def _name(value: bytes, position: int) -> tuple[str, int]:
    """Return the name at ``position``, and where the next begins."""
    labels: list[str] = []
    size = 0
    behind: int | None = None
    barrier = position
    while True:
        if position >= len(value):
            raise _malformed("a search domain goes beyond its option")
        length = value[position]
        position += 1
        if length == 0:
            return ".".join(labels), position if behind is None else behind
        if length >= _POINTER:
            if position == len(value):
                raise _malformed("a search domain goes beyond its option")
            target = (length & ~_POINTER) << 8 | value[position]
            behind = position + 1 if behind is None else behind
            # Each pointer must lead before the place that the last one led to, so that there is an end.
            if target >= barrier:
                raise _malformed("a search domain points forward")
            position = barrier = target
            continue
        size += 1 + length
        if length > 63 or size > _MAX_NAME + 1 or position + length > len(value):
            raise _malformed("a search domain is too long")
        labels.append(value[position : position + length].decode("ascii", "replace"))
        position += length


def _domain(text: str) -> str:
    """Return a domain in lower case without the final dot, or nothing when it is none that can be asked for."""
    domain = text.lower().rstrip(".")
    return domain if len(domain) <= _MAX_NAME and _DOMAIN.fullmatch(domain) else ""
