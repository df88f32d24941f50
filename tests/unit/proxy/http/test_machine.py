"""What the machine makes of requests that are in order."""

from __future__ import annotations

import base64

import pytest

from sstpsocks.errors import LocalProtocolError
from sstpsocks.proxy.http.forwarding import ForwardRequest
from sstpsocks.proxy.http.machine import (
    BodyReceived,
    ClientEnded,
    ConnectRequested,
    Event,
    PageRequested,
    ProxyMachine,
    Refused,
    RequestEnded,
)
from sstpsocks.proxy.http.target import Authority


def event_of(data: bytes, machine: ProxyMachine | None = None) -> Event | None:
    machine = machine or ProxyMachine()
    machine.receive_data(data)
    return machine.next_event()


def forwarded(data: bytes) -> bytes:
    """Return the head that the server gets."""
    event = event_of(data)
    assert isinstance(event, ForwardRequest)
    return event.to_bytes()


def refused(data: bytes, machine: ProxyMachine | None = None) -> int:
    event = event_of(data, machine)
    assert isinstance(event, Refused)
    return event.answer.status


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("web.test:443", "web.test", 443),
        ("10.0.0.1:22", "10.0.0.1", 22),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("web.test.:1", "web.test.", 1),
    ],
)
def test_connect(target: str, host: str, port: int) -> None:
    machine = ProxyMachine()
    event = event_of(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nearly".encode(), machine)
    assert event == ConnectRequested(Authority(host, port))
    assert str(Authority(host, port)) == target
    assert machine.take_rest() == b"early"
    assert machine.take_rest() == b""


def test_an_old_client_connects_without_a_host_field() -> None:
    assert event_of(b"CONNECT web.test:22 HTTP/1.0\r\n\r\n") == ConnectRequested(Authority("web.test", 22))


@pytest.mark.parametrize(
    "method", [b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"x!"]
)
def test_every_method_is_forwarded(method: bytes) -> None:
    sent = forwarded(method + b" http://web.test/a?b=c HTTP/1.1\r\nHost: web.test\r\n\r\n")
    assert sent == method + b" /a?b=c HTTP/1.1\r\nHost: web.test\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://web.test", b"/", b"web.test"),
        (b"HTTP://Web.test/x", b"/x", b"Web.test"),
        (b"http://web.test?q", b"/?q", b"web.test"),
        (b"http://web.test:80/", b"/", b"web.test"),
        (b"http://web.test:/", b"/", b"web.test"),
        (b"http://web.test:8080/", b"/", b"web.test:8080"),
        (b"http://[2001:db8::1]:8080/", b"/", b"[2001:db8::1]:8080"),
        (b"http://[2001:db8::1]/", b"/", b"[2001:db8::1]"),
    ],
)
def test_the_server_gets_path_and_host(target: bytes, path: bytes, host: bytes) -> None:
    sent = forwarded(b"GET " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n")
    assert sent == b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


def test_options_without_a_path_is_about_the_server() -> None:
    assert forwarded(b"OPTIONS http://web.test HTTP/1.1\r\nHost: web.test\r\n\r\n").startswith(
        b"OPTIONS * HTTP/1.1\r\n"
    )


def test_the_host_is_the_targets_whatever_the_field_says() -> None:
    sent = forwarded(b"GET http://web.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n")
    assert sent == b"GET / HTTP/1.1\r\nHost: web.test\r\n\r\n"


def test_fields_between_client_and_proxy_end_here() -> None:
    sent = forwarded(
        b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\nConnection: close, X-Mine\r\nKeep-Alive: timeout=5\r\n"
        b"X-Mine: 1\r\nTE: trailers\r\nUpgrade: x\r\nProxy-Connection: close\r\nProxy-Authorization: Basic YTpi\r\n"
        b"Accept: */*\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\n\r\n"
    )
    assert sent == (
        b"GET / HTTP/1.1\r\nHost: web.test\r\nAccept: */*\r\nCookie: a=b\r\nAuthorization: Basic YTpi\r\n\r\n"
    )


def test_a_listed_host_or_length_does_not_get_lost() -> None:
    """Connection may be used to take away what another reader counts on."""
    sent = forwarded(
        b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nConnection: host, content-length\r\n"
        b"Content-Length: 5\r\n\r\n"
    )
    assert sent == b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n\r\n"


def test_a_body_of_known_length() -> None:
    machine = ProxyMachine()
    event = event_of(b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nContent-Length: 8\r\n\r\nhel", machine)
    assert isinstance(event, ForwardRequest)
    assert event.length == 8
    assert machine.next_event() == BodyReceived(b"hel")
    assert machine.next_event() is None
    machine.receive_data(b"lo yoGET")
    assert machine.next_event() == BodyReceived(b"lo yo")
    assert machine.next_event() == RequestEnded(())
    assert machine.next_event() is None
    assert machine.buffered == 3


def test_a_body_in_chunks_with_trailers() -> None:
    machine = ProxyMachine()
    data = b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: Chunked\r\n\r\n"
    data += b"3;ext=1\r\nhel\r\n5\r\nlo yo\r\n0\r\nDigest: x\r\nContent-Length: 7\r\n\r\n"
    event = event_of(data, machine)
    assert isinstance(event, ForwardRequest)
    assert event.to_bytes() == b"POST / HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert machine.next_event() == BodyReceived(b"hello yo")
    assert machine.next_event() == RequestEnded(((b"Digest", b"x"),))


def test_the_next_request_waits_until_this_one_is_answered() -> None:
    machine = ProxyMachine()
    request = b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n"
    assert isinstance(event_of(request + b"\r\n" + request, machine), ForwardRequest)
    assert machine.next_event() is None
    machine.next_request()
    assert isinstance(machine.next_event(), ForwardRequest)
    machine.next_request()
    machine.receive_data(b"")
    assert machine.next_event() == ClientEnded()
    assert repr(machine) == "<ProxyMachine ended>"


def test_the_next_request_cannot_come_before_the_body_has_ended() -> None:
    machine = ProxyMachine()
    event_of(b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\nContent-Length: 8\r\n\r\n", machine)
    with pytest.raises(LocalProtocolError):
        machine.next_request()


@pytest.mark.parametrize(
    ("text", "keep_alive"),
    [
        (b"HTTP/1.1\r\nHost: w", True),
        (b"HTTP/1.1\r\nHost: w\r\nConnection: Close", False),
        (b"HTTP/1.1\r\nHost: w\r\nProxy-Connection: close", False),
        (b"HTTP/1.0", False),
        (b"HTTP/1.0\r\nConnection: keep-alive", True),
        (b"HTTP/1.0\r\nProxy-Connection: Keep-Alive", True),
    ],
)
def test_whether_the_client_goes_on(text: bytes, keep_alive: bool) -> None:
    event = event_of(b"GET http://w/ " + text + b"\r\n\r\n")
    assert isinstance(event, ForwardRequest)
    assert event.keep_alive is keep_alive


WEBSOCKET = (
    b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
)


def test_an_upgrade_is_asked_for() -> None:
    sent = forwarded(WEBSOCKET + b"Sec-WebSocket-Key: x\r\n\r\n")
    assert sent == (
        b"GET / HTTP/1.1\r\nHost: web.test\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n\r\n"
    )


@pytest.mark.parametrize("addition", [b"Upgrade: h2c\r\n", b"Content-Length: 5\r\n"])
def test_an_upgrade_that_is_not_passed_on(addition: bytes) -> None:
    assert b"pgrade" not in forwarded(WEBSOCKET + addition + b"\r\n")


# Expectations and limits


def test_an_expectation_of_an_old_client_ends_here() -> None:
    request = b"POST http://web.test/ HTTP/1.%d\r\nHost: web.test\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    assert b"Expect: 100-continue" in forwarded(request % 1)
    assert b"Expect" not in forwarded(request % 0)


def test_another_expectation_is_refused() -> None:
    assert refused(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\nExpect: miracles\r\n\r\n") == 417


def test_max_forwards_counts_down_and_ends_here() -> None:
    request = b"TRACE http://web.test/ HTTP/1.1\r\nHost: web.test\r\nMax-Forwards: %d\r\n\r\n"
    assert b"Max-Forwards: 2\r\n" in forwarded(request % 3)
    assert refused(request % 0) == 501


# Logging in


def with_login(login: bytes) -> bytes:
    return b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n" + login + b"\r\n"


def protected() -> ProxyMachine:
    return ProxyMachine(lambda username, password: (username, password) == (b"alice", b"se:cret"))


def basic(text: bytes) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(text) + b"\r\n"


def test_the_right_login_is_let_through() -> None:
    assert isinstance(event_of(with_login(basic(b"alice:se:cret")), protected()), ForwardRequest)
    assert isinstance(
        event_of(with_login(basic(b"alice:se:cret").replace(b"Basic", b"bASIC")), protected()), ForwardRequest
    )


@pytest.mark.parametrize(
    "login",
    [
        b"",
        basic(b"alice:wrong"),
        basic(b"alice"),
        basic(b""),
        b"Proxy-Authorization: Basic\r\n",
        b"Proxy-Authorization: Basic !!!!\r\n",
        b"Proxy-Authorization: Bearer x\r\n",
        basic(b"alice:se:cret") * 2,
        basic(b"alice:se:cret").replace(b"Proxy-", b""),
    ],
)
def test_any_other_login_is_asked_for(login: bytes) -> None:
    event = event_of(with_login(login), protected())
    assert isinstance(event, Refused)
    assert event.answer.status == 407
    assert b"Proxy-Authenticate: Basic realm=" in event.answer.to_bytes()
    assert event.keep_alive


def test_connect_needs_the_login_too() -> None:
    assert refused(b"CONNECT web.test:443 HTTP/1.1\r\nHost: web.test\r\n\r\n", protected()) == 407


# This port's own pages

PAGE = b"GET /proxy.pac HTTP/1.1\r\nHost: %b\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        (b"localhost:1080", "localhost:1080"),
        (b"127.0.0.1", "127.0.0.1"),
        (b"127.0.0.1:1080", "127.0.0.1:1080"),
        (b"[::1]:1080", "[::1]:1080"),
        (b"LOCALHOST", "localhost"),
    ],
)
def test_a_page_is_asked_for_under_a_name_of_the_loopback(host: bytes, asked: str) -> None:
    assert event_of(PAGE % host) == PageRequested("/proxy.pac", head_only=False, asked=asked)


@pytest.mark.parametrize(("own", "host"), [("192.0.2.7", b"192.0.2.7:1080"), ("fd00::7", b"[fd00:0::7]:1080")])
def test_a_page_is_asked_for_under_the_address_that_was_reached(own: str, host: bytes) -> None:
    assert isinstance(event_of(PAGE % host, ProxyMachine(own_address=own)), PageRequested)
    assert refused(PAGE % b"192.0.2.8:1080", ProxyMachine(own_address=own)) == 403
    assert refused(PAGE % b"own.evil.test:1080", ProxyMachine(own_address=own)) == 403


@pytest.mark.parametrize("host", [b"evil.test", b"10.0.0.1", b"localhost.evil.test", b"2130706433", b"127.1"])
def test_a_page_is_not_given_to_a_name_that_was_pointed_here(host: bytes) -> None:
    assert refused(PAGE % host) == 403


@pytest.mark.parametrize(
    "field", [b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Site: same-site", b"Origin: http://evil.test"]
)
def test_a_page_is_not_given_to_other_pages(field: bytes) -> None:
    assert refused(b"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n") == 403


def test_a_page_is_only_read() -> None:
    assert refused(b"POST /proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n") == 403
    assert event_of(b"HEAD /proxy.pac?x HTTP/1.1\r\nHost: localhost\r\n\r\n") == PageRequested(
        "/proxy.pac", head_only=True, asked="localhost"
    )
