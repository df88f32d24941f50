"""What systemd is told, and when it is not."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from sstpsocks.app.readyfile import Ready
from sstpsocks.app.systemd import LONGEST_DELAY, Notifier, NotifyDisplay, keep_watchdog, notifier, watchdog_interval
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from sstpsocks.tunnel.steps import Step, StepReport

AF_UNIX: int | None = getattr(socket, "AF_UNIX", None)
pytestmark = pytest.mark.skipif(AF_UNIX is None, reason="needs Unix sockets")


class Systemd:
    """The other end."""

    def __init__(self, receiver: socket.socket, path: str) -> None:
        self.path = path
        self._receiver = receiver

    def told(self) -> list[list[str]]:
        """Return the assignments of each datagram so far."""
        found = []
        while True:
            try:
                found.append(self._receiver.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with socket.socket(AF_UNIX or 0, socket.SOCK_DGRAM) as receiver:
        path = str(tmp_path / "notify")
        receiver.bind(path)
        receiver.setblocking(False)
        yield Systemd(receiver, path)


def test_a_run_as_systemd_sees_it(systemd: Systemd) -> None:
    display = NotifyDisplay(Notifier(systemd.path))
    display.step(StepReport(Step.TLS, True, "TLSv1.3"))
    ready = Ready(listen=("127.0.0.1:1080",), server="vpn:443", addresses=(), dns=(), mtu=1400)
    display.ready(ready, None)
    display.step(StepReport(Step.TLS, True, "of a reconnect, which is told as a state"))
    display.state(TunnelState(TunnelStatus.RECONNECTING, "lost;\ndialling again"))
    display.warning("nothing for systemd")
    display.ending()
    assert systemd.told() == [
        ["STATUS=TLS: TLSv1.3"],
        ["READY=1", "STATUS=up: vpn:443, SOCKS and HTTP on 127.0.0.1:1080"],
        ["STATUS=lost; dialling again"],
        ["STOPPING=1", "STATUS=ending"],
    ]


def test_a_failure_is_the_last_status(systemd: Systemd) -> None:
    NotifyDisplay(Notifier(systemd.path)).failed("the server refused the password")
    assert systemd.told() == [["STOPPING=1", "STATUS=the server refused the password"]]


def test_a_reload_begins_with_the_time_and_ends_whatever_comes_of_it(systemd: Systemd) -> None:
    def fails() -> None:
        systemd_knew.append(systemd.told())
        raise RuntimeError

    systemd_knew: list[list[list[str]]] = []
    with pytest.raises(RuntimeError):
        Notifier(systemd.path).reload(fails)
    ((reloading, monotonic),) = systemd_knew[0]
    assert reloading == "RELOADING=1"
    assert monotonic.removeprefix("MONOTONIC_USEC=").isdigit()
    assert systemd.told() == [["READY=1"]]


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_a_socket_in_the_abstract_namespace() -> None:
    with socket.socket(AF_UNIX or 0, socket.SOCK_DGRAM) as receiver:
        name = f"sstpsocks-test-{os.getpid()}"
        receiver.bind(f"\0{name}")
        receiver.settimeout(5)
        sender = notifier({"NOTIFY_SOCKET": f"@{name}"})
        assert sender is not None
        sender.status("hello")
        assert receiver.recv(100) == b"STATUS=hello"


def test_nobody_is_told_where_there_is_nobody(tmp_path: Path) -> None:
    assert notifier({}) is None
    assert notifier({"NOTIFY_SOCKET": "vsock:2:3"}) is None
    Notifier(str(tmp_path / "missing")).status("goes nowhere")


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_when_the_watchdog_is_meant_for_us(environ: dict[str, str], interval: float | None) -> None:
    assert watchdog_interval(environ) == interval


async def test_the_watchdog_is_told_twice_in_its_time_as_long_as_the_drivers_work(
    systemd: Systemd, autojump_clock: trio.testing.MockClock
) -> None:
    environ = {"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "30000000"}
    behind = 0.5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_watchdog, environ, lambda: behind)
        await trio.sleep(61)
        assert systemd.told() == [["WATCHDOG=1"]] * 5
        behind = LONGEST_DELAY
        await trio.sleep(60)
        assert systemd.told() == []
        behind = 0.0
        await trio.sleep(30)
        assert systemd.told() == [["WATCHDOG=1"]] * 2
        nursery.cancel_scope.cancel()


async def test_without_a_watchdog_nothing_runs(systemd: Systemd) -> None:
    await keep_watchdog({"NOTIFY_SOCKET": systemd.path}, lambda: 0.0)
    await keep_watchdog({"WATCHDOG_USEC": "30000000"}, lambda: 0.0)
    assert systemd.told() == []
