from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from sstpsocks.app.config import Configuration, ListenSettings, OutputSettings
from sstpsocks.app.credentials import FixedPassword, PasswordSource, PromptPassword
from sstpsocks.app.engine import Beside, Engine, OpenTunnel, Running, Serve
from sstpsocks.app.failures import describe
from sstpsocks.app.limits import allow_open_files
from sstpsocks.app.messages import TerminalDisplay
from sstpsocks.app.options import DEFAULT_MAX_CONNECTIONS
from sstpsocks.app.run import run_connect
from sstpsocks.app.signals import ending_signals
from sstpsocks.base.listen_address import TcpAddress, UnixAddress
from sstpsocks.errors import AuthenticationFailed, ConfigError, SstpsocksError, TransportFailed, TunnelClosed
from sstpsocks.proxy import port
from sstpsocks.proxy.context import Pages
from sstpsocks.proxy.listen import Listeners, open_all
from sstpsocks.proxy.outlet import Outlet
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.proxy.routing.router import Router
from sstpsocks.tunnel.settings import TrustSettings, TunnelSettings
from sstpsocks.tunnel.states import StateObserver, TunnelInfo, TunnelState, TunnelStatus
from sstpsocks.tunnel.steps import Step, StepObserver, StepReport

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class FakeTunnel:
    """Stands for a tunnel and the network in it."""

    up: bool = True
    address: str = "10.0.0.2"
    lost: trio.Event = field(default_factory=trio.Event)
    failure: SstpsocksError | None = None
    routes: tuple[IPv4Network, ...] = ()
    search: tuple[str, ...] = ()

    @property
    def network(self) -> FakeTunnel:
        return self

    @property
    def info(self) -> TunnelInfo:
        return TunnelInfo(
            server="vpn.example.org:443",
            addresses=(IPv4Address(self.address),),
            dns=(IPv4Address("10.0.0.1"),),
            mtu=1400,
            tls_version="TLSv1.3",
            correlation_id="x",
            routes=self.routes,
            search=self.search,
        )

    async def wait_closed(self) -> None:
        await self.lost.wait()
        if self.failure is not None:
            raise self.failure


class World:
    """Runs the command with fakes round it and keeps what happened in order."""

    def __init__(self, tmp_path: Path, *, port: int = 0, password: PasswordSource | None = None) -> None:
        self.ready_file = tmp_path / "ready.json"
        self.tunnel = FakeTunnel()
        self.happened: list[str] = []
        self.refuses: SstpsocksError | None = None
        self.ends_slowly: trio.Event | None = None
        self.on_state: StateObserver | None = None
        self.observe: StepObserver | None = None
        self.serve_fails: Exception | None = None
        self.connections_allowed = 0
        self.outlet: Outlet | None = None
        self.beside: Beside | None = None
        self.screen = io.StringIO()
        source = password if password is not None else FixedPassword("x", "here")
        settings = TunnelSettings(
            host="vpn.example.org",
            trust=TrustSettings(server_name="vpn.example.org"),
            username="alice",
            credentials=source,
        )
        self.configuration = Configuration(
            tunnel=settings,
            password=source,
            listen=ListenSettings(addresses=(TcpAddress("127.0.0.1", port),)),
            output=OutputSettings(ready_file=self.ready_file),
        )
        self.engine = Engine(
            open_tunnel=cast(OpenTunnel, self.open_tunnel),
            open_listeners=self.open_listeners,
            serve=cast(Serve, self.serve),
            leave_at_once=lambda: self.happened.append("left at once"),
        )

    @asynccontextmanager
    async def open_tunnel(
        self, settings: TunnelSettings, *, observe: StepObserver, on_state: StateObserver
    ) -> AsyncIterator[FakeTunnel]:
        self.happened.append("dialled")
        self.on_state = on_state
        self.observe = observe
        observe(StepReport(Step.TCP, done=True, text="connected"))
        if self.refuses is not None:
            raise self.refuses
        on_state(TunnelState(TunnelStatus.UP, "first"))
        try:
            yield self.tunnel
        finally:
            with trio.CancelScope(shield=True):
                if self.ends_slowly is not None:
                    await self.ends_slowly.wait()
            self.happened.append("ended in order")

    async def open_listeners(self, listen: ListenSettings) -> Listeners:
        listeners = await open_all(listen.addresses, open_to_all=False)
        self.happened.append("listening")
        return listeners

    async def serve(self, outlet: Outlet, listen: ListenSettings, listeners: Listeners, pages: Pages) -> None:
        self.outlet = outlet
        self.connections_allowed = listen.max_connections
        self.happened.append("serving")
        if self.serve_fails is not None:
            raise self.serve_fails
        await trio.sleep_forever()

    async def run(self) -> int:
        display = TerminalDisplay(self.screen, {"NO_COLOR": "1"})
        return await run_connect(self.configuration, display, self.engine, self.beside)

    async def ready(self) -> dict[str, object]:
        with trio.fail_after(5):
            while not self.ready_file.exists():
                await trio.testing.wait_all_tasks_blocked()
        document = json.loads(self.ready_file.read_text())
        assert isinstance(document, dict)
        return document


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def during(world: World, act: Callable[[dict[str, object]], None]) -> int:
    """Run the command, act when it is ready, and return its exit code."""
    exit_code = -1

    async def run() -> None:
        nonlocal exit_code
        exit_code = await world.run()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            act(await world.ready())
    return exit_code


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
async def test_the_first_signal_ends_everything_in_order(world: World, name: str) -> None:
    port = ""

    def interrupt(document: dict[str, object]) -> None:
        nonlocal port
        (port,) = cast(list[str], document["listen"])
        signal.raise_signal(getattr(signal, name))

    assert await during(world, interrupt) == 0
    assert world.happened == ["listening", "dialled", "serving", "ended in order"]
    assert not world.ready_file.exists()
    assert "curl --socks5-hostname 127.0.0.1:" in world.screen.getvalue()
    assert "Ending" in world.screen.getvalue()
    with pytest.raises(OSError, match=r"."):
        await trio.open_tcp_stream("127.0.0.1", int(port.rpartition(":")[2]))


async def test_the_ready_file_has_the_real_port_and_the_tunnels_facts(world: World) -> None:
    seen: dict[str, object] = {}

    def look(document: dict[str, object]) -> None:
        seen.update(document)
        signal.raise_signal(signal.SIGINT)

    await during(world, look)
    (listen,) = cast(list[str], seen.pop("listen"))
    host, _, port = listen.rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) > 0
    assert seen == {"server": "vpn.example.org:443", "addresses": ["10.0.0.2"], "dns": ["10.0.0.1"], "mtu": 1400}


async def test_the_second_signal_leaves_at_once(world: World, tmp_path: Path) -> None:
    path = tmp_path / "socks"
    if sys.platform != "win32":
        listen = ListenSettings(addresses=(TcpAddress("127.0.0.1", 0), UnixAddress(path)))
        world.configuration = replace(world.configuration, listen=listen)
    world.ends_slowly = trio.Event()

    async def twice() -> None:
        await world.ready()
        assert path.exists() == (sys.platform != "win32")
        signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert world.happened[-1] == "serving"
        signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert world.happened[-1] == "left at once"
        assert not path.exists()
        assert not world.ready_file.exists()
        assert world.ends_slowly is not None
        world.ends_slowly.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(twice)
            nursery.start_soon(world.run)
    assert world.happened[-1] == "ended in order"


@pytest.mark.parametrize(
    ("error", "exit_code"), [(TransportFailed("refused", hint="Try x"), 3), (AuthenticationFailed("no"), 5)]
)
async def test_a_first_connect_that_fails_ends_with_its_exit_code(
    world: World, error: SstpsocksError, exit_code: int
) -> None:
    world.refuses = error
    with pytest.raises((SstpsocksError, ExceptionGroup)) as caught:
        await world.run()
    assert describe(caught.value).exit_code == exit_code
    assert not world.ready_file.exists()
    assert world.happened == ["listening", "dialled"]


async def test_a_tunnel_that_is_lost_for_good_ends_the_program_with_7(world: World) -> None:
    world.tunnel.failure = TunnelClosed("the server closed the call", hint="Wait")

    async def lose() -> None:
        await world.ready()
        assert world.on_state is not None
        world.on_state(TunnelState(TunnelStatus.STOPPED, "the server closed the call"))
        world.tunnel.lost.set()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(world.run)

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    failure = describe(caught.value)
    assert (failure.exit_code, failure.text) == (7, "the server closed the call. Wait")
    assert "closed the call" not in world.screen.getvalue(), "it is said once, at the end"
    assert not world.ready_file.exists()


async def test_after_a_reconnect_the_ready_file_has_the_new_address(world: World) -> None:
    async def reconnect() -> None:
        await world.ready()
        assert world.on_state is not None
        world.tunnel.up = False
        world.on_state(TunnelState(TunnelStatus.RECONNECTING, "gone; dialling again"))
        world.tunnel.up, world.tunnel.address = True, "10.0.0.99"
        world.on_state(TunnelState(TunnelStatus.UP, "as 10.0.0.99"))
        with trio.fail_after(5):
            while (await world.ready())["addresses"] != ["10.0.0.99"]:
                await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconnect)
        nursery.start_soon(world.run)
    assert "Tunnel down: gone; dialling again\nTunnel up again: as 10.0.0.99\n" in world.screen.getvalue()


async def test_what_dhcp_tells_later_gets_into_the_ready_file(world: World) -> None:
    async def tell() -> None:
        before = await world.ready()
        assert "routes" not in before
        world.tunnel.routes = (IPv4Network("172.30.0.0/16"),)
        world.tunnel.search = ("lab.test",)
        assert world.observe is not None
        world.observe(StepReport(Step.DHCP, done=True, text="routes 172.30.0.0/16; search lab.test"))
        with trio.fail_after(5):
            while "routes" not in (after := await world.ready()):
                await trio.testing.wait_all_tasks_blocked()
        assert after == before | {"routes": ["172.30.0.0/16"], "search": ["lab.test"]}
        signal.raise_signal(signal.SIGINT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        nursery.start_soon(world.run)
    assert "DHCP            routes 172.30.0.0/16; search lab.test" in world.screen.getvalue()


async def test_a_port_that_is_taken_is_told_before_anything_is_dialled_or_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(_prompt: str) -> str:
        raise AssertionError("nobody must be asked")

    monkeypatch.setattr("getpass.getpass", asked)
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        world = World(tmp_path, port=taken.socket.getsockname()[1], password=PromptPassword())
        with pytest.raises((ConfigError, ExceptionGroup)) as caught:
            await world.run()
    failure = describe(caught.value)
    assert failure.exit_code == 2
    assert failure.text.startswith("cannot listen on 127.0.0.1:")
    assert "choose another" in failure.text
    assert world.happened == []


async def test_the_password_is_asked_for_before_dialling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, password=PromptPassword())

    def answers(_prompt: str) -> str:
        world.happened.append("asked")
        return "x"

    monkeypatch.setattr("getpass.getpass", answers)
    await during(world, lambda _document: signal.raise_signal(signal.SIGINT))
    assert world.happened[:3] == ["listening", "asked", "dialled"]


async def test_a_bug_in_the_server_comes_out_and_still_ends_the_tunnel(world: World) -> None:
    world.serve_fails = ValueError("oops")
    with pytest.raises(ExceptionGroup) as caught:
        await world.run()
    assert describe(caught.value).bug
    assert world.happened[-1] == "ended in order"


def test_only_the_signals_that_the_platform_has_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGTERM", "SIGHUP"):
        monkeypatch.delattr(signal, name, raising=False)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGINT, raising=False)
    assert ending_signals() == [signal.SIGINT, signal.SIGINT]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")
def test_nohup_keeps_the_hang_up_signal_ignored() -> None:
    hang_up = signal.Signals["SIGHUP"]
    before = signal.signal(hang_up, signal.SIG_IGN)
    try:
        assert hang_up not in ending_signals()
        signal.signal(hang_up, signal.SIG_DFL)
        assert hang_up in ending_signals()
    finally:
        signal.signal(hang_up, before)


def test_the_cap_is_the_proxys_own_unless_told() -> None:
    assert DEFAULT_MAX_CONNECTIONS == port.DEFAULT_MAX_CONNECTIONS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_on_open_files_is_raised_as_far_as_allowed() -> None:
    script = (
        "import resource\n"
        "from sstpsocks.app.limits import allow_open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))\n"
        "print(allow_open_files(32), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "print(allow_open_files(128), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "print(allow_open_files(9999), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["32 (64, 256)", "128 (128, 256)", "256 (256, 256)"]


def test_a_platform_without_the_limit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert allow_open_files(10**9) == 10**9


@pytest.mark.parametrize(("allowed", "cap"), [(10**6, DEFAULT_MAX_CONNECTIONS), (628, 500), (20, 1)])
async def test_no_more_connections_are_promised_than_files_may_be_open(
    world: World, monkeypatch: pytest.MonkeyPatch, allowed: int, cap: int
) -> None:
    monkeypatch.setattr("sstpsocks.app.run.allow_open_files", lambda count: min(count, allowed))
    assert await during(world, lambda _: signal.raise_signal(signal.SIGINT)) == 0
    assert world.connections_allowed == cap


def with_two(world: World) -> None:
    """Let there be two tunnels, and rules that tell them apart."""
    one = replace(world.configuration, name="a", rules=(parse_rule(".b.example -> b"),))
    other = replace(one.tunnel, username="bob")
    world.configuration = replace(one, others=(replace(one.tunnels[0], name="b", settings=other),))


@pytest.mark.parametrize("several", [False, True])
async def test_the_port_leads_to_the_router_with_one_tunnel_as_with_several(world: World, several: bool) -> None:
    if several:
        with_two(world)
    assert await during(world, lambda _: signal.raise_signal(signal.SIGINT)) == 0
    assert isinstance(world.outlet, Router)
    assert [str(rule) for rule in world.outlet.table.rules] == [".b.example -> b"][:several]
    assert world.happened.count("dialled") == world.happened.count("ended in order") == (2 if several else 1)


@pytest.mark.parametrize("several", [False, True])
async def test_the_end_of_what_is_done_beside_ends_everything_in_order(world: World, several: bool) -> None:
    if several:
        with_two(world)
    given: list[Running] = []

    async def beside(running: Running) -> None:
        given.append(running)
        await trio.lowlevel.checkpoint()
        world.happened.append("done beside")

    world.beside = beside
    with trio.fail_after(10):
        assert await world.run() == 0
    assert world.happened[-1] == "ended in order"
    assert world.happened.index("done beside") < world.happened.index("ended in order")
    (running,) = given
    assert running.outlet is world.outlet
    assert (running.ready.addresses, running.ready.dns) == (("10.0.0.2",), ("10.0.0.1",))


async def test_what_is_done_beside_is_over_before_a_tunnel_ends(world: World) -> None:
    """A command that takes a moment to end still has its connections then."""
    with_two(world)

    async def beside(_running: Running) -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked(0.01)
            world.happened.append("done beside")

    world.beside = beside
    with trio.fail_after(10):
        assert await world.run() == 0
    assert world.happened[-3:] == ["done beside", "ended in order", "ended in order"]


async def test_where_no_tunnel_comes_up_nothing_is_announced_nor_done(world: World) -> None:
    with_two(world)
    world.refuses = TransportFailed("refused")

    async def beside(_running: Running) -> None:
        raise AssertionError("there is nothing to do it with")

    world.beside = beside
    with pytest.raises((SstpsocksError, ExceptionGroup)) as caught:
        await world.run()
    assert describe(caught.value).exit_code == 3
    assert "The network behind" not in world.screen.getvalue()
    assert not world.ready_file.exists()


async def test_of_two_tunnels_one_may_be_lost(world: World) -> None:
    with_two(world)
    opened = world.open_tunnel
    second = FakeTunnel(failure=TunnelClosed("switched off"))

    @asynccontextmanager
    async def open_tunnel(
        settings: TunnelSettings, *, observe: StepObserver, on_state: StateObserver
    ) -> AsyncIterator[FakeTunnel]:
        async with opened(settings, observe=observe, on_state=on_state) as tunnel:
            yield second if settings.username == "bob" else tunnel

    world.engine = replace(world.engine, open_tunnel=cast(OpenTunnel, open_tunnel))

    async def lose() -> None:
        assert set(cast(dict[str, object], (await world.ready())["tunnels"])) == {"a", "b"}
        second.lost.set()
        with trio.fail_after(5):
            while set(cast(dict[str, object], (await world.ready())["tunnels"])) != {"a"}:
                await trio.testing.wait_all_tasks_blocked()
        assert 'Warning: the tunnel "b" is gone for good: switched off' in world.screen.getvalue()
        signal.raise_signal(signal.SIGINT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        nursery.start_soon(world.run)
