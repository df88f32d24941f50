"""Responses that would be read in two ways, or as two (RFC 9112 sections 11.1 and 11.2): each is refused."""

from __future__ import annotations

import pytest

from sstpsocks.proxy.http.forwarding import ForwardRequest
from sstpsocks.proxy.http.head import MAX_HEAD, MessageError
from sstpsocks.proxy.http.machine import ProxyMachine
from sstpsocks.proxy.http.onward import MAX_INTERIM, OnwardMachine, ResponseEnded


def asked(request: bytes = b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n") -> OnwardMachine:
    machine = ProxyMachine()
    machine.receive_data(request)
    event = machine.next_event()
    assert isinstance(event, ForwardRequest)
    server = OnwardMachine()
    server.send_request(event)
    return server


def drain(server: OnwardMachine) -> None:
    while server.next_event() is not None:
        pass


def refusal(data: bytes, *, end: bool = False) -> str:
    server = asked()
    server.receive_data(data)
    if end:
        server.receive_data(b"")
    with pytest.raises(MessageError) as caught:
        drain(server)
    return str(caught.value)


def test_both_lengths_are_refused() -> None:
    text = refusal(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert "both Content-Length and Transfer-Encoding" in text


def test_both_lengths_are_refused_also_where_there_is_no_body() -> None:
    refusal(b"HTTP/1.1 204 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_two_lengths_that_differ_are_refused() -> None:
    assert "differ" in refusal(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")


def test_chunks_in_http_1_0_are_refused() -> None:
    assert "HTTP/1.0" in refusal(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"xchunked", b"chunked, chunked", b"identity", b""])
def test_another_coding_is_refused(coding: bytes) -> None:
    assert "other than chunked" in refusal(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + b"\r\n\r\n")


def test_a_bare_lf_is_refused() -> None:
    assert "LF alone" in refusal(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")


def test_a_bare_cr_that_splits_a_field_is_refused() -> None:
    assert "bare CR" in refusal(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n")


def test_a_nul_is_refused() -> None:
    assert "NUL" in refusal(b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n")


def test_a_folded_field_is_refused() -> None:
    assert "folded" in refusal(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n")


def test_white_space_before_the_colon_is_refused() -> None:
    assert "before the colon" in refusal(b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello")


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 099 OK",
        b"200 OK",
        b"HTTP/2.0 200 OK",
        b"ICY 200 OK",
    ],
)
def test_a_status_line_that_is_none_is_refused(line: bytes) -> None:
    refusal(line + b"\r\nContent-Length: 0\r\n\r\n")


def test_an_oversized_head_is_refused() -> None:
    assert "more than" in refusal(b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_HEAD)


def test_endless_interim_responses_are_refused() -> None:
    assert "too many" in refusal(b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1))


def test_a_protocol_that_was_not_asked_for_is_refused() -> None:
    assert "not asked for" in refusal(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_a_response_that_was_cut_is_refused(data: bytes) -> None:
    refusal(data, end=True)


@pytest.mark.parametrize("size", [b"5\n", b"x\r\n", b"-1\r\n", b"5 \r\n"])
def test_a_bad_chunk_size_is_refused(size: bytes) -> None:
    refusal(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"hello\r\n0\r\n\r\n")


def test_a_second_response_is_not_kept_for_the_next_request() -> None:
    """Response splitting: the server was made to write two; the connection is not used again."""
    server = asked()
    server.receive_data(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    )
    events: list[object] = []
    while not events or not isinstance(events[-1], ResponseEnded):
        events.append(server.next_event())
    assert not server.keep_alive
    with pytest.raises(MessageError):
        server.next_event()


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_a_body_where_there_can_be_none_is_not_kept_for_the_next_request(status: bytes) -> None:
    server = asked()
    server.receive_data(b"HTTP/1.1 " + status + b" X\r\nContent-Length: 5\r\n\r\nhello")
    while not isinstance(server.next_event(), ResponseEnded):
        pass
    assert not server.keep_alive


def test_a_body_in_answer_to_head_is_not_kept_for_the_next_request() -> None:
    server = asked(b"HEAD http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n")
    server.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    while not isinstance(server.next_event(), ResponseEnded):
        pass
    assert not server.keep_alive
