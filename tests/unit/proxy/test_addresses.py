"""The order in which addresses are tried."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sstpsocks.proxy.addresses import dialling_order

IPV4 = "10.9.0.2"
GLOBAL = "2001:db8:1::2"
LOCAL = "fd00:1::2"


@pytest.mark.parametrize(
    ("own", "found", "tried"),
    [
        ((IPV4,), "10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
        # RFC 6724: IPv6 of global scope is preferred, if we have such an address.
        ((IPV4, GLOBAL), "10.0.0.1 2001:db8::1", "2001:db8::1 10.0.0.1"),
        ((IPV4,), "2001:db8::1 10.0.0.1", "10.0.0.1 2001:db8::1"),
        ((GLOBAL,), "10.0.0.1 2001:db8::1", "2001:db8::1 10.0.0.1"),
        # A unique local address and a global one do not match.
        ((IPV4, LOCAL), "2001:db8::1 10.0.0.1", "10.0.0.1 2001:db8::1"),
        # Between matching ones the default table puts unique local addresses below IPv4.
        ((IPV4, LOCAL), "fd00::1 10.0.0.1", "10.0.0.1 fd00::1"),
        ((IPV4, GLOBAL, LOCAL), "fd00::1 2001:db8::1", "2001:db8::1 fd00::1"),
        # 6to4 and Teredo last.
        ((IPV4, GLOBAL), "2002:a00::1 2001::1 2001:db8::1", "2001:db8::1 2002:a00::1 2001::1"),
        # The families take turns, and within one the order of the answer stays.
        (
            (IPV4, GLOBAL),
            "10.0.0.1 10.0.0.2 10.0.0.3 2001:db8::9 2001:db8::1",
            "2001:db8::9 10.0.0.1 2001:db8::1 10.0.0.2 10.0.0.3",
        ),
        ((IPV4, GLOBAL), "10.0.0.1 10.0.0.1 2001:db8::1", "2001:db8::1 10.0.0.1"),
        ((IPV4,), "", ""),
    ],
)
def test_order(own: tuple[str, ...], found: str, tried: str) -> None:
    order = dialling_order(map(ip_address, found.split()), map(ip_address, own))
    assert [str(address) for address in order] == tried.split()
