"""The source and sink that all peers talk to, and the command line that chooses cases and peers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from benchmarks import __main__ as command
from benchmarks.cases import all_cases
from benchmarks.rig import socks
from benchmarks.rig.service import Loop, Web, header_length, memory_file

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="files in memory and MSG_TRUNC are of Linux")


class Program:
    """A program that talks to the service, with a service that only works when it waits."""

    def __init__(self, stream: socket.socket, loop: Loop) -> None:
        self.stream = stream
        self._loop = loop

    def ask(self, request: bytes, length: int) -> bytes:
        self.stream.sendall(request)
        answer = b""
        for _ in range(10_000):
            self._loop.turn(timeout=0.01)
            try:
                more = self.stream.recv(1 << 20)
            except BlockingIOError:
                continue
            answer += more
            if len(answer) >= length or not more:
                return answer
        raise AssertionError(answer)


@pytest.fixture
def program() -> Iterator[Program]:
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as stream:
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        stream.setblocking(False)
        Web(loop, accepted, memory_file(bytes(range(256)) * (64 << 10)))
        yield Program(stream, loop)
        accepted.close()


@linux_only
def test_a_request_is_answered_with_as_many_octets_as_it_asks_for(program: Program) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"
    answer = program.ask(b"GET /300 HTTP/1.1\r\n\r\n", len(head) + 300)
    assert answer == head + bytes(range(256)) + bytes(range(44))


@linux_only
def test_a_body_is_swallowed_and_answered(program: Program) -> None:
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert program.ask(b"PUT / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000), len(empty)) == empty


@linux_only
def test_requests_sent_together_are_answered_in_turn(program: Program) -> None:
    requests = b"PUT / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /1 HTTP/1.1\r\n\r\nGET /0 HTTP/1.0\r\n\r\n"
    answer = program.ask(requests, 1 << 20)
    assert [part.partition(b"\r\n")[0] for part in answer.split(b"Content-Length: ")[1:]] == [b"0", b"1", b"0"]


def test_a_request_without_a_length_has_no_body() -> None:
    assert header_length(b"GET / HTTP/1.1\r\nHost: example.com") == 0


def test_a_socks_request_holds_the_address_as_octets() -> None:
    assert socks.connect_request("10.0.0.1", 80) == b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"
    assert socks.connect_request("::1", 80) == b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50"


def test_cases_and_peers_are_chosen_by_patterns() -> None:
    assert command.chosen(["a-1", "a-2", "b"], []) == ["a-1", "a-2", "b"]
    assert command.chosen(["a-1", "a-2", "b"], ["a-*"]) == ["a-1", "a-2"]


def test_no_two_cases_have_one_name() -> None:
    names = [case.name for case in all_cases()]
    assert names
    assert len(names) == len(set(names))
