"""The demo, its server and the library's front door, all over loopback."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.opcode
import h11
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import sstpsocks
from sstpsocks.demo import checks
from sstpsocks.demo import run as demo_run
from sstpsocks.demo.checks import CheckFailed
from sstpsocks.demo.intranet import DOWNLOAD_SIZE, ECHO_PORT, GATEWAY, HTTP_PORT, PAGE, ZONE, answer_query
from sstpsocks.errors import ConfigError, ConnectionRefused, DeniedByRule, NameNotFound
from sstpsocks.library import Tunnel
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def tunnel_to(site: DemoSite) -> AsyncIterator[Tunnel]:
    async with sstpsocks.open_tunnel(
        "127.0.0.1",
        port=site.port,
        username="alice",
        password=PASSWORD,
        ca_file=str(site.ca_file),
        server_name=SERVER_NAME,
    ) as tunnel:
        yield tunnel


# The demo


async def test_once_reports_every_check_and_returns_0(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(60):
        assert await demo_run.run_demo(once=True) == 0
    said = capsys.readouterr().out
    for check in checks.CHECKS:
        assert f"  ok      {check.name}: " in said
    assert "FAILED" not in said


async def fails(_host: str, _port: int) -> str:
    raise CheckFailed("it did not work")


async def breaks(_host: str, _port: int) -> str:
    raise trio.BrokenResourceError


async def hangs(_host: str, _port: int) -> str:
    await trio.sleep_forever()


@pytest.mark.parametrize("broken", [fails, breaks, hangs])
async def test_a_failed_check_is_named_and_gives_the_exit_code(
    broken: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, download, *others = checks.CHECKS
    assert callable(broken)
    monkeypatch.setattr(checks, "CHECK_TIMEOUT", 0.05)
    monkeypatch.setattr(demo_run, "CHECKS", (checks.Check(download.name, broken),))
    with trio.fail_after(60):
        assert await demo_run.run_demo(once=True) == CheckFailed.exit_code != 0
    said = capsys.readouterr().out
    assert f"  FAILED  {download.name}: " in said
    assert page.name not in said
    assert all(other.name not in said for other in others)


async def test_the_command_ends_after_the_report() -> None:
    with trio.fail_after(60):
        result = await trio.run_process(
            [sys.executable, "-m", "sstpsocks", "demo", "--once", "--listen", "0"],
            cwd=ROOT,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b"  ok ") == len(checks.CHECKS)
    assert b"Traceback" not in result.stderr


async def test_a_port_that_is_taken_is_said_and_nothing_stays_open() -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        with pytest.RaisesGroup(ConfigError):
            await demo_run.run_demo(port=taken.socket.getsockname()[1], once=True)


# The demo's server


async def test_strangers_do_not_take_the_server_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sstpsocks.demo.server.SETUP_TIMEOUT", 0.05)
    async with demo_site(tmp_path) as site:
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(300)):
            async with await trio.open_tcp_stream("127.0.0.1", site.port) as stream:
                await stream.send_all(words)
                # Cut when it makes no sense, and after its time when it says nothing.
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    continue
        monkeypatch.undo()
        async with tunnel_to(site) as tunnel:
            assert tunnel.info.dns == (GATEWAY,)


async def fetch(tunnel: Tunnel, request: bytes) -> tuple[int, bytes]:
    """Return status and body of the demo's answer to a raw request."""
    async with await tunnel.open_tcp_stream(f"www.{ZONE}", HTTP_PORT) as stream:
        await stream.send_all(request)
        await stream.send_eof()
        raw = b"".join([data async for data in stream])
    client = h11.Connection(h11.CLIENT)
    method = b"HEAD" if request.startswith(b"HEAD") else b"GET"
    client.send(h11.Request(method=method, target="/", headers=[("host", ZONE)]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    client.receive_data(b"")
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    return response.status_code, body


async def test_the_intranets_web_server(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as site, tunnel_to(site) as tunnel:
        assert await fetch(tunnel, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == (200, PAGE)
        assert await fetch(tunnel, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") == (200, b"")
        assert await fetch(tunnel, b"HEAD /download HTTP/1.1\r\nHost: x\r\n\r\n") == (200, b"")
        assert (await fetch(tunnel, b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n"))[1][DOWNLOAD_SIZE:] == b""
        assert (await fetch(tunnel, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"))[0] == 404
        assert (await fetch(tunnel, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))[0] == 405
        assert (await fetch(tunnel, b"nonsense\r\n\r\n"))[0] == 400
        # And nobody else is disturbed.
        assert tunnel.network.up


@settings(deadline=None, max_examples=200)
@given(wire=st.binary(max_size=80), opcode=st.sampled_from([*dns.opcode.Opcode]))
def test_the_intranets_name_server_takes_anything(wire: bytes, opcode: int) -> None:
    answer_query(wire)
    query = bytearray(dns.message.make_query(f"www.{ZONE}", "A").to_wire())
    query[2] = (query[2] & 0x87) | opcode << 3
    answer_query(bytes(query))
    answer_query(bytes(query[:12]) + wire)


# The library


async def test_a_tunnel_in_a_program(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as site, tunnel_to(site) as tunnel:
        assert await tunnel.resolve(f"echo.{ZONE}") == [GATEWAY]
        for target in (f"echo.{ZONE}", GATEWAY, str(GATEWAY)):
            async with await tunnel.open_tcp_stream(target, ECHO_PORT) as stream:
                await stream.send_all(b"hello")
                await stream.send_eof()
                assert b"".join([data async for data in stream]) == b"hello"
        udp = tunnel.open_udp(GATEWAY, 53)
        await udp.send(dns.message.make_query(f"www.{ZONE}", "A").to_wire())
        assert str(GATEWAY) in dns.message.from_wire(await udp.receive()).to_text()
        udp.close()
        with pytest.raises(ConnectionRefused):
            await tunnel.open_tcp_stream(f"www.{ZONE}", 81)
        with pytest.raises(NameNotFound):
            await tunnel.open_tcp_stream(f"nx.{ZONE}", 80)
        with pytest.raises(DeniedByRule):
            await tunnel.open_tcp_stream("localhost", 80)
        refused = tunnel.open_udp(GATEWAY, 9)
        await refused.send(b"anybody?")
        with pytest.raises(ConnectionRefused):
            await refused.receive()
        # Said once; afterwards the socket works on.
        with trio.move_on_after(0.01) as scope:
            await refused.receive()
        assert scope.cancelled_caught
        refused.close()


async def test_an_exception_in_the_block_comes_out_as_it_is(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as site:
        with pytest.raises(ZeroDivisionError):
            async with tunnel_to(site):
                raise ZeroDivisionError


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": 0},
        {"mtu": 500},
        {"mtu": 5000},
        {"methods": ()},
        {"methods": ("telepathy",)},
        {"pin_sha256": ("abc",)},
        {"reconnect": "sometimes"},
    ],
)
async def test_unusable_arguments_are_configuration_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        async with sstpsocks.open_tunnel("vpn.test", password="x", **arguments):  # type: ignore[arg-type]  # on purpose
            pytest.fail("these arguments make no sense")


async def test_the_example_fetches_inside_the_tunnel(tmp_path: Path) -> None:
    """The example takes a public server's name and the system's roots; here both are given to the library."""
    script = (
        "import functools, runpy, sys, sstpsocks, sstpsocks.library as library\n"
        "port, ca_file, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "sstpsocks.open_tunnel = functools.partial(\n"
        "    library.open_tunnel, port=port, ca_file=ca_file, server_name=name)\n"
        "sys.argv[:] = sys.argv[4:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    async with demo_site(tmp_path) as site:
        arguments = [str(site.port), str(site.ca_file), SERVER_NAME]
        example = [str(ROOT / "examples" / "fetch_inside_tunnel.py"), "127.0.0.1", "alice", f"www.{ZONE}", "/"]
        with trio.fail_after(60):
            result = await trio.run_process(
                [sys.executable, "-c", script, *arguments, *example],
                cwd=ROOT,
                env={**os.environ, "SSTPSOCKS_PASSWORD": PASSWORD},
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(PAGE)
