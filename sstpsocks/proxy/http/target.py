"""What a request is for: authority-form, absolute-form and origin-form (RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from .head import MessageError

# RFC 3986 section 3.2.2 without percent-encoding, which no DNS name needs; user information is left out of a target
# (RFC 9110 section 4.2.4: "its presence" is "an error").
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=]+)(?::([0-9]*))?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?#]*)([^#]*)")

HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Authority:
    """A host and a port."""

    host: str
    """A name, or an address, IPv6 without brackets."""
    port: int
    """1 to 65535."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def host_field(self) -> bytes:
        """Return the Host field's value: the port only when it is not that of http."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (host if self.port == HTTP_PORT else f"{host}:{self.port}").encode("ascii")

    @property
    def is_loopback(self) -> bool:
        """Whether it is a name or an address of this machine's own loopback, as a browser writes it."""
        if self.host.lower() == "localhost":
            return True
        address = self._address
        return address is not None and address.is_loopback

    def is_address(self, address: str) -> bool:
        """Whether it is this address, and no name that may lead there."""
        return self._address is not None and str(self._address) == address

    @property
    def _address(self) -> IPv4Address | IPv6Address | None:
        try:
            return IPv6Address(self.host) if ":" in self.host else IPv4Address(self.host)
        except ValueError:
            return None


def parse_authority(text: bytes, default_port: int | None = None) -> Authority:
    """Read host and port; without a ``default_port`` the port must be there. Raises MessageError."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise MessageError("the target is no host name or address with a port")
    host = match[1].decode("ascii")
    digits = match[2] or b""
    if not digits and default_port is None:
        raise MessageError("the target has no port")
    port = int(digits) if digits and len(digits) < 10 else 0 if digits else default_port or 0
    if not 0 < port < 65536:
        raise MessageError("the target's port is not between 1 and 65535")
    if host.startswith("["):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except ValueError:
            raise MessageError("the target in brackets is no IPv6 address") from None
    return Authority(host, port)


def split_absolute(target: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return scheme (lower case), authority, and path with query of an absolute-form target, None for another form."""
    match = _ABSOLUTE.fullmatch(target)
    return None if match is None else (match[1].lower(), match[2], match[3])
