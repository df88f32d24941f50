"""Fetch a page from a private network: a tunnel inside a Python program, without any proxy in between.

SSTPSOCKS_PASSWORD=... python examples/fetch_inside_tunnel.py vpn.example.com alice intranet.example.com /
"""

from __future__ import annotations

import os
import sys

import trio

import sstpsocks


async def fetch(server: str, username: str, host: str, path: str) -> bytes:
    """Return the raw HTTP response of ``host`` behind the SSTP server."""
    async with sstpsocks.open_tunnel(server, username=username, password=os.environ["SSTPSOCKS_PASSWORD"]) as tunnel:
        async with await tunnel.open_tcp_stream(host, 80) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return b"".join([data async for data in stream])


def main() -> int:
    """Fetch what the command line names."""
    if len(sys.argv) != 5:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        server, username, host, path = sys.argv[1:]
        sys.stdout.buffer.write(trio.run(fetch, server, username, host, path))
    except sstpsocks.SstpsocksError as error:
        print(f"{error}. {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
