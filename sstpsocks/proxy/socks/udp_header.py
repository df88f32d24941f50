"""The header of datagrams between a client and the relay (RFC 1928 section 7), without IO."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ...errors import RemoteProtocolError
from ...tunnel.network import IPAddress
from .machine import AddressType

_FIXED = 4  # RSV, FRAG, ATYP
_LENGTHS = {AddressType.IPV4: 4, AddressType.IPV6: 16}


@dataclass(frozen=True, slots=True)
class RelayedDatagram:
    """A datagram with where it goes or, towards the client, where it came from."""

    host: str | IPAddress
    """A name as the client wrote it, of 1 to 255 octets in UTF-8, or an address."""
    port: int
    payload: bytes
    fragment: int = 0
    """0 for one that stands alone; the rest belongs to fragments, which RFC 1928 leaves to choice."""

    @classmethod
    def parse(cls, data: bytes) -> RelayedDatagram:
        """Read RSV, FRAG, ATYP, DST.ADDR, DST.PORT and DATA; RSV is not looked at. Raises RemoteProtocolError."""
        if len(data) <= _FIXED:
            raise RemoteProtocolError(f"a datagram of {len(data)} octets has no address", layer="socks")
        fragment, address_type = data[2], data[3]
        start = _FIXED
        if address_type == AddressType.DOMAIN_NAME:
            start, length = _FIXED + 1, data[_FIXED]
        elif address_type in _LENGTHS:
            length = _LENGTHS[AddressType(address_type)]
        else:
            raise RemoteProtocolError(f"unknown address type {address_type} in a datagram", layer="socks")
        end = start + length
        if len(data) < end + 2 or not length:
            raise RemoteProtocolError("a datagram ends within its address", layer="socks")
        return cls(
            _host(address_type, data[start:end]), int.from_bytes(data[end : end + 2], "big"), data[end + 2 :], fragment
        )

    def to_bytes(self) -> bytes:
        """Return header and payload."""
        if isinstance(self.host, str):
            name = self.host.encode()
            address = bytes((AddressType.DOMAIN_NAME, len(name))) + name
        else:
            kind = AddressType.IPV4 if self.host.version == 4 else AddressType.IPV6
            address = bytes((kind,)) + self.host.packed
        return b"".join((bytes((0, 0, self.fragment)), address, self.port.to_bytes(2, "big"), self.payload))


def _host(address_type: int, packed: bytes) -> str | IPAddress:
    if address_type == AddressType.IPV4:
        return IPv4Address(packed)
    if address_type == AddressType.IPV6:
        return IPv6Address(packed)
    try:
        return packed.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError("the host name of a datagram is not UTF-8", layer="socks") from None
