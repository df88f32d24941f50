"""The machines of SOCKS5, SOCKS4, SOCKS4a and HTTP CONNECT against two other implementations of the client's side.

socksio and python-socks write the requests and read the answers; cut anywhere, they must mean the same to our machines,
and what we answer must mean the same to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_socks._protocols import http as python_http
from python_socks._protocols import socks4 as python_socks4
from python_socks._protocols import socks5 as python_socks5
from python_socks._protocols.errors import ReplyError
from socksio import socks4, socks5

from sstpsocks.errors import ConnectionRefused, DialError, HostUnreachable, NameNotFound
from sstpsocks.proxy.http import machine as http
from sstpsocks.proxy.http.answers import answer_to_dial_error
from sstpsocks.proxy.http.conversation import ConnectConversation
from sstpsocks.proxy.socks.conversation import ConnectRequested, Refused
from sstpsocks.proxy.socks.machine import SocksMachine
from sstpsocks.proxy.socks.socks4 import Socks4Machine
from sstpsocks.proxy.users import Users
from sstpsocks.tunnel.network import IPAddress

LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20).filter(
    # No address, and nothing that IDNA would change.
    lambda label: label[0].isalpha() and not label.endswith("-") and "--" not in label
)
names = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
# SOCKS4 announces a name by an address of 0.0.0.x.
ipv4 = st.ip_addresses(v=4).filter(lambda address: int(address) > 255)
ports = st.integers(1, 65535)
texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=":"), min_size=1, max_size=60)
cuts = st.lists(st.integers(1, 40), max_size=12)
early = st.binary(max_size=20)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for size in sizes:
        found.append(data[:size])
        data = data[size:]
    return [piece for piece in (*found, data) if piece]


@dataclass
class Login:
    name: str
    password: str


logins = st.none() | st.builds(Login, texts, texts)


@settings(deadline=None, max_examples=200)
@given(names | st.ip_addresses(), ports, logins, cuts, early, st.ip_addresses(), ports)
def test_socks5_means_the_same_to_both_clients(
    host: str | IPAddress, port: int, login: Login | None, sizes: list[int], data: bytes, bound: IPAddress, at: int
) -> None:
    users = Users([(login.name, login.password)]).check if login else None
    ours, theirs = SocksMachine(users), SocksMachine(users)
    by_socksio, by_python = socks5.SOCKS5Connection(), python_socks5.Connection()

    def give(machine: SocksMachine, sent: bytes) -> bytes:
        for piece in pieces(sent, sizes):
            machine.receive_data(piece)
        return machine.data_to_send()

    method = socks5.SOCKS5AuthMethod.USERNAME_PASSWORD if login else socks5.SOCKS5AuthMethod.NO_AUTH_REQUIRED
    by_socksio.send(socks5.SOCKS5AuthMethodsRequest([method]))
    assert by_socksio.receive_data(give(ours, by_socksio.data_to_send())) == socks5.SOCKS5AuthReply(method)
    name, password = (login.name, login.password) if login else (None, None)
    chosen = by_python.receive(give(theirs, by_python.send(python_socks5.AuthMethodsRequest(name, password))))
    assert isinstance(chosen, python_socks5.AuthMethodReply)
    assert chosen.method == method.value[0]
    if login:
        by_socksio.send(socks5.SOCKS5UsernamePasswordRequest(login.name.encode(), login.password.encode()))
        assert by_socksio.receive_data(give(ours, by_socksio.data_to_send())) == socks5.SOCKS5UsernamePasswordReply(
            success=True
        )
        by_python.receive(give(theirs, by_python.send(python_socks5.AuthRequest(login.name, login.password))))
    by_socksio.send(socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, (str(host), port)))
    assert give(ours, by_socksio.data_to_send() + data) == b""
    assert give(theirs, by_python.send(python_socks5.ConnectRequest(str(host), port)) + data) == b""
    for machine in (ours, theirs):
        assert machine.next_event() == ConnectRequested(host, port)
        assert machine.take_early_data() == data
        machine.reply(0, (bound, at))
    answer = by_socksio.receive_data(ours.data_to_send())
    assert isinstance(answer, socks5.SOCKS5Reply)
    assert (answer.reply_code, answer.port) == (socks5.SOCKS5ReplyCode.SUCCEEDED, at)
    assert answer.addr is not None
    assert ip_address(answer.addr) == bound  # it writes some addresses otherwise than Python
    reply = by_python.receive(theirs.data_to_send())
    assert isinstance(reply, python_socks5.ConnectReply)
    assert (ip_address(reply.bound_host), reply.bound_port) == (bound, at)


@pytest.mark.parametrize("code", range(1, 9))
def test_each_failure_of_socks5_means_the_same_to_both_clients(code: int) -> None:
    request = python_socks5.ConnectRequest("web.test", 80)
    machine = SocksMachine()
    machine.receive_data(b"\x05\x01\x00" + request.dumps())
    machine.data_to_send()
    machine.reply(code)
    wire = machine.data_to_send()
    assert socks5.SOCKS5Reply.loads(wire).reply_code.value == bytes((code,))
    with pytest.raises(ReplyError) as caught:
        python_socks5.ConnectReply.loads(wire)
    assert caught.value.error_code == code


@settings(deadline=None, max_examples=100)
@given(texts, texts, texts, cuts)
def test_a_wrong_password_is_refused_to_both_clients(name: str, password: str, wrong: str, sizes: list[int]) -> None:
    if wrong == password:
        return
    by_socksio = socks5.SOCKS5UsernamePasswordRequest(name.encode(), wrong.encode()).dumps()
    by_python = python_socks5.AuthRequest(name, wrong).dumps()
    assert by_socksio == by_python
    machine = SocksMachine(Users([(name, password)]).check)
    for piece in pieces(b"\x05\x01\x02" + by_python, sizes):
        machine.receive_data(piece)
    assert isinstance(machine.next_event(), Refused)
    wire = machine.data_to_send()[2:]
    assert not socks5.SOCKS5UsernamePasswordReply.loads(wire).success
    with pytest.raises(ReplyError):
        python_socks5.AuthReply.loads(wire)


@settings(deadline=None, max_examples=200)
@given(names | ipv4, ports, st.just("") | texts, cuts, early, st.ip_addresses(v=4), ports, st.booleans())
def test_socks4_and_4a_mean_the_same_to_both_clients(
    host: str | IPv4Address,
    port: int,
    user: str,
    sizes: list[int],
    data: bytes,
    bound: IPv4Address,
    at: int,
    refused: bool,
) -> None:
    peer = socks4.SOCKS4Connection(user_id=user.encode())
    kind = socks4.SOCKS4ARequest if isinstance(host, str) else socks4.SOCKS4Request
    peer.send(kind.from_address(socks4.SOCKS4Command.CONNECT, (str(host), port), user_id=user.encode()))
    for request in (peer.data_to_send(), python_socks4.ConnectRequest(str(host), port, user).dumps()):
        machine = Socks4Machine()
        for piece in pieces(request + data, sizes):
            machine.receive_data(piece)
        assert machine.next_event() == ConnectRequested(host, port)
        assert machine.take_early_data() == data
        assert machine.data_to_send() == b""
        machine.reply(5 if refused else 0, (bound, at))
        wire = machine.data_to_send()
        answer = socks4.SOCKS4Reply.loads(wire)
        if refused:
            assert answer.reply_code is socks4.SOCKS4ReplyCode.REQUEST_REJECTED_OR_FAILED
            with pytest.raises(ReplyError):
                python_socks4.ConnectReply.loads(wire)
        else:
            assert (answer.reply_code, answer.addr, answer.port) == (
                socks4.SOCKS4ReplyCode.REQUEST_GRANTED,
                str(bound),
                at,
            )
            reply = python_socks4.ConnectReply.loads(wire)
            assert (reply.host, reply.port) == (str(bound), at)


@settings(deadline=None, max_examples=200)
@given(names | st.ip_addresses(), ports, logins, cuts, early)
def test_http_connect_means_what_python_socks_asks(
    host: str | IPAddress, port: int, login: Login | None, sizes: list[int], data: bytes
) -> None:
    name, password = (login.name, login.password) if login else (None, None)
    request = python_http.ConnectRequest(str(host), port, name, password).dumps()
    machine = http.ProxyMachine(Users([(login.name, login.password)]).check if login else None)
    event = None
    for piece in pieces(request + data, sizes):
        machine.receive_data(piece)
        event = event or machine.next_event()
    assert isinstance(event, http.ConnectRequested)
    assert (event.authority.host, event.authority.port) == (str(host), port)
    assert machine.take_rest() == data
    conversation = ConnectConversation(b"")
    conversation.reply(0)
    assert python_http.ConnectReply.loads(conversation.data_to_send()).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConnectionRefused("refused"), 502), (HostUnreachable("unreachable"), 502), (NameNotFound("unknown"), 502)],
)
def test_each_failure_of_http_connect_is_read_by_python_socks(error: DialError, status: int) -> None:
    with pytest.raises(ReplyError) as caught:
        python_http.ConnectReply.loads(answer_to_dial_error(error).to_bytes())
    assert caught.value.error_code == status
