"""Our builds: the checkout as it is, interpreted, and a wheel with compiled parts in a virtual environment of its own.

The compiled one is the Python that ``--compiled`` or SSTPSOCKS_BENCH_COMPILED names, or what ``--build`` makes of the
checkout, or none. Both run as users run them, with nothing of the harness in their process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .conditions import Conditions, Place
from .gateway import SSTP_PORT, repository, wait_until
from .peers import Peer, RunningPeer
from .processes import Process
from .rig import Rig

COMPILED = "SSTPSOCKS_BENCH_COMPILED"


class Sstpsocks(Peer):
    """One build of this project."""

    ours = True
    tunnel = True
    proxy = True
    udp = True

    def __init__(self, name: str, title: str, python: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.title = title
        self.command = [python, "-m", "sstpsocks"]
        self.environ = dict(environ)

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine."""
        return "" if Path(self.command[0]).exists() else f"{self.command[0]} does not exist"

    def version(self) -> str:
        """Return what the program says about itself."""
        environ = {**os.environ, **self.environ}
        command = [*self.command, "--version"]
        done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False)
        return " ".join(done.stdout.split())

    def arguments(self, rig: Rig, place: Place, conditions: Conditions) -> list[str]:
        """Return the command line that logs in to sstpd, without the port to listen on."""
        gateway = rig.gateway
        password = rig.folder / "password"
        password.write_text(gateway.sstp_password)
        password.chmod(0o600)
        return [
            f"{place.gateway}:{SSTP_PORT}",
            f"--server-name={gateway.server_name}",
            f"--ca-file={gateway.certificates}",
            f"--user={gateway.sstp_user}",
            f"--password-file={password}",
            f"--mtu={conditions.mtu}",
            "--reconnect=never",
            "--max-connections=40000",
        ]

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the client and wait until it says that its tunnel carries traffic."""
        ready = rig.folder / f"{self.name}.ready"
        ready.unlink(missing_ok=True)
        arguments = [*self.arguments(rig, place, conditions), "--listen=127.0.0.1:0", f"--ready-file={ready}"]
        process = Process(self.name, [*self.command, *arguments], rig.folder / f"{self.name}.log", self.environ)
        try:
            wait_until(lambda: process.ended or ready.exists(), self.title)
            told: dict[str, Any] = json.loads(ready.read_text())
        except (RuntimeError, OSError) as error:
            process.stop()
            raise RuntimeError(f"{self.title} did not connect:\n{process.log}") from error
        host, _, port = told["listen"][0].rpartition(":")
        sstpd = rig.gateway.sstpd_pid
        return RunningPeer(
            peer=self,
            target=place.target,
            proxy=(host, int(port)),
            processes=[process],
            servers=lambda: [sstpd],
            count_packets=rig.gateway.sstpd_packets,
        )


def build_compiled(folder: Path) -> str:
    """Build a compiled wheel of the checkout and install it; return the Python that has it. Needs a package index."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    environ = {**os.environ, "SSTPSOCKS_COMPILE": "1"}
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(repository())]
    subprocess.run(command, env=environ, check=True)
    return python


def our_builds(compiled: str) -> list[Peer]:
    """Return the builds that there are; ``compiled`` is the Python that has the compiled one, or nothing."""
    environ = {"PYTHONPATH": str(repository()), "PYTHONSAFEPATH": "1"}
    builds: list[Peer] = [Sstpsocks("sstpsocks", "sstpsocks, interpreted", sys.executable, environ)]
    if compiled:
        environ = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
        builds.append(Sstpsocks("sstpsocks-compiled", "sstpsocks, compiled", compiled, environ))
    return builds
