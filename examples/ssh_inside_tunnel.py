"""Run a command on a machine in a private network with asyncssh: the tunnel runs in a thread, without any proxy.

SSTPSOCKS_PASSWORD=... python examples/ssh_inside_tunnel.py vpn.example.com alice build.example.com uname -a

The user name, the keys and the known hosts are those of ssh on this machine; a host that is not known is refused.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import asyncssh

import sstpsocks
from sstpsocks.bridge import TunnelThread


async def run(
    tunnel: TunnelThread, host: str, command: str, port: int = 22, **options: Any
) -> asyncssh.SSHCompletedProcess:
    """Run ``command`` on ``host`` behind the SSTP server; ``options`` are those of asyncssh.connect()."""
    sock = await asyncio.to_thread(tunnel.connect, host, port)
    # The host is named beside the socket, to be looked up in known_hosts.
    async with asyncssh.connect(host, port, sock=sock, **options) as connection:
        return await connection.run(command)


def main() -> int:
    """Run what the command line names."""
    if len(sys.argv) < 5:
        print(__doc__, file=sys.stderr)
        return 2
    server, username, host, *command = sys.argv[1:]
    try:
        with TunnelThread(server, username=username, password=os.environ["SSTPSOCKS_PASSWORD"]) as tunnel:
            result = asyncio.run(run(tunnel, host, " ".join(command)))
    except sstpsocks.SstpsocksError as error:
        print(f"{error}. {error.hint}", file=sys.stderr)
        return error.exit_code
    except asyncssh.Error as error:
        print(f"{host}: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(str(result.stdout or ""))
    sys.stderr.write(str(result.stderr or ""))
    return result.returncode if result.returncode is not None else 1


if __name__ == "__main__":
    sys.exit(main())
