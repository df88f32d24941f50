"""``sstpsocks demo``: server, client and SOCKS port in one process, a report, and then it stays for curl."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from ..errors import SstpsocksError
from ..library import run_tunnel
from ..ppp.auth import Credentials
from ..proxy.listen import open_listeners
from ..proxy.port import ProxyPort
from ..tunnel.settings import CredentialRequest, TrustSettings, TunnelSettings
from ..tunnel.steps import StepObserver, ignore_steps
from .ca import make_certificate
from .checks import CHECKS, run_check
from .intranet import ZONE
from .server import DemoServer

USER = "demo"
SERVER_NAME = "vpn.demo.invalid"


async def run_demo(
    host: str = "127.0.0.1", port: int = 0, *, once: bool = False, observe: StepObserver = ignore_steps
) -> int:
    """Run the demo with its SOCKS port at ``host:port`` (0: any free one); return the exit code.

    With ``once`` it returns after the report: 0, or the exit code of the step that failed. Otherwise it stays until
    cancelled.
    """
    password = secrets.token_urlsafe(12)

    async def credentials(request: CredentialRequest) -> Credentials:
        return Credentials(request.username, password)

    certificate = make_certificate((SERVER_NAME, "127.0.0.1"))
    server = DemoServer(certificate, {USER: password}, ipv6=True)
    with tempfile.TemporaryDirectory(prefix="sstpsocks-demo-") as folder:
        ca_file = Path(folder) / "ca.pem"
        ca_file.write_bytes(certificate.ca_pem)
        async with trio.open_nursery() as nursery:
            server_listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            server_port: int = server_listeners[0].socket.getsockname()[1]
            nursery.start_soon(server.serve, server_listeners)
            print(f"demo SSTP server on 127.0.0.1:{server_port}, with a throw-away CA")  # noqa: T201  # the report
            settings = TunnelSettings(
                host="127.0.0.1",
                port=server_port,
                trust=TrustSettings(server_name=SERVER_NAME, ca_file=str(ca_file)),
                username=USER,
                credentials=credentials,
            )
            exit_code = await _run_client(settings, host, port, once=once, observe=observe)
            nursery.cancel_scope.cancel()
    return exit_code


async def _run_client(settings: TunnelSettings, host: str, port: int, *, once: bool, observe: StepObserver) -> int:
    async with AsyncExitStack() as on_exit:
        listeners = await open_listeners(host, port)
        for listener in listeners:
            on_exit.push_async_callback(trio.aclose_forcefully, listener)
        socks_port: int = listeners[0].socket.getsockname()[1]
        tunnel = await on_exit.enter_async_context(run_tunnel(settings, observe=observe))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ProxyPort(tunnel.dialer).serve, listeners)
            print(f"tunnel is up: {tunnel.info.addresses[0]}, SOCKS and HTTP on {host}:{socks_port}")  # noqa: T201  # the report
            failed = await _report(host, socks_port)
            if not once:
                print(  # noqa: T201  # the report
                    f"\nIt stays up until Ctrl-C. Try:\n  curl --socks5-hostname {host}:{socks_port} http://www.{ZONE}/"
                )
                await tunnel.wait_closed()
            nursery.cancel_scope.cancel()
    return failed


async def _report(host: str, port: int) -> int:
    """Run every check and print a line for each; return the exit code of the first that failed, or 0."""
    exit_code = 0
    for check in CHECKS:
        try:
            text = await run_check(check, host, port)
        except SstpsocksError as error:
            print(f"  FAILED  {check.name}: {error}", flush=True)  # noqa: T201  # the report
            exit_code = exit_code or error.exit_code
        else:
            print(f"  ok      {check.name}: {text}", flush=True)  # noqa: T201  # the report
    return exit_code
