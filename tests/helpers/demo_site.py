"""A demo server on loopback whose every received SSTP packet can be looked at, and settings to reach it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sstpsocks.demo import server as server_module
from sstpsocks.demo.ca import make_certificate
from sstpsocks.demo.server import DemoServer
from sstpsocks.link import Link
from sstpsocks.ppp.auth import Credentials
from sstpsocks.sstp.packet import PacketBuffer
from sstpsocks.tunnel.settings import CredentialRequest, TrustSettings, TunnelSettings
from sstpsocks.tunnel.transport import SocketTransport

SERVER_NAME = "vpn.test"
PASSWORD = "correct horse"


class DemoSite:
    """A DemoServer that can be stopped and started again on the same port."""

    def __init__(self, folder: Path, *, ipv6: bool = False) -> None:
        certificate = make_certificate((SERVER_NAME,))
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(certificate.ca_pem)
        self.server = DemoServer(certificate, {"alice": PASSWORD}, ipv6=ipv6)
        self.port = 0
        self.asked: list[CredentialRequest] = []
        """What the credential source of settings() was asked."""
        self.answers: list[str] = []
        """Passwords it gives, the last one again and again."""
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()
        nursery.start_soon(self._serve, listener)

    async def stop(self) -> None:
        """As if the server's machine had been switched off: no farewells, neither of the server nor of its intranet."""
        for driver in self.server._drivers:
            transport = driver._transport
            assert isinstance(transport, SocketTransport)
            transport._sock.shutdown(socket.SHUT_RDWR)
        self._scope.cancel()
        await self._stopped.wait()

    async def _serve(self, listener: trio.SocketListener) -> None:
        with self._scope:
            await self.server.serve([listener])
        self._stopped.set()

    def settings(
        self, *, credentials: Callable[[CredentialRequest], Awaitable[Credentials]] | None = None, **more: object
    ) -> TunnelSettings:
        return TunnelSettings(
            host="127.0.0.1",
            port=self.port,
            trust=TrustSettings(server_name=SERVER_NAME, ca_file=str(self.ca_file)),
            username="alice",
            credentials=credentials if credentials is not None else self._give,
            **more,  # type: ignore[arg-type]  # each test names fields that exist
        )

    async def _give(self, request: CredentialRequest) -> Credentials:
        self.asked.append(request)
        password = self.answers.pop(0) if len(self.answers) > 1 else (self.answers or [PASSWORD])[0]
        return Credentials(request.username, password)


@asynccontextmanager
async def demo_site(folder: Path, *, ipv6: bool = False) -> AsyncIterator[DemoSite]:
    """A running site."""
    site = DemoSite(folder, ipv6=ipv6)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        yield site
        nursery.cancel_scope.cancel()


def record_server_links(monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """Return a list that receives, for each client of any demo server, the SSTP packets it sent."""
    heard: list[list[bytes]] = []

    class RecordingLink(Link):
        def start(self, now: float) -> None:
            heard.append([])
            self.packets, self.buffer = heard[-1], PacketBuffer()
            super().start(now)

        def receive_data(self, data: bytes, now: float) -> tuple[bytes, list[tuple[int, int]]]:
            self.buffer.feed(data)
            while (packet := self.buffer.next_packet()) is not None:
                self.packets.append(packet)
            return super().receive_data(data, now)

    monkeypatch.setattr(server_module, "Link", RecordingLink)
    return heard


def is_terminate_request(packet: bytes) -> bool:
    return packet[4:9] == bytes.fromhex("ff03c02105")


def is_call_disconnect(packet: bytes) -> bool:
    return packet[1] == 1 and packet[4:6] == b"\x00\x06"
