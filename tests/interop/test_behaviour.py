"""What programs see of targets that are not there, and of habits that other proxies get wrong, by each protocol."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.fronts import FRONTS, ask, exactly
from tests.interop.test_programs import target_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

through_each_protocol = pytest.mark.parametrize("front", FRONTS)


def answers(tunnel: Client, front: str, targets: list[tuple[str, int]]) -> set[str]:
    found = set()
    for host, port in targets:
        opened = ask(front, tunnel.socks, host, port)
        found.add(opened.answer)
        with opened.stream:
            if front != "http":
                # RFC 1928 section 6: the server ends the connection shortly after a failure.
                assert opened.stream.recv(1) == b""
    return found


def targets_with(server: Server, code: int) -> list[tuple[str, int]]:
    found = [(host, port) for host, port, reply in server.targets() if reply == code]
    if not found:
        pytest.skip(f"this network has no target for reply {code}")
    return found


@through_each_protocol
def test_a_refused_port_is_called_refused_at_once(shared_tunnel: Client, server: Server, front: str) -> None:
    targets = targets_with(server, 5)
    begin = time.monotonic()
    assert answers(shared_tunnel, front, targets) == {
        {"socks5": "5", "socks4a": "91", "http": "502 connection_refused"}[front]
    }
    assert time.monotonic() - begin < 3, shared_tunnel.log


@through_each_protocol
def test_an_unreachable_host_is_called_unreachable(shared_tunnel: Client, server: Server, front: str) -> None:
    expected = {"socks5": "4", "socks4a": "91", "http": "502 destination_ip_unroutable"}[front]
    # A router may look for the host with ARP for some seconds, but the program is told when it gives up.
    assert answers(shared_tunnel, front, targets_with(server, 4)) == {expected}, shared_tunnel.log


@through_each_protocol
def test_an_unknown_name_is_called_unknown_at_once(shared_tunnel: Client, server: Server, front: str) -> None:
    begin = time.monotonic()
    expected = {"socks5": "4", "socks4a": "91", "http": "502 dns_error"}[front]
    assert answers(shared_tunnel, front, [(server.need("unknown_name"), 80)]) == {expected}
    assert time.monotonic() - begin < 5, shared_tunnel.log


@through_each_protocol
def test_this_machine_is_never_reached(shared_tunnel: Client, front: str) -> None:
    expected = {"socks5": "2", "socks4a": "91", "http": "403 destination_ip_prohibited"}[front]
    assert answers(shared_tunnel, front, [("localhost", 80), ("127.0.0.1", 80)]) == {expected}


@through_each_protocol
def test_the_answer_comes_after_the_program_has_ended_its_direction(
    shared_tunnel: Client, server: Server, front: str
) -> None:
    server.need("half_close")
    host, port = target_of(server)
    opened = ask(front, shared_tunnel.socks, host, port)
    with opened.stream as stream:
        stream.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while data := stream.recv(65536):
            answer += data
    assert answer.split()[1:2] == [b"200"], shared_tunnel.log


@through_each_protocol
def test_what_is_sent_with_the_request_reaches_the_target(shared_tunnel: Client, server: Server, front: str) -> None:
    host, port = target_of(server)
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    opened = ask(front, shared_tunnel.socks, host, port, early=request)
    with opened.stream as stream:
        assert exactly(stream, 12).startswith(b"HTTP/1.")


@pytest.mark.parametrize("front", ["socks5", "socks4a"])
def test_the_reply_names_the_address_inside_the_tunnel(shared_tunnel: Client, server: Server, front: str) -> None:
    opened = ask(front, shared_tunnel.socks, *target_of(server))
    opened.stream.close()
    assert opened.bound in shared_tunnel.ready["addresses"]


def test_methods_that_are_all_unknown_are_refused(shared_tunnel: Client) -> None:
    with socket.create_connection(shared_tunnel.socks, 20) as stream:
        stream.sendall(b"\x05\x02\x80\x81")
        # RFC 1928 section 3: X'FF', and then the client must close.
        assert exactly(stream, 2) == b"\x05\xff"


@pytest.mark.parametrize(("request_", "code"), [(b"\x05\x09\x00\x01", 7), (b"\x05\x01\x00\x09", 8)])
def test_unknown_commands_and_address_types_are_told_so(shared_tunnel: Client, request_: bytes, code: int) -> None:
    with socket.create_connection(shared_tunnel.socks, 20) as stream:
        stream.sendall(b"\x05\x01\x00" + request_ + bytes(6))
        assert exactly(stream, 4)[2:4] == b"\x05" + bytes([code])


def test_silence_is_cut_and_never_keeps_a_place(shared_tunnel: Client) -> None:
    begin = time.monotonic()
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(shared_tunnel.socks, 20)) for _ in range(3)]
        for stream, beginning in zip(silent, (b"\x05", b"\x04", b"CONN"), strict=True):
            stream.sendall(beginning)
        for stream in silent:
            with pytest.raises(ConnectionResetError):
                stream.recv(1)
    assert time.monotonic() - begin < 15
