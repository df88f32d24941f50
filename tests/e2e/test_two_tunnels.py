"""Two tunnels into networks with the same addresses at once: one command as its user meets it, two demo servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
import trio

from sstpsocks.demo.intranet import GATEWAY, HTTP_PORT, PAGE
from sstpsocks.errors import ConnectionRefused
from sstpsocks.tunnel.streams import TcpStream
from tests.e2e.test_command import ROOT, environment
from tests.e2e.test_forwards import fetch, free_port, free_udp_port
from tests.helpers.demo_site import SERVER_NAME, DemoSite, demo_site
from tests.helpers.socks_client import SocksClient

RULES = [
    "two.intranet.demo, .lab.intranet.demo -> two",
    ".ads.intranet.demo -> refuse",
    "10.99.0.1 port 7 -> two",
    "all port 25 -> refuse",
    "printer.home.invalid -> direct",
]
CONFIG = """\
listen = 0
dns_listen = "0"
user = "alice"
password = "correct horse"
server_name = "{name}"
default_profile = ["one", "two"]
reconnect = "never"
rule = {rules}
[profiles.one]
server = "127.0.0.1:{one.port}"
ca_file = "{one.ca_file}"
[profiles.two]
server = "127.0.0.1:{two.port}"
ca_file = "{two.ca_file}"
listen = 0
{more}"""


class Running:
    """The command with its two sites."""

    def __init__(self, one: DemoSite, two: DemoSite, ready: Path, process: trio.Process, log: Path) -> None:
        self.one, self.two, self._ready, self.process, self._log = one, two, ready, process, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def ready(self) -> dict[str, object]:
        document = json.loads(self._ready.read_text())
        assert isinstance(document, dict)
        return document

    @property
    def port(self) -> int:
        return port_of(self.ready)

    @property
    def port_of_two(self) -> int:
        tunnels = self.ready["tunnels"]
        assert isinstance(tunnels, dict)
        return port_of(tunnels["two"])

    @property
    def opened(self) -> tuple[int, int]:
        """How many connections arrived in either network."""
        return opened_in(self.one), opened_in(self.two)

    async def page(self, host: str, port: int | None = None, *, target_port: int = HTTP_PORT) -> tuple[int, bytes]:
        """The SOCKS reply and the page."""
        async with await SocksClient.open(port or self.port) as client:
            await client.greet()
            name = host.encode()
            await client.send(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + target_port.to_bytes(2, "big"))
            reply = (await client.read(10))[1]
            if reply:
                return reply, b""
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return reply, await client.read_all()

    async def lose(self, site: DemoSite, name: str) -> None:
        """Switch a server off, and wait until the command has noticed."""
        await site.stop()
        with trio.fail_after(20):
            while f'the tunnel "{name}" is gone for good' not in self.log:  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.05)

    async def resolve(self, name: str) -> dns.message.Message:
        listen = self.ready["dns_listen"]
        assert isinstance(listen, list)
        port = int(listen[0].rpartition(":")[2])
        return await dns.asyncquery.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=port, timeout=10)


def opened_in(site: DemoSite) -> int:
    """How many connections arrived in a network."""
    return sum(driver.stack.counters.tcp_passive_opens for driver in site.server._drivers if driver.stack)


def port_of(document: dict[str, object]) -> int:
    listen = document["listen"]
    assert isinstance(listen, list)
    return int(listen[0].rpartition(":")[2])


@asynccontextmanager
async def two_tunnels(
    folder: Path, *, rules: list[str] = RULES, options: tuple[str, ...] = (), more: str = ""
) -> AsyncIterator[Running]:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    config, ready, log = folder / "config.toml", folder / "ready.json", folder / "log"
    async with demo_site(folder / "one") as one, demo_site(folder / "two") as two:
        config.write_text(CONFIG.format(name=SERVER_NAME, rules=json.dumps(rules), one=one, two=two, more=more))
        config.chmod(0o600)
        with log.open("wb") as stderr:
            words = [sys.executable, "-m", "sstpsocks", "connect", "--config", str(config), "--ready-file", str(ready)]
            process = await trio.lowlevel.open_process(
                [*words, *options],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            with trio.fail_after(30):
                while not ready.exists():
                    assert process.poll() is None, log.read_text()
                    await trio.sleep(0.02)
            with trio.fail_after(60):
                yield Running(one, two, ready, process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()


async def test_a_rule_sends_each_name_into_its_network_though_both_have_the_same_addresses(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        reply, page = await running.page("www.intranet.demo")
        assert reply == 0
        assert PAGE in page
        assert running.opened == (1, 0)
        for name in ("two.intranet.demo", "a.b.lab.intranet.demo"):
            reply, page = await running.page(name)
            assert reply == 0
            assert PAGE in page
        assert running.opened == (1, 2)


async def test_a_rule_for_an_address_and_port_also_holds_for_a_name_that_has_it(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        async with await SocksClient.open(running.port) as client:
            await client.greet()
            await client.send(b"\x05\x01\x00\x03\x10www.intranet.dem" + b"\x00\x07")
            assert (await client.read(10))[1] == 4  # not in the zone: the name is asked of the first tunnel
        async with await SocksClient.open(running.port) as client:
            await client.greet()
            await client.send(b"\x05\x01\x00\x03\x11www.intranet.demo" + b"\x00\x07")
            assert (await client.read(10))[1] == 0
            await client.send(b"echo")
            assert await client.read(4) == b"echo"
        assert running.opened == (0, 1)


async def test_each_tunnel_has_a_port_of_its_own_where_no_rule_holds(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        reply, page = await running.page("x.ads.intranet.demo", running.port_of_two)
        assert (reply, PAGE in page) == (0, True)
        assert running.opened == (0, 1)


async def test_what_is_refused_is_told_so_and_reaches_neither(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        assert await running.page("x.ads.intranet.demo") == (2, b"")
        assert await running.page("www.intranet.demo", target_port=25) == (2, b"")
        assert running.opened == (0, 0)


async def test_the_dns_port_agrees_with_the_rules(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        answer = await running.resolve("two.intranet.demo")
        assert [str(record) for record in answer.answer[0]] == [str(GATEWAY)]
        assert (await running.resolve("x.ads.intranet.demo")).rcode() == dns.rcode.REFUSED
        await running.lose(running.two, "two")
        assert (await running.resolve("new.lab.intranet.demo")).rcode() == dns.rcode.SERVFAIL
        assert (await running.resolve("new.intranet.demo")).rcode() == dns.rcode.NOERROR


async def test_the_port_gives_browsers_the_rules(tmp_path: Path) -> None:
    quickjs = pytest.importorskip("quickjs")
    async with two_tunnels(tmp_path) as running:
        for path in ("/proxy.pac", "/wpad.dat"):
            stream = await trio.open_tcp_stream("127.0.0.1", running.port)
            async with stream:
                await stream.send_all(
                    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" % path.encode()
                )
                answer = b""
                async for data in stream:
                    answer += data
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"application/x-ns-proxy-autoconfig" in head
            context = quickjs.Context()
            context.eval(body.decode())
            port = f"PROXY 127.0.0.1:{running.port}"
            for host, expected in (
                ("two.intranet.demo", port),
                ("www.intranet.demo", port),
                ("x.ads.intranet.demo", port),
                ("printer.home.invalid", "DIRECT"),
            ):
                assert context.eval(f'FindProxyForURL("http://{host}:81/", "{host}")') == expected


async def test_the_loss_of_one_is_told_and_leaves_the_other_alone(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        await running.lose(running.two, "two")
        assert (await running.page("two.intranet.demo"))[0] == 1  # not by the other tunnel, and not directly
        assert (await running.page("www.intranet.demo"))[0] == 0
        await running.one.stop()
        with trio.fail_after(20):
            assert await running.process.wait() == 7, running.log
        assert "Traceback" not in running.log


async def test_ways_past_the_tunnels_are_told_at_the_start(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path) as running:
        assert 'past all tunnels by the rule "printer.home.invalid -> direct"' in running.log


async def test_a_rule_that_cannot_be_read_ends_it_with_place_and_suggestion(tmp_path: Path) -> None:
    result = await trio.run_process(
        [sys.executable, "-m", "sstpsocks", "127.0.0.1:1", "-u", "a", "--rule", "a.example => direct"],
        cwd=ROOT, env=environment(), capture_stderr=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.decode() == (
        'sstpsocks: --rule: column 10: there is no ->. Did you mean "a.example -> direct"?\n'
    )


async def test_a_forward_of_a_profile_goes_through_its_tunnel_and_one_outside_by_the_rules(tmp_path: Path) -> None:
    outside, inside, names, back = free_port(), free_port(), free_udp_port(), free_port()
    more = (
        f'local_forward = ["{inside}:www.intranet.demo:80", "udp/{names}:ns.intranet.demo:53"]\n'
        f'remote_forward = "2222:127.0.0.1:{back}"\n'
    )
    flags = ("-L", f"{outside}:two.intranet.demo:80", "-L", f"{back}:www.intranet.demo:80", "-R", "2223:127.0.0.1:1")
    async with two_tunnels(tmp_path, options=flags, more=more) as running:
        assert PAGE in await fetch(await trio.open_tcp_stream("127.0.0.1", inside))
        assert running.opened == (0, 1), "past all rules"
        assert PAGE in await fetch(await trio.open_tcp_stream("127.0.0.1", outside))
        assert running.opened == (0, 2), "by the rule about the name"
        assert PAGE in await fetch(await trio.open_tcp_stream("127.0.0.1", back))
        assert running.opened == (1, 2), "the first tunnel"
        query = dns.message.make_query("www.intranet.demo", "A")
        assert (await dns.asyncquery.udp(query, "127.0.0.1", port=names, timeout=10)).answer
        # From inside the second network through this machine into the first.
        calling = await call(running.two, 2222)
        assert calling is not None
        assert PAGE in await fetch(calling)
        assert running.opened == (2, 2)
        assert await call(running.one, 2222) is None
        # Outside of profiles -R listens in the first tunnel.
        assert await call(running.one, 2223) is not None
        assert await call(running.two, 2223) is None


async def call(site: DemoSite, port: int) -> TcpStream | None:
    """Connect from inside a network to its client; None where nobody listens."""
    (driver,) = site.server._drivers
    assert driver.stack is not None
    (address,) = site.server.connected_users
    stream = TcpStream(driver.stack.connect_tcp(address, port, driver.now()), driver)
    try:
        await stream.wait_connected()
    except ConnectionRefused:
        return None
    return stream
