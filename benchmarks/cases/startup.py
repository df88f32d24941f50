"""Starting: what the interpreter takes, and the way up to a tunnel, step by step and in round trips."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.cases import Measurement
from benchmarks.rig import steps
from benchmarks.rig.builds import Sstpsocks
from benchmarks.rig.conditions import Conditions, Place
from benchmarks.rig.gateway import SSTP_PORT
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import FAR_GATEWAY, Rig

ONE_WAY = 0.05
SPAWNS = 5
NO_GATEWAY = "127.0.0.3"
"""Where somebody only listens."""
TIMEOUT = 30.0


def milliseconds(value: float) -> Measurement:
    """Return a figure of which less is better."""
    return Measurement(value, "ms", "less")


class Processes:
    """What it takes to start the program at all."""

    name = "start-program"
    title = "Starting the program"
    fresh = False
    conditions = Conditions()

    def applies(self, peer: Peer) -> bool:
        """Ours."""
        return isinstance(peer, Sstpsocks)

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Start and end it several times."""
        build = peer.peer
        assert isinstance(build, Sstpsocks)
        python = build.command[0]
        arguments = build.arguments(rig, Place(gateway=NO_GATEWAY, target="", direct=""), self.conditions)
        commands = {
            "python alone ms": [python, "-c", "pass"],
            "import sstpsocks ms": [python, "-c", "import sstpsocks"],
            "--help ms": [*build.command, "--help"],
        }
        found = {name: milliseconds(time_to_end(command, build.environ)) for name, command in commands.items()}
        command = [*build.command, *arguments, "--listen=127.0.0.1:0"]
        found["start to first packet ms"] = milliseconds(time_to_first_packet(command, build.environ))
        return found


def time_to_end(command: list[str], environ: dict[str, str]) -> float:
    """Return how long a command runs: the median of several times, in milliseconds."""
    taken = []
    for _ in range(SPAWNS):
        begin = time.perf_counter()
        subprocess.run(command, env=os.environ | environ, cwd="/", check=True, capture_output=True)
        taken.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(taken)


def time_to_first_packet(command: list[str], environ: dict[str, str]) -> float:
    """Return how long the program takes to knock at its server: the median of several times, in milliseconds."""
    taken = []
    with socket.create_server((NO_GATEWAY, SSTP_PORT)) as server:
        server.settimeout(TIMEOUT)
        for _ in range(SPAWNS):
            begin = time.perf_counter()
            process = subprocess.Popen(
                command,
                env=os.environ | environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                server.accept()[0].close()
                taken.append((time.perf_counter() - begin) * 1e3)
            finally:
                process.kill()
                process.wait()
    return statistics.median(taken)


class TheWayUp:
    """From the start of the client to the first answer through its tunnel."""

    fresh = True

    def __init__(self, delay: float) -> None:
        self.conditions = Conditions(delay=delay)
        self.name = "start-distant" if delay else "start"
        self.title = "The way up" + (f", {2 * delay * 1e3:.0f} ms round trip" if delay else "")

    def applies(self, peer: Peer) -> bool:
        """All tunnels."""
        return peer.tunnel or peer.name == "ssh"

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Tell how long it took; ours goes the way once more, watched."""
        found = {"start to first answer ms": milliseconds(peer.started_in * 1e3)}
        if not isinstance(peer.peer, Sstpsocks):
            return found
        near = watched(rig, peer.peer, rig.gateway.address)
        if not self.conditions.delay:
            return found | told("ms", near, sum(near.values()))
        far = watched(rig, peer.peer, FAR_GATEWAY)
        added = {step: (far[step] - near[step]) / (2e3 * self.conditions.delay) for step in far}
        # What the distance adds to a step is a number of round trips; the rest is the machine's unrest.
        return found | told("round trips", added, sum(map(round, added.values())))


def told(unit: str, steps_taken: dict[str, float], total: float) -> dict[str, Measurement]:
    """Return the figures of all steps together, and of each."""
    found = {f"TCP to ready, {unit}": Measurement(total, better="less")}
    for step, value in steps_taken.items():
        name = "TCP and TLS" if step == "TLS" else step
        found[f"{name}, {unit}"] = Measurement(value, better="neither")
    return found


def watched(rig: Rig, build: Sstpsocks, gateway: str) -> dict[str, float]:
    """Open a tunnel with this build and return the milliseconds of each step."""
    server = rig.gateway
    command = [build.command[0], str(Path(steps.__file__).resolve())]
    command += [gateway, str(SSTP_PORT), server.server_name, str(server.certificates), server.sstp_user]
    environ = os.environ | build.environ | {"SSTP_PASSWORD": server.sstp_password}
    done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=True, timeout=TIMEOUT)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def cases() -> list[Processes | TheWayUp]:
    """Return all cases of this file."""
    return [Processes(), TheWayUp(0.0), TheWayUp(ONE_WAY)]
