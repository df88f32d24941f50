"""What is never dialled, and how the text of a destination is read."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from ..dns.names import is_localhost, normalise_name
from ..errors import DeniedByRule, NameNotFound
from ..tunnel.network import IPAddress

# WHATWG URL 3.5 ("ends in a number"): such a host is an address in some notation or nothing; never a name, since no
# top-level domain is a number. C libraries read "127.1" and "0x7f.1" as 127.0.0.1.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)

_IPV4_COMPATIBLE = IPv6Network("::/96")  # RFC 4291 2.5.5.1
_IPV4_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765 2.1
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215 3
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")  # RFC 5214 6.1: what an interface identifier begins with
_AMAZON_METADATA = IPv6Address("fd00:ec2::254")  # the twin of 169.254.169.254, outside of the link-local range
_BROADCAST = IPv4Address("255.255.255.255")


def parse_target(host: str | IPAddress) -> IPAddress | str:
    """Return what to dial: an address, or a normalised name to look up.

    Strict: an address is four decimal numbers or IPv6 text (also in brackets). Raises DeniedByRule for a destination
    that is never dialled and NameNotFound for what is neither an address nor a host name.
    """
    if isinstance(host, str):
        target = _parse_text(host)
        if isinstance(target, str):
            return target
    else:
        target = host
    if isinstance(target, IPv6Address) and target.ipv4_mapped is not None:
        # RFC 4291 2.5.5.2: an IPv4 node's address in IPv6 notation.
        target = target.ipv4_mapped
    reason = denied_reason(target)
    if reason:
        raise DeniedByRule(f"{target} is {reason}, which is never reached through the tunnel")
    return target


def is_anybody(host: str | IPAddress) -> bool:
    """Whether it is 0.0.0.0 or ::, which a client writes when it cannot tell who will call."""
    if isinstance(host, str):
        return host in ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound to
    return host.is_unspecified


def denied_reason(address: IPAddress) -> str:
    """Return why an address is never dialled ("a loopback address"), or an empty string."""
    if isinstance(address, IPv6Address) and not address.is_loopback and not address.is_unspecified:
        for embedded in _embedded_ipv4(address):
            if reason := denied_reason(embedded):
                return reason
        if address == _AMAZON_METADATA:
            return "a machine's own metadata service"
    if address.is_loopback:
        return "a loopback address"
    # RFC 1122 3.2.1.3: 0/8 is "this network"; Linux takes 0.0.0.0 for this machine.
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return "an address of this machine"
    if address.is_multicast:
        return "a multicast address"
    if address == _BROADCAST:
        return "the broadcast address"
    if address.is_link_local:
        return "a link-local address"
    return ""


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses to which somebody on the way may turn an IPv6 address."""
    packed = address.packed
    last = IPv4Address(packed[-4:])
    if address.ipv4_mapped is not None or any(
        address in network for network in (_IPV4_COMPATIBLE, _IPV4_TRANSLATED, _NAT64)
    ):
        return (last,)
    if address in _LOCAL_NAT64:
        # RFC 6052 2.2: behind a prefix of 48 bits the address surrounds octet 8, and zeroes follow; else it is a longer
        # prefix, of 96 bits as a rule.
        return (last,) if any(packed[11:]) else (IPv4Address(packed[6:8] + packed[9:11]),)
    if address.teredo is not None:
        return address.teredo  # RFC 4380 4: the server, and the client behind it
    if address.sixtofour is not None:
        return (address.sixtofour,)  # RFC 3056 2
    return (last,) if packed[8:12] in _ISATAP else ()


def _parse_text(text: str) -> IPAddress | str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return IPv6Address(bare)
        except ValueError:
            raise NameNotFound(f"{text!r} is neither an address nor a host name") from None
    # Normalised first, which also turns digits of other scripts into ASCII.
    name = normalise_name(text)
    try:
        return ip_address(name)
    except ValueError:
        pass
    if is_localhost(name):
        raise DeniedByRule(f"{name} is this machine, which is never reached through the tunnel")
    if _NUMBER.fullmatch(name.rpartition(".")[2]) is not None:
        number = _old_notation(name)
        if number is not None and denied_reason(number):
            raise DeniedByRule(f"{name} means {number}, {denied_reason(number)}, which is never reached")
        raise NameNotFound(f"{name} is neither an address (four decimal numbers) nor a host name")
    return name


def _old_notation(text: str) -> IPv4Address | None:
    """Read an address as inet_aton() does: one to four numbers, decimal, octal or hexadecimal, the last fills up."""
    parts = text.split(".")
    numbers: list[int] = []
    for part in parts:
        if _NUMBER.fullmatch(part) is None:
            return None
        try:
            numbers.append(int(part, 16 if part.startswith("0x") else 8 if part.startswith("0") else 10))
        except ValueError:
            return None
    *leading, last = numbers
    if len(parts) > 4 or any(number > 255 for number in leading) or last >= 256 ** (5 - len(parts)):
        return None
    value = last
    for position, number in enumerate(leading):
        value |= number << (24 - 8 * position)
    return IPv4Address(value)
