"""A lab of the sstpd server (docs/testing.md): the whole tunnel, with impairments on the packets that it carries."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.differential.kernel_host import parse_counters
from tests.interop.client import Client

_SOMEWHERE = "192.0.2.77"


def lab_missing() -> str:
    """Return why no lab can be used here; empty when one can."""
    if "SSTPSOCKS_LAB_SSTPD" not in os.environ:
        return "no lab: SSTPSOCKS_LAB_SSTPD is not set (docs/testing.md)"
    if shutil.which("ip") is None:
        return "ip is not installed"
    route = subprocess.run(["ip", "route", "get", _SOMEWHERE], capture_output=True, check=False)
    return "must run in a network namespace without a way out (docs/testing.md)" if route.returncode == 0 else ""


class Lab:
    """One lab, whose server is started again for each set of impairments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, str] = {}
        """What up.sh says about the lab, without ``LAB_``."""

    def start(self, *options: str) -> None:
        """Start the server with these options, or end it and start it again."""
        self._script("up.sh", *options)
        lines = (self.folder / "lab.env").read_text().splitlines()
        self.settings = {name.removeprefix("LAB_"): value for name, _, value in (line.partition("=") for line in lines)}

    def stop(self) -> None:
        """End everything."""
        self._script("down.sh", str(self.folder), "--purge")

    def client(self, folder: Path) -> Client:
        """Return a client of this lab's server whose tunnel is up."""
        settings = self.settings
        password = folder / "password"
        password.write_text(settings["PASSWORD"])
        password.chmod(0o600)
        arguments = [f"{settings['HOST']}:{settings['PORT']}", "--user", settings["USER"]]
        arguments += ["--password-file", str(password), "--ca-file", settings["CA"], "--reconnect", "never"]
        client = Client(folder, [*arguments, "--server-name", settings["SERVER_NAME"]])
        client.start()
        client.wait_ready()
        return client

    def counters(self) -> dict[str, int]:
        """Return the kernel's counters in the lab."""
        command = ["ip", "netns", "exec", self.settings["NS"], "cat", "/proc/net/snmp", "/proc/net/netstat"]
        return parse_counters(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def set(self, name: str, value: int) -> None:
        """Change a sysctl below ``net`` in the lab."""
        command = f"echo {value} > /proc/sys/net/{name}"
        subprocess.run(["ip", "netns", "exec", self.settings["NS"], "sh", "-c", command], check=True)

    def _script(self, name: str, *arguments: str) -> None:
        script = Path(os.environ["SSTPSOCKS_LAB_SSTPD"], name)
        environment = os.environ | {"LAB_DIR": str(self.folder)}
        done = subprocess.run(
            [str(script), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
