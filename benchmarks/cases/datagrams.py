"""UDP: datagrams there and back through the tunnel, with 64 of them under way.

The kernel's tunnels are used through a socket that is bound to the device. Ours is used through the library: the
program that measures and the tunnel are one process then, and share one core.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import Measurement
from benchmarks.rig import datagrams
from benchmarks.rig.builds import Sstpsocks
from benchmarks.rig.conditions import ECHO_PORT, Conditions
from benchmarks.rig.gateway import SSTP_PORT
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

SECONDS = 2.0
SECONDS_QUICK = 0.5
TIMEOUT = 60.0
SCRIPT = str(Path(datagrams.__file__).resolve())


class Datagrams:
    """Echoes per second."""

    name = "datagrams"
    title = "UDP, 200 octets there and back"
    fresh = False
    conditions = Conditions()

    def applies(self, peer: Peer) -> bool:
        """Whatever carries datagrams."""
        return peer.udp

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Exchange datagrams for some seconds."""
        build = peer.peer
        environ = dict(os.environ)
        if isinstance(build, Sstpsocks):
            server = rig.gateway
            python = build.command[0]
            way = ["tunnel", server.address, str(SSTP_PORT), server.server_name, str(server.certificates)]
            way.append(server.sstp_user)
            environ |= build.environ | {"SSTP_PASSWORD": server.sstp_password}
        else:
            python = sys.executable
            way = ["plain", peer.device or "-"]
        seconds = SECONDS_QUICK if rig.quick else SECONDS
        command = [python, SCRIPT, "--seconds", str(seconds), *way, peer.target, str(ECHO_PORT)]
        done = subprocess.run(
            command, env=environ, cwd="/", capture_output=True, text=True, check=True, timeout=TIMEOUT
        )
        found = json.loads(done.stdout)
        return {
            "echoes/s": Measurement(found["echoes/s"], "/s"),
            "lost %": Measurement(found["lost %"], "%", "neither"),
        }


def cases() -> list[Datagrams]:
    """Return all cases of this file."""
    return [Datagrams()]
