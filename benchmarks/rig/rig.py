"""The rig: the place that a case wants, and the peers in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from . import namespaces
from .conditions import CONGESTION_CONTROL, ECHO_PORT, WEB_PORT, Conditions, Place
from .gateway import (
    OCSERV_PORT,
    SSH_PORT,
    SSTP_PORT,
    STAGE,
    STAGE_GATEWAY,
    STAGE_TARGET,
    TARGET_NAMESPACE,
    Gateway,
    repository,
)
from .processes import Process

if TYPE_CHECKING:
    from .peers import Peer, RunningPeer

FAR_GATEWAY = "127.0.0.2"
"""Where the relays listen that give the gateway distance: its ports, one relay each."""
FIRST_REQUEST_TIMEOUT = 20.0
FIRST_TRY, FIRST_TRY_ROUND_TRIPS = 0.3, 5
"""Seconds and round trips that one try gets: what is tried before the tunnel is up may never be answered."""


class Rig:
    """Everything that a case can use. ``folder`` is for its files; ``quick`` wants fewer and shorter runs."""

    def __init__(self, gateway: Gateway, folder: Path, *, quick: bool) -> None:
        self.gateway = gateway
        self.folder = folder
        self.quick = quick

    @contextmanager
    def place(self, conditions: Conditions) -> Iterator[Place]:
        """Make the conditions; the place lasts as long as the block."""
        gateway = self.gateway
        gateway.set_sstpd("--pack", str(conditions.pack), "--mtu", str(conditions.mtu))
        gateway.set_ocserv(conditions.mtu)
        with ExitStack() as stages:
            outer = target = direct = ""
            if conditions.delay:
                for port in (SSTP_PORT, OCSERV_PORT, SSH_PORT, WEB_PORT, ECHO_PORT):
                    stages.enter_context(self._relay(port, conditions.delay))
                outer = direct = FAR_GATEWAY
            if conditions.loss or conditions.target_delay:
                stages.enter_context(self._target_stage(conditions))
                target = direct = STAGE_TARGET
            yield Place(
                gateway=outer or gateway.address,
                target=target or gateway.inner_address,
                direct=direct or gateway.address,
            )

    @contextmanager
    def _stage(self, name: str, *arguments: str) -> Iterator[Process]:
        """Run a stage of impairment; the block begins when it works."""
        command = [sys.executable, "-m", "benchmarks.rig.impairment", *arguments]
        stage = Process(name, command, self.folder / f"{name}.log", {"PYTHONPATH": str(repository())})
        try:
            deadline = time.monotonic() + FIRST_REQUEST_TIMEOUT
            while not stage.log.startswith("{"):
                if stage.ended or time.monotonic() > deadline:
                    raise RuntimeError(f"the stage of impairment does not start:\n{stage.log}")
                time.sleep(0.02)
            yield stage
        finally:
            stage.stop()

    @contextmanager
    def _relay(self, port: int, delay: float) -> Iterator[Process]:
        listen, onward = f"{FAR_GATEWAY}:{port}", f"{self.gateway.address}:{port}"
        with self._stage(f"relay-{port}", "relay", listen, onward, "--delay", str(delay * 1000)) as stage:
            yield stage

    @contextmanager
    def _target_stage(self, conditions: Conditions) -> Iterator[Process]:
        """Join gateway and target by two TUN devices with an impairment between, and route through them."""
        space = self.gateway.namespace
        left, right = f"{space},{STAGE},{STAGE_GATEWAY}", f"{TARGET_NAMESPACE},{STAGE},{STAGE_TARGET}"
        figures = ("--loss", str(conditions.loss * 100), "--delay", str(conditions.target_delay * 1000))
        with self._stage("target-stage", "tun", left, right, *figures) as stage:
            route = ["route", "replace", STAGE_TARGET, "dev", STAGE, *CONGESTION_CONTROL]
            back = ["route", "replace", "default", "dev", STAGE, *CONGESTION_CONTROL]
            # sstpd's clients are routed by a table of their own, which leads nowhere else.
            namespaces.run("ip", "-n", space, *route)
            namespaces.run("ip", "-n", space, *route, "table", "100")
            namespaces.run("ip", "-n", TARGET_NAMESPACE, *back)
            namespaces.run(
                "ip", "route", "replace", f"{STAGE_TARGET}/32", "via", self.gateway.address, *CONGESTION_CONTROL
            )
            namespaces.set_network(space, f"ipv4/conf/{STAGE}/forwarding", 1)
            yield stage
            subprocess.run(["ip", "route", "del", f"{STAGE_TARGET}/32"], check=False)

    @contextmanager
    def running(self, peer: Peer, place: Place, conditions: Conditions) -> Iterator[RunningPeer]:
        """Start a peer and wait until a program gets through; it is stopped at the end of the block."""
        begin = time.monotonic()
        running = peer.start(self, place, conditions)
        try:
            self._first_request(running, FIRST_TRY + FIRST_TRY_ROUND_TRIPS * 2 * conditions.delay)
            running.started_in = time.monotonic() - begin
            yield running
        finally:
            running.stop()

    def _first_request(self, running: RunningPeer, patience: float) -> None:
        deadline = time.monotonic() + FIRST_REQUEST_TIMEOUT
        while True:
            try:
                with running.dial(timeout=patience) as stream:
                    stream.sendall(b"GET /1 HTTP/1.0\r\n\r\n")
                    if stream.recv(100).startswith(b"HTTP/1.1 200"):
                        return
            except OSError as error:
                if time.monotonic() > deadline:
                    logs = "\n".join(process.log for process in running.processes)
                    raise RuntimeError(f"nothing gets through {running.peer.title}: {error}\n{logs}") from error
                time.sleep(0.02)
