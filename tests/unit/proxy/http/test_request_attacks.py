"""Requests that two readers could read in two ways, or that want to cost us much (RFC 9112 section 11).

Each is refused and its connection ended, so that nothing behind it is taken for a request.
"""

from __future__ import annotations

import pytest

from sstpsocks.proxy.http.body import MAX_CHUNK_EXTENSIONS, MAX_CHUNK_LINE, MAX_TRAILERS
from sstpsocks.proxy.http.forwarding import ForwardRequest
from sstpsocks.proxy.http.head import MAX_FIELDS, MAX_HEAD, MessageError
from sstpsocks.proxy.http.machine import BodyReceived, ProxyMachine, RequestEnded, State

SMUGGLED = b"GET http://inner.test/ HTTP/1.1\r\nHost: inner.test\r\n\r\n"


def drain(machine: ProxyMachine) -> None:
    while machine.next_event() is not None:
        pass


def refusal(data: bytes) -> int:
    """Give the machine ``data`` until it refuses; return the status the client is told."""
    machine = ProxyMachine()
    machine.receive_data(data)
    with pytest.raises(MessageError) as caught:
        drain(machine)
    assert machine.state is State.ERROR
    assert machine.buffered == 0
    with pytest.raises(MessageError):
        machine.next_event()
    return caught.value.status


def post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\n" + fields + b"\r\n" + body


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked\r\n", body)


# Which length counts


def test_cl_te_is_refused() -> None:
    body = b"0\r\n\r\n" + SMUGGLED
    assert refusal(post(b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(body), body)) == 400


def test_te_cl_is_refused() -> None:
    assert refusal(post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"5c\r\n" + SMUGGLED)) == 400


@pytest.mark.parametrize(
    "coding",
    [
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: chunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: \xa0chunked",
    ],
)
def test_te_te_with_a_disguised_coding_is_refused(coding: bytes) -> None:
    assert refusal(post(coding + b"\r\n", b"0\r\n\r\n")) == 501


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: chunked\x0c",
        b"X: X\nTransfer-Encoding: chunked",
        b"X: X\rTransfer-Encoding: chunked",
        b"Transfer-Encoding\r\n: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer\x00-Encoding: chunked",
        b"Transfer-Encoding: chunked\x00",
    ],
)
def test_te_te_with_a_disguised_field_is_refused(line: bytes) -> None:
    assert refusal(post(line + b"\r\nContent-Length: 5\r\n", b"0\r\n\r\n")) == 400


def test_te_in_http_1_0_is_refused() -> None:
    assert refusal(b"POST http://web.test/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400


def test_two_lengths_that_differ_are_refused() -> None:
    assert refusal(post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!")) == 400
    assert refusal(post(b"Content-Length: 5\r\nContent-Length: 05\r\n", b"hello")) == 400


def test_a_length_that_is_said_twice_is_passed_on_once() -> None:
    # RFC 9112 section 6.3: "replacing the duplicated field-values with a single valid Content-Length"
    machine = ProxyMachine()
    machine.receive_data(post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"))
    request = machine.next_event()
    assert isinstance(request, ForwardRequest)
    assert request.to_bytes() == b"POST / HTTP/1.1\r\nHost: web.test\r\nContent-Length: 5\r\n\r\n"
    assert machine.next_event() == BodyReceived(b"hello")


@pytest.mark.parametrize(
    "length", [b"5, 5", b"5,6", b"+5", b"-5", b"0x5", b"5 5", b"", b"5;", b"\xb2", b"9" * 19, b"5_0"]
)
def test_a_length_that_is_no_number_is_refused(length: bytes) -> None:
    assert refusal(post(b"Content-Length: " + length + b"\r\n", b"hello")) == 400


def test_connect_with_a_body_is_refused() -> None:
    connect = b"CONNECT web.test:443 HTTP/1.1\r\nHost: web.test:443\r\n"
    assert refusal(connect + b"Content-Length: 5\r\n\r\nhello") == 400
    assert refusal(connect + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 400


# Where a line ends


def test_a_bare_lf_is_refused() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\nHost: web.test\r\n\r\n") == 400
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\n\r\n") == 400


def test_a_head_that_ends_with_two_bare_lfs_is_refused_at_once() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\n\n") == 400


def test_a_bare_cr_is_refused() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\rHost: web.test\r\n\r\n") == 400
    assert refusal(post(b"X: a\rContent-Length: 5\r\n", b"hello")) == 400


def test_a_nul_is_refused() -> None:
    assert refusal(b"GET http://web.test/\0 HTTP/1.1\r\nHost: web.test\r\n\r\n") == 400
    assert refusal(post(b"X: a\0b\r\n")) == 400


def test_a_folded_line_is_refused() -> None:
    assert refusal(post(b"X: a\r\n b\r\n")) == 400
    assert refusal(post(b"X: a\r\n\tContent-Length: 5\r\n", b"hello")) == 400


def test_white_space_before_the_colon_is_refused() -> None:
    assert refusal(post(b"Content-Length : 5\r\n", b"hello")) == 400


def test_white_space_before_the_first_field_is_refused() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\n Host: web.test\r\n\r\n") == 400


@pytest.mark.parametrize(
    "line", [b"no colon", b": no name", b"na me: x", b"n\xe4me: x", b"X: \x01", b"X: a\x7fb", b"(x): y"]
)
def test_a_line_that_is_no_field_is_refused(line: bytes) -> None:
    assert refusal(post(line + b"\r\n")) == 400


# The request line


@pytest.mark.parametrize(
    "line",
    [
        b"GET  http://web.test/ HTTP/1.1",
        b"GET http://web.test/  HTTP/1.1",
        b"GET\thttp://web.test/ HTTP/1.1",
        b" GET http://web.test/ HTTP/1.1",
        b"GET http://web.test/ HTTP/1.1 ",
        b"GET http://web.test/a b HTTP/1.1",
        b"GET http://web.test/ HTTP/1.10",
        b"GET http://web.test/ HTTP/11",
        b"GET http://web.test/ http/1.1",
        b"GET http://web.test/",
        b"G(T http://web.test/ HTTP/1.1",
        b"GET http://web.test/\xe4 HTTP/1.1",
        b"GET  HTTP/1.1",
    ],
)
def test_a_request_line_that_is_none_is_refused(line: bytes) -> None:
    assert refusal(line + b"\r\nHost: web.test\r\n\r\n") == 400


def test_another_version_is_refused() -> None:
    assert refusal(b"GET http://web.test/ HTTP/2.0\r\nHost: web.test\r\n\r\n") == 505
    assert refusal(b"GET http://web.test/ HTTP/3.0\r\nHost: web.test\r\n\r\n") == 505


def test_the_preface_of_http_2_is_refused() -> None:
    # RFC 9113 section 3.4; what follows it must not be taken for a request.
    assert refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED) == 505


def test_http_0_9_is_refused() -> None:
    assert refusal(b"GET http://web.test/\r\n\r\n" + SMUGGLED) == 400
    assert refusal(b"GET /\r\n\r\n" + SMUGGLED) == 400
    assert refusal(b"GET http://web.test/ HTTP/0.9\r\nHost: web.test\r\n\r\n") == 505


def test_a_host_that_conflicts_with_the_target_does_not_count() -> None:
    # RFC 9112 section 3.2.2: "the proxy MUST ignore the received Host header field (if any) and instead replace it".
    machine = ProxyMachine()
    machine.receive_data(b"GET http://web.test:8080/ HTTP/1.1\r\nHost: inner.test\r\nX-Forwarded-Host: a\r\n\r\n")
    request = machine.next_event()
    assert isinstance(request, ForwardRequest)
    assert (request.authority.host, request.authority.port) == ("web.test", 8080)
    assert request.to_bytes().startswith(b"GET / HTTP/1.1\r\nHost: web.test:8080\r\n")
    assert b"inner.test" not in request.to_bytes()


@pytest.mark.parametrize(
    "target",
    [
        b"http://",
        b"http:///path",
        b"http://user@web.test/",
        b"http://user:pass@web.test/",
        b"http://web.test:0/",
        b"http://web.test:65536/",
        b"http://web.test:+80/",
        b"http://web.test:80:80/",
        b"http://[::1/",
        b"http://[::1]x/",
        b"http://[1.2.3.4]/",
        b"http://[fe80::1%25eth0]/",
        b"http://web%2etest/",
        b"http://web.test\\@evil.test/",
        b"http://web.test/#fragment",
        b"http:web.test",
        b"web.test",
        b"web.test:80",
        b"*",
    ],
)
def test_a_target_that_is_no_address_is_refused(target: bytes) -> None:
    assert refusal(b"GET " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n") == 400


@pytest.mark.parametrize(
    "target", [b"https://web.test/", b"ftp://web.test/", b"ws://web.test/", b"file://web.test/etc"]
)
def test_another_scheme_is_refused(target: bytes) -> None:
    assert refusal(b"GET " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n") == 501


@pytest.mark.parametrize(
    "target",
    [b"web.test", b"web.test:", b":443", b"web.test:0", b"::1:443", b"http://web.test:443", b"u@web.test:1", b"[]:1"],
)
def test_connect_to_no_host_and_port_is_refused(target: bytes) -> None:
    assert refusal(b"CONNECT " + target + b" HTTP/1.1\r\nHost: web.test\r\n\r\n") == 400


def test_no_host_is_refused() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\n\r\n") == 400


def test_two_hosts_are_refused() -> None:
    assert refusal(post(b"Host: web.test\r\n")) == 400


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a@b", b"a,b:c", b"[::1"])
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n") == 400


# What costs


def test_an_oversized_head_is_refused() -> None:
    assert refusal(post(b"X: " + b"a" * MAX_HEAD + b"\r\n")) == 431


def test_an_oversized_head_is_refused_before_it_ends() -> None:
    assert refusal(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\nX: " + b"a" * MAX_HEAD) == 431


def test_an_oversized_target_is_refused() -> None:
    assert refusal(b"GET http://web.test/" + b"a" * MAX_HEAD) == 414


def test_too_many_fields_are_refused() -> None:
    assert refusal(post(b"X: a\r\n" * MAX_FIELDS)) == 431


# Chunks


@pytest.mark.parametrize(
    "size",
    [
        b"",
        b"g",
        b"-1",
        b"+5",
        b"0x5",
        b" 5",
        b"5 ",
        b"5\t",
        b"f" * 16,
        b"5 5",
        b"5;\x01",
        b"5;a\rb",
        b"\xb5",
        b"5,5",
        b"5_0",
    ],
)
def test_a_bad_chunk_size_is_refused(size: bytes) -> None:
    assert refusal(chunks(size + b"\r\nhello\r\n0\r\n\r\n")) == 400


@pytest.mark.parametrize("size", [b"1" + b"0" * 16, b"f" * 16, b"f" * 40, b"8000000000000000", b"0" * 30 + b"5"])
def test_a_chunk_size_that_overflows_is_refused(size: bytes) -> None:
    """Readers that keep 32 or 64 bits of it would see another size, such as none or a negative one."""
    assert refusal(chunks(size + b"\r\nhello\r\n0\r\n\r\n")) == 400


def test_chunk_extensions_are_not_passed_on() -> None:
    # RFC 9112 section 7.1.1: "A recipient MUST ignore unrecognized chunk extensions."
    machine = ProxyMachine()
    machine.receive_data(chunks(b'5;a;b=c;d="e"\r\nhello\r\n0;f\r\n\r\n'))
    assert isinstance(machine.next_event(), ForwardRequest)
    assert machine.next_event() == BodyReceived(b"hello")
    assert machine.next_event() == RequestEnded(())


@pytest.mark.parametrize("field", [b"Content-Length: 7", b"Transfer-Encoding: chunked", b"Host: inner.test", b"TE: x"])
def test_a_trailer_that_frames_or_routes_is_dropped(field: bytes) -> None:
    # RFC 9110 section 6.5.1
    machine = ProxyMachine()
    machine.receive_data(chunks(b"0\r\n" + field + b"\r\nDigest: x\r\n\r\n"))
    assert isinstance(machine.next_event(), ForwardRequest)
    assert machine.next_event() == RequestEnded(((b"Digest", b"x"),))


def test_a_chunk_line_that_ends_with_lf_alone_is_refused() -> None:
    assert refusal(chunks(b"5\nhello\r\n0\r\n\r\n")) == 400
    assert refusal(chunks(b"5;a\nhello\r\n0\r\n\r\n")) == 400
    assert refusal(chunks(b"\n")) == 400


def test_a_chunk_longer_than_its_size_is_refused() -> None:
    assert refusal(chunks(b"4\r\nhello\r\n0\r\n\r\n")) == 400


def test_a_chunk_that_ends_with_lf_alone_is_refused() -> None:
    assert refusal(chunks(b"5\r\nhello\n0\r\n\r\n")) == 400
    assert refusal(chunks(b"5\r\nhello\rX0\r\n\r\n")) == 400


def test_a_long_chunk_extension_is_refused() -> None:
    assert refusal(chunks(b"5;" + b"a" * MAX_CHUNK_LINE)) == 400


def test_many_chunk_extensions_are_refused() -> None:
    chunk = b"1;" + b"a" * 1000 + b"\r\nx\r\n"
    assert refusal(chunks(chunk * (MAX_CHUNK_EXTENSIONS // 1000 + 1))) == 400


def test_a_bad_trailer_is_refused() -> None:
    assert refusal(chunks(b"0\r\nno colon\r\n\r\n")) == 400
    assert refusal(chunks(b"0\r\nX: a\n\n")) == 400
    assert refusal(chunks(b"0\r\nX: a\r\n b\r\n\r\n")) == 400
    assert refusal(chunks(b"0\r\nX : a\r\n\r\n")) == 400


def test_oversized_trailers_are_refused() -> None:
    assert refusal(chunks(b"0\r\nX: " + b"a" * MAX_TRAILERS)) == 400
    assert refusal(chunks(b"0\r\nX: " + b"a" * MAX_TRAILERS + b"\r\n\r\n")) == 400


# An end too early


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://web.test/",
        post(b"")[:-1],
        post(b"Content-Length: 5\r\n", b"hell"),
        chunks(b"5\r\nhello\r\n"),
        chunks(b"5\r\nhel"),
        chunks(b"0\r\n"),
    ],
)
def test_an_end_within_a_request_is_refused(data: bytes) -> None:
    machine = ProxyMachine()
    machine.receive_data(data)
    drain(machine)
    machine.receive_data(b"")
    with pytest.raises(MessageError):
        machine.next_event()


def test_what_a_page_smuggles_in_a_body_is_never_read() -> None:
    """A browser sends this for a page that posts to the proxy's port."""
    machine = ProxyMachine()
    body = b"CONNECT inner.test:80 HTTP/1.1\r\nHost: inner.test:80\r\n\r\n"
    machine.receive_data(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:1080\r\nContent-Length: 1\r\n\r\n" + body)
    machine.next_event()
    assert machine.next_event() is None
    assert machine.state is State.ENDED
    assert machine.buffered == 0


def test_a_request_behind_a_body_is_not_read_as_part_of_it() -> None:
    machine = ProxyMachine()
    machine.receive_data(post(b"Content-Length: 5\r\n", b"hello" + SMUGGLED))
    machine.next_event()
    assert machine.next_event() == BodyReceived(b"hello")
