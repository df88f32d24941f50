from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.app import values
from sstpsocks.app.values import Server
from sstpsocks.ppp.auth import AuthMethod


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("vpn.example.org", Server("vpn.example.org", None)),
        ("VPN.Example.org.:4433", Server("vpn.example.org", 4433)),
        ("192.0.2.1:443", Server("192.0.2.1", 443)),
        ("[2001:DB8::1]:8443", Server("2001:db8::1", 8443)),
        ("2001:db8::1", Server("2001:db8::1", None)),
        ("sstp://alice@vpn.example.org", Server("vpn.example.org", None, "alice")),
        ("SSTP://CORP%5Calice@vpn.example.org:444/", Server("vpn.example.org", 444, "CORP\\alice")),
        ("sstp://alice@corp.example@[2001:db8::1]:444", Server("2001:db8::1", 444, "alice@corp.example")),
        ("bücher.example", Server("xn--bcher-kva.example", None)),
        ("my_server.example", Server("my_server.example", None)),
    ],
)
def test_servers_are_understood(text: str, server: Server) -> None:
    assert values.parse_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://vpn.example.org",
        "vpn.example.org:0",
        "vpn.example.org:65536",
        "vpn.example.org:٤٤٣",
        "vpn.example.org:",
        "vpn example",
        "-vpn.example.org",
        "[2001:db8::1",
        "[2001:db8::1]443",
        "1:2:3",
        "[vpn.example.org]:443",
        "sstp://vpn.example.org/path",
        "alice@vpn.example.org",
        "a" * 64 + ".example",
        ".".join(["a" * 50] * 6),
        "xn--\u00fc.example",
    ],
)
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|is empty|has more|too many colons|names a user"):
        values.parse_server(text)


@pytest.mark.parametrize("text", ["sstp://alice:hunter2@vpn.example.org", "alice:hunter2@vpn.example.org:443"])
def test_a_password_in_the_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(values.PasswordInServer) as caught:
        values.parse_server(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1080", ("127.0.0.1", 1080)),
        ("0", ("127.0.0.1", 0)),
        (":1081", ("127.0.0.1", 1081)),
        ("[::1]:1080", ("::1", 1080)),
        ("localhost:1080", ("localhost", 1080)),
        ("*:1080", (str(IPv4Address(0)), 1080)),
        ("10.0.0.5:9", ("10.0.0.5", 9)),
    ],
)
def test_listen_addresses_are_understood(text: str, expected: tuple[str, int]) -> None:
    assert values.parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "localhost", "::1", "70000", "127.0.0.1:-1", "host:port"])
def test_what_is_no_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        values.parse_listen(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("db.localhost", True),
        (str(IPv4Address(0)), False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
    ],
)
def test_only_loopback_counts_as_local(host: str, loopback: bool) -> None:
    assert values.is_loopback(host) is loopback


def test_pins_may_have_colons_and_a_prefix() -> None:
    digest = bytes(range(32))
    assert values.parse_pin(digest.hex()) == digest
    assert values.parse_pin("SHA256:" + digest.hex(":").upper()) == digest
    for wrong in ("", "00" * 31, "00" * 33, "zz" * 32, "sha1:" + "00" * 20):
        with pytest.raises(ValueError, match="64 hexadecimal digits"):
            values.parse_pin(wrong)


def test_methods_keep_the_users_order() -> None:
    assert values.parse_methods(("pap", "MSCHAPv2", "pap")) == (AuthMethod.PAP, AuthMethod.MSCHAPV2)
    assert values.parse_methods(("EAP-MSCHAPv2",)) == (AuthMethod.EAP_MSCHAPV2,)
    for old in ("mschap", "mschapv1"):
        with pytest.raises(ValueError, match="broken and not supported; there are pap, chap, mschapv2"):
            values.parse_methods(("mschapv2", old))
    with pytest.raises(ValueError, match="no method to log in"):
        values.parse_methods(("kerberos",))
    with pytest.raises(ValueError, match="names no method"):
        values.parse_methods(())
