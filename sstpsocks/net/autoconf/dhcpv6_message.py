"""DHCPv6 messages between a client and a server: RFC 8415 sections 7, 8 and 21, as far as a host in a tunnel needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address
from struct import Struct

from ...errors import RemoteProtocolError
from .names import domain_names_to_bytes, parse_domain_names

MAX_DUID = 130  # section 11.1: a type of two octets and at most 128 more
_HEADER_SIZE = 4
_OPTION = Struct(">HH")
_IA_NA = Struct(">III")
_IA_ADDRESS = Struct(">16sII")


class MessageType(IntEnum):
    """Section 7.3; relays and reconfiguration are left out."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    RENEW = 5
    REBIND = 6
    REPLY = 7
    INFORMATION_REQUEST = 11


class OptionCode(IntEnum):
    """Section 21 and RFC 3646 (the name servers)."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    OPTION_REQUEST = 6
    IA_ADDRESS = 5
    PREFERENCE = 7
    ELAPSED_TIME = 8
    STATUS_CODE = 13
    RAPID_COMMIT = 14
    DNS_SERVERS = 23
    DOMAIN_LIST = 24
    INFORMATION_REFRESH_TIME = 32
    SOL_MAX_RT = 82
    INF_MAX_RT = 83


class StatusCode(IntEnum):
    """Section 21.13."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5


@dataclass(frozen=True, slots=True)
class IaAddress:
    """An address of a lease (section 21.6)."""

    address: IPv6Address
    preferred_lifetime: int
    """Seconds; 0xffffffff for ever."""
    valid_lifetime: int
    """Seconds; 0xffffffff for ever."""
    status: int = StatusCode.SUCCESS

    def to_bytes(self) -> bytes:
        """Return the option."""
        body = _IA_ADDRESS.pack(self.address.packed, self.preferred_lifetime, self.valid_lifetime)
        return _option(OptionCode.IA_ADDRESS, body + _status_to_bytes(self.status))


@dataclass(frozen=True, slots=True)
class IaNa:
    """An identity association: what one interface is leased (section 21.4)."""

    iaid: int
    t1: int = 0
    """Seconds until Renew; 0: the client's choice."""
    t2: int = 0
    """Seconds until Rebind; 0: the client's choice."""
    addresses: tuple[IaAddress, ...] = ()
    status: int = StatusCode.SUCCESS

    def to_bytes(self) -> bytes:
        """Return the option."""
        body = _IA_NA.pack(self.iaid, self.t1, self.t2) + b"".join(address.to_bytes() for address in self.addresses)
        return _option(OptionCode.IA_NA, body + _status_to_bytes(self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcpv6Message:
    """One message; None and () stand for options that are not there."""

    type: int
    transaction_id: int
    """24 bits."""
    client_id: bytes | None = None
    server_id: bytes | None = None
    associations: tuple[IaNa, ...] = ()
    requested: tuple[int, ...] = ()
    """Codes of the options that the client wants."""
    preference: int = 0
    """Of a server, 0 to 255; 255 is not to be waited beyond."""
    elapsed: int | None = None
    """Hundredths of a second since the client began, at most 65535."""
    status: int = StatusCode.SUCCESS
    rapid_commit: bool = False
    dns_servers: tuple[IPv6Address, ...] = ()
    domains: tuple[str, ...] = ()
    refresh_time: int | None = None
    """Seconds after which to ask for information again."""
    sol_max_rt: int | None = None
    inf_max_rt: int | None = None

    @classmethod
    def parse(cls, data: bytes) -> Dhcpv6Message:
        """Read a message; options that we do not know are ignored. Raises RemoteProtocolError."""
        if len(data) < _HEADER_SIZE:
            raise RemoteProtocolError(f"DHCPv6 message of {len(data)} octets", layer="dhcpv6")
        found = _Options(data[_HEADER_SIZE:])
        return cls(
            type=data[0],
            transaction_id=int.from_bytes(data[1:_HEADER_SIZE], "big"),
            client_id=found.duid(OptionCode.CLIENT_ID),
            server_id=found.duid(OptionCode.SERVER_ID),
            associations=tuple(map(_parse_ia_na, found.all(OptionCode.IA_NA))),
            requested=found.numbers(OptionCode.OPTION_REQUEST),
            preference=found.number(OptionCode.PREFERENCE, 1) or 0,
            elapsed=found.number(OptionCode.ELAPSED_TIME, 2),
            status=found.status(),
            rapid_commit=found.first(OptionCode.RAPID_COMMIT) is not None,
            dns_servers=found.addresses(OptionCode.DNS_SERVERS),
            domains=parse_domain_names(found.first(OptionCode.DOMAIN_LIST) or b""),
            refresh_time=found.number(OptionCode.INFORMATION_REFRESH_TIME, 4),
            sol_max_rt=found.number(OptionCode.SOL_MAX_RT, 4),
            inf_max_rt=found.number(OptionCode.INF_MAX_RT, 4),
        )

    def to_bytes(self) -> bytes:
        """Return the message as the payload of a UDP datagram."""
        pieces = [bytes((self.type,)), self.transaction_id.to_bytes(3, "big")]
        if self.client_id is not None:
            pieces.append(_option(OptionCode.CLIENT_ID, self.client_id))
        if self.server_id is not None:
            pieces.append(_option(OptionCode.SERVER_ID, self.server_id))
        pieces += [association.to_bytes() for association in self.associations]
        if self.requested:
            pieces.append(_option(OptionCode.OPTION_REQUEST, b"".join(n.to_bytes(2, "big") for n in self.requested)))
        if self.preference:
            pieces.append(_option(OptionCode.PREFERENCE, bytes((self.preference,))))
        if self.elapsed is not None:
            pieces.append(_option(OptionCode.ELAPSED_TIME, self.elapsed.to_bytes(2, "big")))
        pieces.append(_status_to_bytes(self.status))
        if self.rapid_commit:
            pieces.append(_option(OptionCode.RAPID_COMMIT, b""))
        if self.dns_servers:
            pieces.append(_option(OptionCode.DNS_SERVERS, b"".join(server.packed for server in self.dns_servers)))
        if self.domains:
            pieces.append(_option(OptionCode.DOMAIN_LIST, domain_names_to_bytes(self.domains)))
        times = {
            OptionCode.INFORMATION_REFRESH_TIME: self.refresh_time,
            OptionCode.SOL_MAX_RT: self.sol_max_rt,
            OptionCode.INF_MAX_RT: self.inf_max_rt,
        }
        pieces += [_option(code, seconds.to_bytes(4, "big")) for code, seconds in times.items() if seconds is not None]
        return b"".join(pieces)


def _option(code: int, body: bytes) -> bytes:
    return _OPTION.pack(code, len(body)) + body


def _status_to_bytes(status: int) -> bytes:
    return _option(OptionCode.STATUS_CODE, status.to_bytes(2, "big")) if status else b""


def _split_options(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(data):
        if offset + _OPTION.size > len(data):
            raise RemoteProtocolError("DHCPv6 option without a header", layer="dhcpv6")
        code, length = _OPTION.unpack_from(data, offset)
        offset += _OPTION.size
        if offset + length > len(data):
            raise RemoteProtocolError(f"DHCPv6 option {code} goes beyond the message", layer="dhcpv6")
        yield code, data[offset : offset + length]
        offset += length


class _Options:
    """The options of a message or of another option; the first of a kind counts."""

    def __init__(self, data: bytes) -> None:
        self._found = list(_split_options(data))

    def all(self, code: OptionCode) -> list[bytes]:
        return [body for found, body in self._found if found == code]

    def first(self, code: OptionCode) -> bytes | None:
        return next((body for found, body in self._found if found == code), None)

    def number(self, code: OptionCode, size: int) -> int | None:
        body = self.first(code)
        return int.from_bytes(body, "big") if body is not None and len(body) == size else None

    def numbers(self, code: OptionCode) -> tuple[int, ...]:
        body = self.first(code) or b""
        return tuple(int.from_bytes(body[offset : offset + 2], "big") for offset in range(0, len(body) - 1, 2))

    def duid(self, code: OptionCode) -> bytes | None:
        body = self.first(code)
        if body is not None and not 3 <= len(body) <= MAX_DUID:
            raise RemoteProtocolError(f"a DHCPv6 identifier of {len(body)} octets", layer="dhcpv6")
        return body

    def addresses(self, code: OptionCode) -> tuple[IPv6Address, ...]:
        body = self.first(code) or b""
        return tuple(IPv6Address(body[offset : offset + 16]) for offset in range(0, len(body) - 15, 16))

    def status(self) -> int:
        body = self.first(OptionCode.STATUS_CODE)
        return int.from_bytes(body[:2], "big") if body is not None and len(body) >= 2 else StatusCode.SUCCESS


def _parse_ia_na(body: bytes) -> IaNa:
    if len(body) < _IA_NA.size:
        raise RemoteProtocolError(f"DHCPv6 IA_NA of {len(body)} octets", layer="dhcpv6")
    iaid, t1, t2 = _IA_NA.unpack_from(body)
    found = _Options(body[_IA_NA.size :])
    addresses = tuple(map(_parse_ia_address, found.all(OptionCode.IA_ADDRESS)))
    return IaNa(iaid, t1, t2, addresses, found.status())


def _parse_ia_address(body: bytes) -> IaAddress:
    if len(body) < _IA_ADDRESS.size:
        raise RemoteProtocolError(f"DHCPv6 address of {len(body)} octets", layer="dhcpv6")
    packed, preferred, valid = _IA_ADDRESS.unpack_from(body)
    return IaAddress(IPv6Address(packed), preferred, valid, _Options(body[_IA_ADDRESS.size :]).status())
