"""The socket under TLS."""

from __future__ import annotations

import socket
import sys

import pytest

from sstpsocks.tunnel.transport import SocketTransport


def connected_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it in this way")
async def test_the_kernel_tells_the_round_trip_time() -> None:
    client, other = connected_pair()
    transport = SocketTransport(client)
    with other:
        measured = transport.round_trip()
    assert measured is not None
    assert 0 < measured < 1, "the round trip of a connection on this machine"
    transport.close()
    assert transport.round_trip() is None


async def test_what_is_no_tcp_connection_has_none() -> None:
    one, other = socket.socketpair()
    with other:
        transport = SocketTransport(one)
        assert transport.round_trip() is None
        transport.close()
