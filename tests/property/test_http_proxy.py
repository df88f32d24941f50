"""The HTTP machines against anything: only protocol errors escape, cuts change nothing, and h11 agrees."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sstpsocks.proxy.http.body import write_chunk, write_last_chunk
from sstpsocks.proxy.http.forwarding import ForwardRequest
from sstpsocks.proxy.http.head import MessageError
from sstpsocks.proxy.http.machine import BodyReceived, ProxyMachine, RequestEnded, State
from sstpsocks.proxy.http.onward import DataReceived, OnwardMachine, ResponseEnded, ResponseReceived

# Pieces that messages are made of, in orders that make sense or not.
REQUEST_PIECES = [
    b"GET ",
    b"POST ",
    b"CONNECT ",
    b"http://web.test/",
    b"web.test:443",
    b"/",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"\r\n",
    b"\n",
    b"\r",
    b"Host: web.test\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b" ",
    b":",
    b"\0",
    b"POST http://web.test/ HTTP/1.1\r\nHost: web.test\r\n",
]
RESPONSE_PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No\r\n",
    b"\r\n",
    b"\n",
    b"HTTP/1.1 101 Switching\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n\r\n",
    b"hello",
    b"x: y\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b" ",
    b":",
    b"\0",
]


def soup(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces) | st.binary(max_size=6), max_size=16).map(b"".join)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(position % (len(data) + 1) for position in cuts)})
    return [data[start:end] for start, end in pairwise(borders)]


def read_requests(parts: list[bytes]) -> tuple[list[object], bytes]:
    """Return the events, bodies joined, and how it ended."""
    machine = ProxyMachine()
    events: list[object] = []
    try:
        for part in [*parts, b""]:
            machine.receive_data(part)
            while (event := machine.next_event()) is not None or machine.state is State.DONE:
                if event is None:
                    machine.next_request()
                elif isinstance(event, BodyReceived) and events and isinstance(events[-1], bytes):
                    events[-1] += event.data
                else:
                    events.append(event.data if isinstance(event, BodyReceived) else event)
    except MessageError as error:
        return events, str(error).encode()
    return events, machine.take_rest()


@settings(deadline=None, max_examples=300)
@example(b"\r\n\r\n\r\n\r\n", [4, 2])
@given(soup(REQUEST_PIECES), st.lists(st.integers(0, 500), max_size=6))
def test_what_a_request_means_does_not_depend_on_how_it_arrives(data: bytes, cuts: list[int]) -> None:
    whole, end = read_requests([data] if data else [])
    parts, end_of_parts = read_requests(cut(data, cuts))
    # A whole buffer is refused before the part of a body that came before the fault is given out.
    assert [event for event in whole if not isinstance(event, bytes)] == [
        event for event in parts if not isinstance(event, bytes)
    ]
    assert end == end_of_parts


def ask(request: bytes) -> OnwardMachine:
    machine = ProxyMachine()
    machine.receive_data(request)
    event = machine.next_event()
    assert isinstance(event, ForwardRequest)
    server = OnwardMachine()
    server.send_request(event)
    return server


@settings(deadline=None, max_examples=300)
@given(
    soup(RESPONSE_PIECES),
    st.lists(st.integers(0, 500), max_size=6),
    st.sampled_from([b"GET", b"HEAD"]),
    st.sampled_from([b"", b"Connection: upgrade\r\nUpgrade: x\r\n"]),
)
def test_only_protocol_errors_escape_from_a_response(
    data: bytes, cuts: list[int], method: bytes, fields: bytes
) -> None:
    server = ask(method + b" http://web.test/ HTTP/1.1\r\nHost: web.test\r\n" + fields + b"\r\n")
    try:
        for part in [*cut(data, cuts), b""]:
            server.receive_data(part)
            while (event := server.next_event()) is not None and not isinstance(event, ResponseEnded):
                pass
    except MessageError:
        pass


TOKENS = st.text("abcXYZ-_0", min_size=1, max_size=8).map(lambda text: b"x-" + text.encode())
VALUES = st.text("abc ,;=\"'\xe9", max_size=12).map(lambda text: text.strip().encode("latin-1"))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(TOKENS, VALUES), max_size=5), st.lists(st.binary(min_size=1, max_size=50), max_size=4))
def test_h11_reads_the_same_request_that_we_pass_on(fields: list[tuple[bytes, bytes]], pieces: list[bytes]) -> None:
    """What leaves is read by an independent implementation as what came in."""
    head = b"POST http://web.test/p HTTP/1.1\r\nHost: web.test\r\nTransfer-Encoding: chunked\r\n"
    head += b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
    body = b"".join(map(write_chunk, pieces)) + write_last_chunk(((b"X-End", b"1"),))
    machine = ProxyMachine()
    machine.receive_data(head + body)
    event = machine.next_event()
    assert isinstance(event, ForwardRequest)
    sent = event.to_bytes()
    while (part := machine.next_event()) is not None:
        if isinstance(part, BodyReceived):
            sent += write_chunk(part.data)
        elif isinstance(part, RequestEnded):
            sent += write_last_chunk(part.trailers)
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(sent)
    request = oracle.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/p")
    seen = [(name, value) for name, value in request.headers if name.startswith(b"x-")]
    assert seen == [(name.lower(), value) for name, value in fields]
    data = b""
    while isinstance(chunk := oracle.next_event(), h11.Data):
        data += chunk.data
    assert data == b"".join(pieces)
    assert isinstance(chunk, h11.EndOfMessage)
    assert list(chunk.headers) == [(b"x-end", b"1")]


@settings(deadline=None, max_examples=300)
@given(soup(RESPONSE_PIECES))
def test_a_response_we_accept_means_the_same_to_h11(data: bytes) -> None:
    server = ask(b"GET http://web.test/ HTTP/1.1\r\nHost: web.test\r\n\r\n")
    ours: list[object] = []
    body = b""
    try:
        server.receive_data(data)
        server.receive_data(b"")
        while (event := server.next_event()) is not None:
            if isinstance(event, ResponseReceived):
                ours.append(event.head.status)
            elif isinstance(event, DataReceived):
                body += event.data
            elif isinstance(event, ResponseEnded):
                break
    except MessageError:
        return
    oracle = h11.Connection(h11.CLIENT)
    oracle.send(h11.Request(method="GET", target="/", headers=[("Host", "web.test")]))
    oracle.send(h11.EndOfMessage())
    oracle.receive_data(data)
    oracle.receive_data(b"")
    theirs: list[object] = []
    their_body = b""
    while not isinstance(found := oracle.next_event(), h11.EndOfMessage):
        if isinstance(found, h11.Response):
            theirs.append(found.status_code)
        elif isinstance(found, h11.Data):
            their_body += found.data
        else:
            assert isinstance(found, h11.InformationalResponse)
    assert (ours, body) == (theirs, their_body)


def test_a_head_that_drips_is_not_searched_again_and_again() -> None:
    machine = ProxyMachine()
    for _ in range(60_000):
        machine.receive_data(b"a")
        assert machine.next_event() is None
    machine.receive_data(b"a" * 6000)
    with pytest.raises(MessageError):
        machine.next_event()
