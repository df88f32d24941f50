"""The kernel tells whose a local connection is, by either of its ways."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from sstpsocks.dns.resolver import Resolver
from sstpsocks.proxy import peer_user as module
from sstpsocks.proxy.dial import Dialer
from sstpsocks.proxy.peer_user import is_own_user, peer_user, sender_user
from sstpsocks.proxy.port import ProxyPort
from tests.helpers.fake_network import FakeNetwork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

HOSTS = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


def own_user() -> int:
    user = -1
    if sys.platform == "linux":
        user = os.geteuid()
    return user


@contextmanager
def connection(family: int, host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends, ours first."""
    try:
        with socket.create_server((host, 0), family=family) as listener:
            client = socket.create_connection(listener.getsockname()[:2])
            accepted, _ = listener.accept()
    except OSError:
        pytest.skip("no IPv6 here")
    with client, accepted:
        yield accepted, client


@pytest.mark.parametrize(("family", "host"), HOSTS)
def test_our_own_connection_is_ours(family: int, host: str) -> None:
    with connection(family, host) as (accepted, _client):
        assert peer_user(accepted) == own_user()
        assert is_own_user(accepted)


@pytest.mark.parametrize(("family", "host"), HOSTS)
def test_the_table_says_the_same_as_the_kernel(family: int, host: str) -> None:
    with connection(family, host) as (accepted, _client):
        peer, own = accepted.getpeername()[:2], accepted.getsockname()[:2]
        assert module._look_up(family, peer, own) == own_user()
        assert module._look_up(family, own, (own[0], 1)) is None


def test_without_sock_diag_the_table_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int | None:
        raise OSError("not permitted")

    monkeypatch.setattr(module, "_ask_kernel", refuse)
    with connection(*HOSTS[0]) as (accepted, _client):
        assert peer_user(accepted) == own_user()
        monkeypatch.setattr(module, "_TABLES", {})
        assert peer_user(accepted) is None
        assert not is_own_user(accepted)


def test_a_connection_that_its_program_closed_belongs_to_nobody() -> None:
    with connection(*HOSTS[0]) as (accepted, client):
        client.close()
        assert peer_user(accepted) is None


def test_another_user_is_told_apart() -> None:
    if sys.platform == "linux":
        if own_user() != 0:
            pytest.skip("only root can become another user")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.setuid(65534)
                with socket.create_connection(listener.getsockname()):
                    os.read(read, 1)
                os._exit(0)
            accepted, _ = listener.accept()
            try:
                assert peer_user(accepted) == 65534
                assert not is_own_user(accepted)
            finally:
                os.write(write, b"x")
                os.waitpid(child, 0)
                accepted.close()
                os.close(read)
                os.close(write)


def test_a_unix_socket_tells(tmp_path: Path) -> None:
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(str(tmp_path / "socket"))
            listener.listen()
            client.connect(str(tmp_path / "socket"))
            accepted, _ = listener.accept()
            with accepted:
                assert peer_user(accepted) == own_user()


@pytest.mark.parametrize("ours", [True, False])
async def test_the_port_says_nothing_to_another_user(
    network: FakeNetwork, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    monkeypatch.setattr("sstpsocks.proxy.port.is_own_user", lambda _client: ours)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        port = ProxyPort(Dialer(network, Resolver(network)), only_own_user=True)
        nursery.start_soon(port.serve, [listener])
        answer = b""
        with trio.fail_after(5), trio.socket.socket() as client:
            try:
                await client.connect(listener.socket.getsockname())
                await client.send(b"\x05\x01\x00")
                answer = await client.recv(2)
            except ConnectionError:
                pass  # the reset may come at any of these steps
        assert answer == (b"\x05\x00" if ours else b"")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("family", "host"), HOSTS)
@pytest.mark.parametrize("bound_to_all", [False, True])
@pytest.mark.parametrize("table_only", [False, True])
def test_whose_datagram_it_is(
    family: int, host: str, bound_to_all: bool, table_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int | None:
        raise OSError("not permitted")

    if table_only:
        monkeypatch.setattr(module, "_ask_kernel", refuse)
    with socket.socket(family, socket.SOCK_DGRAM) as relay, socket.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            relay.bind((host, 0))
            sender.bind(("" if bound_to_all else host, 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sender.sendto(b"x", relay.getsockname())
        source = relay.recvfrom(10)[1][:2]
        assert sender_user(relay, source) == own_user()
        sender.close()
        assert sender_user(relay, source) is None
