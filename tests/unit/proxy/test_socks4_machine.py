from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from sstpsocks.errors import LocalProtocolError, RemoteProtocolError
from sstpsocks.proxy.socks.conversation import BindRequested, ConnectRequested, Refused, State
from sstpsocks.proxy.socks.socks4 import MAX_NAME, MAX_USERID, Socks4Machine

ADDRESS = b"\x04\x01\x00\x50\x0a\x00\x00\x01alice\x00"
NAME = b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00web.test\x00"
REJECTED = b"\x00\x5b" + bytes(6)


@pytest.mark.parametrize(
    ("request_", "event"),
    [(ADDRESS, ConnectRequested(IPv4Address("10.0.0.1"), 80)), (NAME, ConnectRequested("web.test", 443))],
    ids=["SOCKS4", "SOCKS4a"],
)
def test_a_request_becomes_an_event_in_whatever_pieces_it_comes(request_: bytes, event: ConnectRequested) -> None:
    whole, pieces = Socks4Machine(), Socks4Machine()
    whole.receive_data(request_)
    for byte in request_:
        assert pieces.next_event() is None
        pieces.receive_data(bytes((byte,)))
    assert whole.next_event() == pieces.next_event() == event
    assert whole.next_event() is None
    assert whole.state is State.AWAITING_REPLY


def test_success_is_told_with_our_address_and_port() -> None:
    machine = Socks4Machine()
    machine.receive_data(ADDRESS + b"early")
    machine.reply(0, (IPv4Address("10.9.0.2"), 0x1234))
    assert machine.data_to_send() == b"\x00\x5a\x12\x34\x0a\x09\x00\x02"
    assert machine.early_data_size == 5
    assert machine.take_early_data() == b"early"
    assert machine.state is State.CONNECTED


def test_an_ipv6_address_of_ours_is_left_out_of_the_reply() -> None:
    machine = Socks4Machine()
    machine.receive_data(NAME)
    machine.reply(0, (IPv6Address("fd00::2"), 7))
    assert machine.data_to_send() == b"\x00\x5a\x00\x07" + bytes(4)


@pytest.mark.parametrize("code", range(1, 9))
def test_every_failure_is_rejected_the_same_way(code: int) -> None:
    machine = Socks4Machine()
    machine.receive_data(NAME + b"early")
    machine.reply(code)
    assert machine.data_to_send() == REJECTED
    assert machine.take_early_data() == b""
    assert machine.state is State.REFUSED


@pytest.mark.parametrize(
    ("request_", "event"),
    [
        (ADDRESS, BindRequested(IPv4Address("10.0.0.1"), 80)),
        (NAME, BindRequested("web.test", 443)),
        (b"\x04\x01\x00\x00" + bytes(5), BindRequested(IPv4Address(0), 0)),
    ],
    ids=["SOCKS4", "SOCKS4a", "anybody"],
)
def test_bind_is_answered_twice(request_: bytes, event: BindRequested) -> None:
    machine = Socks4Machine()
    machine.receive_data(b"\x04\x02" + request_[2:] + b"early")
    assert machine.next_event() == event
    machine.reply(0, (IPv4Address("10.8.0.2"), 40000))
    assert machine.data_to_send() == b"\x00\x5a\x9c\x40\x0a\x08\x00\x02"
    states = [machine.state]
    machine.reply(0, (IPv4Address("10.0.0.1"), 20))
    assert machine.data_to_send() == b"\x00\x5a\x00\x14\x0a\x00\x00\x01"
    assert [*states, machine.state] == [State.AWAITING_REPLY, State.CONNECTED]
    assert machine.take_early_data() == b"early"


def test_other_commands_are_refused_with_an_answer() -> None:
    machine = Socks4Machine()
    machine.receive_data(b"\x04\x03" + ADDRESS[2:])
    event = machine.next_event()
    assert isinstance(event, Refused)
    assert "command 3" in event.reason
    assert machine.data_to_send() == REJECTED
    machine.receive_data(b"more")  # is not looked at
    assert machine.data_to_send() == b""


def test_a_port_with_users_refuses_a_client_that_cannot_give_a_password() -> None:
    machine = Socks4Machine(users_required=True)
    machine.receive_data(ADDRESS)
    event = machine.next_event()
    assert isinstance(event, Refused)
    assert "use SOCKS5" in event.reason
    assert "alice" not in event.reason
    assert machine.data_to_send() == REJECTED


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x04\x01\x00\x50\x0a\x00\x00\x01" + b"u" * (MAX_USERID + 1), "a user ID of more than 255 octets"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"n" * (MAX_NAME + 1), "a host name of more than 255 octets"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "the host name is empty"),
        (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\xff\x00", "the host name is not UTF-8"),
        (b"\x06", "version 6 instead of 4"),
    ],
)
def test_what_breaks_the_rules_is_rejected(data: bytes, message: str) -> None:
    machine = Socks4Machine()
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=message):
            machine.receive_data(data)
    assert machine.data_to_send() == REJECTED
    assert machine.state is State.ERROR


def test_texts_of_the_greatest_length_pass() -> None:
    machine = Socks4Machine()
    machine.receive_data(b"\x04\x01\x00\x50\x00\x00\x00\x01" + b"u" * MAX_USERID + b"\x00" + b"n" * MAX_NAME + b"\x00")
    assert machine.next_event() == ConnectRequested("n" * MAX_NAME, 80)


def test_the_address_0_0_0_0_announces_no_name() -> None:
    machine = Socks4Machine()
    machine.receive_data(b"\x04\x01\x00\x50" + bytes(4) + b"\x00")
    assert machine.next_event() == ConnectRequested(IPv4Address(0), 80)


def test_an_end_before_the_request_is_a_mistake_and_behind_it_none() -> None:
    machine = Socks4Machine()
    machine.receive_data(ADDRESS[:-1])
    with pytest.raises(RemoteProtocolError, match="before it asked"):
        machine.receive_data(b"")
    machine = Socks4Machine()
    machine.receive_data(ADDRESS)
    machine.receive_data(b"")
    assert machine.state is State.AWAITING_REPLY
    assert repr(machine) == "<Socks4Machine awaiting reply>"


def test_a_reply_without_a_request_is_a_mistake_of_ours() -> None:
    with pytest.raises(LocalProtocolError, match="nothing to reply to"):
        Socks4Machine().reply(0)
