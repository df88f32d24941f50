"""Lists of domain names as router advertisements (RFC 8106 section 5.2) and DHCPv6 (RFC 8415 section 10) carry them."""

from __future__ import annotations

import string
from collections.abc import Iterable

from ...errors import RemoteProtocolError

MAX_LABEL = 63  # RFC 1035 section 2.3.4
MAX_NAME = 255  # RFC 1035 section 2.3.4: octets on the wire, lengths and the final zero included
_LETTERS = frozenset((string.ascii_letters + string.digits + "-_").encode())


def parse_domain_names(data: bytes) -> tuple[str, ...]:
    """Read names one behind the other, as "example.com" in lower case; zero octets between and behind them are padding.

    Names that cannot be those of hosts are left out: what a peer says ends up in look-ups and logs. Raises
    RemoteProtocolError when a length does not fit; compression is not allowed here.
    """
    names: list[str] = []
    offset = 0
    while offset < len(data):
        labels, offset = _parse_name(data, offset)
        if labels and all(_LETTERS.issuperset(label) for label in labels):
            names.append(b".".join(labels).decode("ascii").lower())
    return tuple(dict.fromkeys(names))


def _parse_name(data: bytes, start: int) -> tuple[list[bytes], int]:
    labels: list[bytes] = []
    offset = start
    while True:
        if offset >= len(data):
            raise RemoteProtocolError("a domain name without an end", layer="ipv6")
        length = data[offset]
        offset += 1
        if length == 0:
            break
        if length > MAX_LABEL or offset + length > len(data):
            raise RemoteProtocolError(f"a label of {length} octets in a domain name", layer="ipv6")
        labels.append(data[offset : offset + length])
        offset += length
    if offset - start > MAX_NAME:
        raise RemoteProtocolError(f"a domain name of {offset - start} octets", layer="ipv6")
    return labels, offset


def domain_names_to_bytes(names: Iterable[str]) -> bytes:
    """Return names one behind the other. Raises ValueError for what is no name."""
    written = bytearray()
    for name in names:
        start = len(written)
        for label in name.encode("ascii").split(b"."):
            if not 0 < len(label) <= MAX_LABEL:
                raise ValueError(f"no domain name: {name!r}")
            written.append(len(label))
            written += label
        written.append(0)
        if len(written) - start > MAX_NAME:
            raise ValueError(f"no domain name: {name!r}")
    return bytes(written)
