from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from socksio import socks5

from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.proxy.socks.conversation import ConnectRequested, Refused, State
from sstpsocks.proxy.socks.machine import SocksMachine
from sstpsocks.proxy.users import Users

HELLO = b"\x05\x01\x00"
HELLO_PASSWORD = b"\x05\x02\x00\x02"
PASSWORD = b"\x01\x05alice\x06secret"
CONNECT_IPV4 = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"
CREDENTIALS = ("alice", "secret")
BOUND = (IPv4Address("10.9.0.2"), 40000)


def ready(request: bytes = CONNECT_IPV4) -> SocksMachine:
    """A machine that got a greeting and a request."""
    machine = SocksMachine()
    machine.receive_data(HELLO)
    assert machine.data_to_send() == b"\x05\x00"
    machine.receive_data(request)
    return machine


# The way to a connection


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (b"\x01\x0a\x00\x00\x01", IPv4Address("10.0.0.1")),
        (b"\x04" + bytes(15) + b"\x07", IPv6Address("::7")),
        (b"\x03\x08web.test", "web.test"),
        (b"\x03\x04b\xc3\xbcc", "büc"),
        (b"\x03\xff" + b"a" * 255, "a" * 255),
    ],
)
def test_each_type_of_address(address: bytes, host: object) -> None:
    machine = ready(b"\x05\x01\x00" + address + b"\x01\xbb")
    assert machine.next_event() == ConnectRequested(host, 443)  # type: ignore[arg-type]  # parametrized
    assert machine.next_event() is None
    assert machine.state is State.AWAITING_REPLY
    assert machine.data_to_send() == b""


def test_success_tells_the_tunnels_address_and_port() -> None:
    machine = ready()
    machine.reply(0, BOUND)
    assert machine.data_to_send() == b"\x05\x00\x00\x01\x0a\x09\x00\x02\x9c\x40"
    assert machine.state is State.CONNECTED


def test_success_over_ipv6() -> None:
    machine = ready()
    machine.reply(0, (IPv6Address("fd00::1"), 1))
    assert machine.data_to_send() == b"\x05\x00\x00\x04\xfd" + bytes(14) + b"\x01\x00\x01"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6])
def test_each_failure_has_its_reply(code: int) -> None:
    machine = ready()
    machine.reply(code)
    assert machine.data_to_send() == bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0))
    assert machine.state is State.REFUSED
    with pytest.raises(LocalProtocolError):
        machine.reply(code)


def test_a_reply_before_a_request_is_our_error() -> None:
    with pytest.raises(LocalProtocolError):
        SocksMachine().reply(0, BOUND)


def test_everything_one_byte_at_a_time() -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    sent = b""
    for byte in HELLO_PASSWORD + PASSWORD + CONNECT_IPV4 + b"early":
        machine.receive_data(bytes((byte,)))
        sent += machine.data_to_send()
    assert sent == b"\x05\x02\x01\x00"
    assert machine.next_event() == ConnectRequested(IPv4Address("10.0.0.1"), 80)
    assert machine.take_early_data() == b"early"


def test_everything_at_once() -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    machine.receive_data(HELLO_PASSWORD + PASSWORD + CONNECT_IPV4 + b"early")
    assert machine.data_to_send() == b"\x05\x02\x01\x00"
    assert machine.next_event() == ConnectRequested(IPv4Address("10.0.0.1"), 80)
    assert machine.early_data_size == 5
    machine.receive_data(b" data")
    machine.receive_data(b"")
    machine.reply(0, BOUND)
    assert machine.take_early_data() == b"early data"
    assert machine.take_early_data() == b""
    assert machine.early_data_size == 0


# Methods


@pytest.mark.parametrize("methods", [b"", b"\x02", b"\x01\x03\x80"])
def test_without_credentials_a_client_must_offer_none(methods: bytes) -> None:
    machine = SocksMachine()
    machine.receive_data(bytes((5, len(methods))) + methods + CONNECT_IPV4)
    assert machine.data_to_send() == b"\x05\xff"
    event = machine.next_event()
    assert isinstance(event, Refused)
    assert "no method" in event.reason
    machine.receive_data(b"whatever comes then")
    machine.receive_data(b"")
    assert machine.next_event() is None
    assert machine.take_early_data() == b""


@pytest.mark.parametrize("methods", [b"", b"\x00", b"\x00\x01"])
def test_with_credentials_a_client_must_offer_a_password(methods: bytes) -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    machine.receive_data(bytes((5, len(methods))) + methods)
    assert machine.data_to_send() == b"\x05\xff"
    assert isinstance(machine.next_event(), Refused)


def test_the_fitting_method_is_found_anywhere() -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    machine.receive_data(b"\x05\xff" + bytes(range(3, 3 + 252)) + b"\x00\x01\x02")
    assert machine.data_to_send() == b"\x05\x02"
    assert machine.state is State.PASSWORD


@pytest.mark.parametrize(
    "message",
    [
        b"\x01\x05alice\x06Secret",
        b"\x01\x05Alice\x06secret",
        b"\x01\x05alice\x00",
        b"\x01\x00\x06secret",
        b"\x01\x00\x00",
        b"\x01\x06alices\x05ecret",
        b"\x01\x05alice\x07secret!",
        b"\x01\x05\xff\xfe\xfd\xfc\xfb\x06secret",
    ],
)
def test_a_wrong_password_is_told_and_ends_it(message: bytes) -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    machine.receive_data(HELLO_PASSWORD + message + CONNECT_IPV4)
    assert machine.data_to_send() == b"\x05\x02\x01\x01"
    assert machine.next_event() == Refused("wrong user name or password")
    assert machine.next_event() is None


def test_long_credentials_in_other_scripts() -> None:
    name, password = "ü" * 127, "日" * 85
    machine = SocksMachine(Users([(name, password)]).check)
    message = b"\x01" + bytes((254,)) + name.encode() + bytes((255,)) + password.encode()
    machine.receive_data(HELLO_PASSWORD + message)
    assert machine.data_to_send() == b"\x05\x02\x01\x00"
    assert machine.state is State.REQUEST


def test_secrets_do_not_show() -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    machine.receive_data(HELLO_PASSWORD)
    assert repr(machine) == "<SocksMachine password>"


# What we do not offer


@pytest.mark.parametrize("command", [0, 4, 255])
@pytest.mark.parametrize("address", [b"\x01" + bytes(4), b"\x04" + bytes(16), b"\x03\x04name"])
def test_other_commands_are_answered_07(command: int, address: bytes) -> None:
    machine = ready(bytes((5, command, 0)) + address + b"\x00\x50")
    assert machine.data_to_send() == b"\x05\x07\x00\x01" + bytes(6)
    assert isinstance(machine.next_event(), Refused)


@pytest.mark.parametrize("address_type", [0, 2, 5, 255])
def test_other_types_of_address_are_answered_08(address_type: int) -> None:
    machine = ready(bytes((5, 1, 0, address_type)) + b"whatever")
    assert machine.data_to_send() == b"\x05\x08\x00\x01" + bytes(6)
    assert isinstance(machine.next_event(), Refused)


def test_the_reserved_octet_is_not_looked_at() -> None:
    machine = ready(b"\x05\x01\x07\x01\x0a\x00\x00\x01\x00\x50")
    assert isinstance(machine.next_event(), ConnectRequested)


# Clients that break the rules


@pytest.mark.parametrize(
    ("first", "says"),
    [(b"\x16\x03\x01", "first byte is 22"), (b"\x00", "first byte is 0")],
)
def test_another_protocol_gets_no_answer(first: bytes, says: str) -> None:
    machine = SocksMachine()
    with pytest.raises(RemoteProtocolError, match=says) as caught:
        machine.receive_data(first)
    assert caught.value.layer == "socks"
    assert machine.data_to_send() == b""
    with pytest.raises(RemoteProtocolError, match=says):
        machine.receive_data(HELLO)
    assert machine.state is State.ERROR


@pytest.mark.parametrize(
    "request_", [b"\x04", b"\x05\x01\x00\x03\x00\x00\x50", b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50"]
)
def test_malformed_requests_are_answered_01(request_: bytes) -> None:
    machine = SocksMachine()
    machine.receive_data(HELLO)
    machine.data_to_send()
    with pytest.raises(RemoteProtocolError):
        machine.receive_data(request_)
    assert machine.data_to_send() == b"\x05\x01\x00\x01" + bytes(6)
    assert machine.next_event() is None


def test_a_password_message_of_another_version() -> None:
    machine = SocksMachine(Users([CREDENTIALS]).check)
    with pytest.raises(RemoteProtocolError, match="version 5 of the password"):
        machine.receive_data(HELLO_PASSWORD + b"\x05")


@pytest.mark.parametrize("before", [b"", b"\x05", HELLO, HELLO + b"\x05\x01\x00\x01\x0a"])
def test_an_end_before_the_request(before: bytes) -> None:
    machine = SocksMachine()
    if before:
        machine.receive_data(before)
    with pytest.raises(RemoteProtocolError, match="ended the connection"):
        machine.receive_data(b"")


# Against another implementation


@pytest.mark.parametrize("host", ["10.0.0.1", "fd00::1", "web.test"])
@pytest.mark.parametrize("with_password", [False, True])
def test_socksio_gets_through(host: str, with_password: bool) -> None:
    client = socks5.SOCKS5Connection()
    machine = SocksMachine(Users([CREDENTIALS]).check if with_password else None)

    def exchange() -> object:
        machine.receive_data(client.data_to_send())
        return client.receive_data(machine.data_to_send())

    method = socks5.SOCKS5AuthMethod.USERNAME_PASSWORD if with_password else socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED
    client.send(socks5.SOCKS5AuthMethodsRequest([method]))
    assert exchange() == socks5.SOCKS5AuthReply(method)
    if with_password:
        client.send(socks5.SOCKS5UsernamePasswordRequest(b"alice", b"secret"))
        assert exchange() == socks5.SOCKS5UsernamePasswordReply(success=True)
    client.send(socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (host, 80)))
    machine.receive_data(client.data_to_send())
    event = machine.next_event()
    assert isinstance(event, ConnectRequested)
    assert (str(event.host), event.port) == (host, 80)
    machine.reply(0, BOUND)
    reply = client.receive_data(machine.data_to_send())
    assert isinstance(reply, socks5.SOCKS5Reply)
    assert reply.reply_code is socks5.SOCKS5ReplyCode.SUCCEEDED
    assert (reply.addr, reply.port) == ("10.9.0.2", 40000)
