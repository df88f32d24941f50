"""The example for ssh: a real client and server of SSH, with the demo's tunnel between them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from sstpsocks.bridge import TunnelThread
from sstpsocks.demo import intranet
from sstpsocks.demo.intranet import ECHO_PORT, REFUSED_PORT, ZONE
from sstpsocks.errors import ConnectionRefused
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site

if TYPE_CHECKING:
    import asyncssh
else:
    asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed (sstpsocks[test])")


def lead_the_echo_port_to(target: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what comes to the intranet's echo port served by a port of this machine."""

    async def serve(stream: TcpStream) -> None:
        async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.HalfCloseableStream) -> None:
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()

        async with await trio.open_tcp_stream("127.0.0.1", target[0]) as server, trio.open_nursery() as nursery:
            nursery.start_soon(copy, stream, server)
            nursery.start_soon(copy, server, stream)

    monkeypatch.setattr(intranet, "serve_echo", serve)


def known(host: str, key: asyncssh.SSHKey) -> Any:
    return asyncssh.import_known_hosts(f"[{host}]:{ECHO_PORT} {key.export_public_key().decode()}")


async def test_a_command_runs_on_a_known_host_and_on_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.ssh_inside_tunnel import run

    target: list[int] = []
    lead_the_echo_port_to(target, monkeypatch)
    host_key, other_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    authorized = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    login: dict[str, Any] = {"username": "alice", "client_keys": [user_key], "config": None, "agent_path": None}

    def answer(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(f"ran {process.command}")
        process.exit(3)

    async def talk(tunnel: TunnelThread) -> None:
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=authorized, process_factory=answer
        )
        async with server:
            target.append(server.get_port())
            result = await run(tunnel, ZONE, "uname -a", ECHO_PORT, known_hosts=known(ZONE, host_key), **login)
            assert (result.stdout, result.returncode) == ("ran uname -a", 3)
            with pytest.raises(asyncssh.HostKeyNotVerifiable):
                await run(tunnel, ZONE, "uname -a", ECHO_PORT, known_hosts=known(ZONE, other_key), **login)
            with pytest.raises(ConnectionRefused):
                await run(tunnel, ZONE, "uname -a", REFUSED_PORT, **login)

    def program(site: DemoSite) -> None:
        with TunnelThread(
            "127.0.0.1", port=site.port, username="alice", password=PASSWORD, server_name=SERVER_NAME,
            ca_file=str(site.ca_file), dhcp="never", reconnect="never",
        ) as tunnel:  # fmt: skip
            asyncio.run(talk(tunnel))

    with trio.fail_after(30):
        async with demo_site(tmp_path) as site:
            await trio.to_thread.run_sync(program, site)
