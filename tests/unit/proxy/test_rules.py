from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from sstpsocks.errors import DeniedByRule, NameNotFound
from sstpsocks.proxy.rules import denied_reason, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.0.0.1", IPv4Address("10.0.0.1")),
        ("10.0.0.1.", IPv4Address("10.0.0.1")),
        ("255.255.255.254", IPv4Address("255.255.255.254")),
        ("fd00::1", IPv6Address("fd00::1")),
        ("[fd00::1]", IPv6Address("fd00::1")),
        ("::ffff:10.0.0.1", IPv4Address("10.0.0.1")),
        ("Web.Test", "web.test"),
        ("1.2.3.4.test", "1.2.3.4.test"),
        ("10-0-0-1", "10-0-0-1"),
        ("3com", "3com"),
        ("0xyz", "0xyz"),
        ("localhost.test", "localhost.test"),
    ],
)
def test_what_a_text_names(text: str, target: object) -> None:
    assert parse_target(text) == target


DENIED = [
    "127.0.0.1", "127.255.255.254", "0.1.2.3", "224.0.0.1", "239.255.255.250", "255.255.255.255",
    "0.0.0.0",  # noqa: S104  # denied
    "169.254.0.1", "169.254.169.254", "::1", "::", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.1.1",
    "::ffff:0.0.0.0", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "::ffff:0:127.0.0.1", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1",
    "64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100::", "64:ff9b:1:a9fe:a9:fe00::",  # RFC 8215, as /96 and as /48
    "2001:0:7f00:1::", "2001:0:a00:1:0:0:80ff:fffe",  # Teredo: the server, the client (its complement)
    "2001:db8::5efe:127.0.0.1", "fd00::200:5efe:169.254.169.254",  # ISATAP
    "fd00:ec2::254",
]  # fmt: skip


@pytest.mark.parametrize("text", DENIED)
def test_addresses_that_are_never_dialled(text: str) -> None:
    address = ip_address(text)
    assert denied_reason(address)
    with pytest.raises(DeniedByRule):
        parse_target(address)
    with pytest.raises(DeniedByRule):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "localhost", "LocalHost.", "a.localhost", "[::1]", "::1%lo", "fe80::1%eth0", "127.1", "127.0.1", "0x7f.1",
        "0X7F.0.0.1", "2130706433", "017700000001", "0x7f000001", "0", "0x0", "127.0.0.01", "0177.0.0.1",
        "１２７.0.0.1", "127。0。0。1", "ⓛocalhost", "4294967295", "0xa9fea9fe",
    ],
)  # fmt: skip
def test_other_ways_to_write_them_do_not_slip_past(text: str) -> None:
    with pytest.raises(DeniedByRule):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.1", "0x0a.0.0.1", "167772161", "10.0.0.256", "1.2.3.4.5", "web.123", "web.0x1f", "web.0x", "4294967296",
        "09.1", "", "[web.test]", "fd00::1::2", "10.0.0.1:80", "::ffff:1.2.3", "web test",
    ],
)  # fmt: skip
def test_what_is_neither_an_address_nor_a_name(text: str) -> None:
    with pytest.raises(NameNotFound):
        parse_target(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1", "192.168.1.1", "8.8.8.8", "1.0.0.0", "fd00::1", "2001:db8::1", "64:ff9b::a00:1",
        "64:ff9b:1::a00:1", "64:ff9b:1:a00:0:100::", "2002:a00:1::", "2001:0:a00:1::f5ff:fffe", "fd00::5efe:10.0.0.1",
        "fd00:ec2::253", "::ffff:0:10.0.0.1",
    ],
)  # fmt: skip
def test_ordinary_addresses_are_dialled(text: str) -> None:
    assert denied_reason(ip_address(text)) == ""
