"""Fetch a page from a private network with httpx: its connections are opened in the tunnel, without any proxy.

SSTPSOCKS_PASSWORD=... python examples/httpx_inside_tunnel.py vpn.example.com alice https://intranet.example.com/

httpx leaves connections to httpcore, whose pool takes a network backend: TunnelBackend is one. Names are resolved in
the tunnel, TLS ends in this program, and the proxies of the environment do not matter to a client with a transport.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import httpcore
import httpx
import trio

import sstpsocks
from sstpsocks.errors import ConnectTimedOut, DialError
from sstpsocks.library import Tunnel
from sstpsocks.tunnel.network import TunnelStream


class TunnelTransport(httpx.AsyncHTTPTransport):
    """What httpx.AsyncClient(transport=...) takes."""

    def __init__(self, tunnel: Tunnel, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        # httpx has no argument for the backend; its transport only translates for the pool.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context or httpx.create_ssl_context(), network_backend=TunnelBackend(tunnel)
        )


class TunnelBackend(httpcore.AsyncNetworkBackend):
    """Opens httpcore's connections in the tunnel."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a name or an address inside the tunnel."""
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError, timeout):
            stream = await self._tunnel.open_tcp_stream(host, port)
        return _Stream(stream, stream)

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts."""
        await trio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: trio.abc.Stream, connection: TunnelStream) -> None:
        self._stream = stream
        """The connection, or TLS on it."""
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        with _translated(httpcore.ReadTimeout, httpcore.ReadError, timeout):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        with _translated(httpcore.WriteTimeout, httpcore.WriteError, timeout):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        tls = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with _translated(httpcore.ConnectTimeout, httpcore.ConnectError, timeout):
                await tls.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(self._stream)
            raise
        return _Stream(tls, self._connection)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "ssl_object" if isinstance(self._stream, trio.SSLStream):
                return self._stream
            case "client_addr":
                return self._connection.local_address
            case "server_addr":
                return self._connection.remote_address
            case "is_readable":
                # An idle connection with something to read was closed by the server: the pool drops it.
                return self._connection.at_eof or bool(self._connection.readable_pieces())
        return None


@contextmanager
def _translated(too_slow: type[Exception], broken: type[Exception], limit: float | None) -> Iterator[None]:
    try:
        with trio.fail_after(inf if limit is None else limit):
            yield
    except (trio.TooSlowError, ConnectTimedOut) as error:
        raise too_slow(str(error)) from error
    except (DialError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
        raise broken(str(error.__cause__ or error)) from error


async def fetch(tunnel: Tunnel, url: str, context: ssl.SSLContext | None = None) -> bytes:
    """Return the content of a page behind the SSTP server."""
    async with httpx.AsyncClient(transport=TunnelTransport(tunnel, context), follow_redirects=True) as client:
        return (await client.get(url)).raise_for_status().content


async def fetch_through(server: str, username: str, url: str) -> bytes:
    """Bring a tunnel up for one page."""
    async with sstpsocks.open_tunnel(server, username=username, password=os.environ["SSTPSOCKS_PASSWORD"]) as tunnel:
        return await fetch(tunnel, url)


def main() -> int:
    """Fetch what the command line names."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    server, username, url = sys.argv[1:]
    try:
        sys.stdout.buffer.write(trio.run(fetch_through, server, username, url))
    except sstpsocks.SstpsocksError as error:
        print(f"{error}. {error.hint}", file=sys.stderr)
        return error.exit_code
    except httpx.HTTPError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
