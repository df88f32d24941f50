"""The example for httpx, against the demo's intranet."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import sstpsocks
from sstpsocks.demo import intranet
from sstpsocks.demo.ca import make_certificate
from sstpsocks.demo.intranet import ECHO_PORT, PAGE, REFUSED_PORT, ZONE
from sstpsocks.library import Tunnel
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, demo_site

httpx = pytest.importorskip("httpx", reason="httpx is not installed (sstpsocks[test])")


@asynccontextmanager
async def tunnel_to_demo(folder: Path) -> AsyncIterator[Tunnel]:
    with trio.fail_after(30):
        async with (
            demo_site(folder) as site,
            sstpsocks.open_tunnel(
                "127.0.0.1", port=site.port, username="alice", password=PASSWORD, ca_file=str(site.ca_file),
                server_name=SERVER_NAME, dhcp="never",
            ) as tunnel,
        ):  # fmt: skip
            yield tunnel


def serve_pages_over_tls(monkeypatch: pytest.MonkeyPatch, folder: Path) -> ssl.SSLContext:
    """Have TLS on the echo port, and return what trusts it."""
    certificate = make_certificate((ZONE,))
    both = folder / "server.pem"
    both.write_bytes(certificate.certificate_pem + certificate.key_pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(both)

    async def serve(stream: TcpStream) -> None:
        tls = trio.SSLStream(stream, server, server_side=True, https_compatible=True)
        await tls.receive_some()
        await tls.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        await tls.aclose()

    monkeypatch.setattr(intranet, "serve_echo", serve)
    return ssl.create_default_context(cadata=certificate.ca_pem.decode())


async def test_a_page_and_then_another_come_over_one_connection(tmp_path: Path) -> None:
    from examples.httpx_inside_tunnel import TunnelTransport

    async with tunnel_to_demo(tmp_path) as tunnel, httpx.AsyncClient(transport=TunnelTransport(tunnel)) as client:
        first = await client.get(f"http://{ZONE}/")
        second = await client.get(f"http://{ZONE}/nothing")
        assert (first.content, second.status_code) == (PAGE, 404)
        ports = {r.extensions["network_stream"].get_extra_info("client_addr")[1] for r in (first, second)}
        assert len(ports) == 1


async def test_https_is_verified_by_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.httpx_inside_tunnel import fetch

    trusting = serve_pages_over_tls(monkeypatch, tmp_path)
    async with tunnel_to_demo(tmp_path) as tunnel:
        assert await fetch(tunnel, f"https://{ZONE}:{ECHO_PORT}/", trusting) == b"secret"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(tunnel, f"https://www.{ZONE}:{ECHO_PORT}/", trusting)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(tunnel, f"https://{ZONE}:{ECHO_PORT}/")


async def test_what_cannot_be_reached_is_an_error_of_httpx(tmp_path: Path) -> None:
    from examples.httpx_inside_tunnel import fetch

    async with tunnel_to_demo(tmp_path) as tunnel:
        for url in (f"http://{ZONE}:{REFUSED_PORT}/", f"http://nx.{ZONE}/"):
            with pytest.raises(httpx.ConnectError):
                await fetch(tunnel, url)
