"""A tunnel in a thread: sockets for programs without trio."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from examples.asyncio_inside_tunnel import fetch
from sstpsocks.bridge import TunnelThread
from sstpsocks.demo.intranet import ECHO_PORT, PAGE, REFUSED_PORT, ZONE
from sstpsocks.errors import AuthenticationFailed, ConnectionRefused, NameNotFound, TunnelDown
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site

T = TypeVar("T")
REQUEST = f"GET / HTTP/1.1\r\nHost: {ZONE}\r\nConnection: close\r\n\r\n".encode()


@asynccontextmanager
async def trying(folder: Path, work: Callable[[DemoSite], None]) -> AsyncIterator[None]:
    """Run the program's side in a thread, beside the server."""
    with trio.fail_after(30):
        async with demo_site(folder) as site:
            await trio.to_thread.run_sync(work, site)
            yield


def bridge(site: DemoSite, password: str = PASSWORD) -> TunnelThread:
    return TunnelThread(
        "127.0.0.1", port=site.port, username="alice", password=password, server_name=SERVER_NAME,
        ca_file=str(site.ca_file), dhcp="never", reconnect="never",
    )  # fmt: skip


async def test_a_socket_of_the_tunnel_is_read_to_its_end(tmp_path: Path) -> None:
    def program(site: DemoSite) -> None:
        with bridge(site) as tunnel, tunnel.connect(ZONE, 80) as sock:
            sock.sendall(REQUEST)
            assert b"".join(iter(lambda: sock.recv(4096), b"")).endswith(PAGE)

    async with trying(tmp_path, program):
        pass


async def test_what_is_half_closed_still_receives(tmp_path: Path) -> None:
    def program(site: DemoSite) -> None:
        with bridge(site) as tunnel, tunnel.connect(ZONE, ECHO_PORT) as sock:
            sent = bytes(range(256)) * 2000

            def send() -> None:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            assert b"".join(iter(lambda: sock.recv(65536), b"")) == sent
            sender.join()

    async with trying(tmp_path, program):
        pass


async def test_errors_are_those_of_the_library(tmp_path: Path) -> None:
    def program(site: DemoSite) -> None:
        with bridge(site) as tunnel:
            with pytest.raises(ConnectionRefused):
                tunnel.connect(ZONE, REFUSED_PORT)
            with pytest.raises(NameNotFound):
                tunnel.resolve(f"nx.{ZONE}")
            assert len(tunnel.resolve(ZONE)) == 1
        with pytest.raises(TunnelDown):
            tunnel.connect(ZONE, 80)
        with pytest.raises(AuthenticationFailed), bridge(site, "wrong"):
            pytest.fail("the password is wrong")
        assert not [thread for thread in threading.enumerate() if thread.name == "sstpsocks"]

    async with trying(tmp_path, program):
        pass


async def test_leaving_ends_connections_that_are_open(tmp_path: Path) -> None:
    def program(site: DemoSite) -> None:
        with bridge(site) as tunnel:
            sock = tunnel.connect(ZONE, ECHO_PORT)
        with sock:
            assert sock.recv(1) == b""

    async with trying(tmp_path, program):
        pass


async def test_asyncio_opens_connections_and_cancels_them(tmp_path: Path) -> None:
    async def talk(tunnel: TunnelThread) -> None:
        assert (await fetch(tunnel, ZONE, "/")).endswith(PAGE)
        with pytest.raises(ConnectionRefused):
            await tunnel.open_connection(ZONE, REFUSED_PORT)
        opening = asyncio.ensure_future(tunnel.open_connection("10.99.0.77", 80))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    def program(site: DemoSite) -> None:
        with bridge(site) as tunnel:
            asyncio.run(talk(tunnel))

    async with trying(tmp_path, program):
        pass
