"""Fetch a page from a private network with asyncio: the tunnel runs in a thread, without any proxy in between.

SSTPSOCKS_PASSWORD=... python examples/asyncio_inside_tunnel.py vpn.example.com alice intranet.example.com /

The same for libraries that take a socket: paramiko.Transport(tunnel.connect(host, 22)), or
asyncssh.connect(host, sock=tunnel.connect(host, 22)).
"""

from __future__ import annotations

import asyncio
import os
import sys

import sstpsocks
from sstpsocks.bridge import TunnelThread


async def fetch(tunnel: TunnelThread, host: str, path: str) -> bytes:
    """Return the raw HTTP response of ``host`` behind the SSTP server."""
    reader, writer = await tunnel.open_connection(host, 80)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


def main() -> int:
    """Fetch what the command line names."""
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    server, username, host, path = sys.argv[1:]
    try:
        with TunnelThread(server, username=username, password=os.environ["SSTPSOCKS_PASSWORD"]) as tunnel:
            sys.stdout.buffer.write(asyncio.run(fetch(tunnel, host, path)))
    except sstpsocks.SstpsocksError as error:
        print(f"{error}. {error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
