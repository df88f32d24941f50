"""Servers that can be broken: sstpd and SoftEther, each with a far side behind it.

``SSTPSOCKS_LAB_SSTPD`` and ``SSTPSOCKS_LAB_SOFTETHER`` are the labs' folders. Everything runs in a network namespace
without a way out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import trustme

from tests.campaign import signals

FAR_SIDE_PORT = 7700
_SOMEWHERE = "192.0.2.77"
_ROOT = Path(__file__).parents[2]


def missing(kind: str) -> str:
    """Return why there is no lab of this kind, or nothing."""
    variable = f"SSTPSOCKS_LAB_{kind.upper()}"
    if variable not in os.environ:
        return f"no lab: {variable} is not set"
    if shutil.which("ip") is None:
        return "ip is not installed"
    route = subprocess.run(["ip", "route", "get", _SOMEWHERE], capture_output=True, check=False)
    return "must run in a network namespace without a way out" if route.returncode == 0 else ""


class Lab(Protocol):
    """A server that faults can be done to."""

    name: str
    recovery: float
    """Seconds within which traffic passes again once the server is back."""
    settings: dict[str, str]

    def start(self, *options: str) -> None:
        """Start the server, or start it again as it was."""

    def kill(self) -> None:
        """SIGKILL."""

    def terminate(self) -> None:
        """End the server in order, which ends all calls in order."""

    def pause(self) -> None:
        """SIGSTOP."""

    def resume(self) -> None:
        """SIGCONT."""

    def set_password(self, password: str) -> None:
        """Give the user another password; the server runs afterwards."""

    def close(self) -> None:
        """End everything."""


def run(*command: str, **environment: str) -> str:
    """Run a program to its end."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False, cwd=_ROOT
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def read_settings(folder: Path) -> dict[str, str]:
    """Return what lab.env says, without ``LAB_``."""
    lines = (folder / "lab.env").read_text().splitlines()
    return {name.removeprefix("LAB_"): value for name, _, value in (line.partition("=") for line in lines)}


def wait_gone(process: int, timeout: float = 20.0) -> None:
    """Wait until a process that is not our child has ended."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {process} does not end"
        time.sleep(0.005)


class FarSide:
    """The program of far_side.py in a lab's namespace."""

    def __init__(self, namespace: str) -> None:
        program = ["nsenter", f"--net=/run/netns/{namespace}", "--", sys.executable, "-m", "tests.campaign.far_side"]
        self._process = subprocess.Popen([*program, str(FAR_SIDE_PORT)], stdout=subprocess.PIPE, cwd=_ROOT)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Sstpd:
    """The server of the sstpd lab."""

    name = "sstpd"
    recovery = 3.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sstpd"
        self.settings: dict[str, str] = {}
        self._password = "alice-secret"
        self.start()
        self._far_side = FarSide(self.settings["NS"])

    def start(self, *options: str) -> None:
        """Start the server with these options."""
        script = os.environ["SSTPSOCKS_LAB_SSTPD"] + "/up.sh"
        run(script, *options, LAB_DIR=str(self.folder), LAB_PASSWORD=self._password)
        self.settings = read_settings(self.folder)

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signals.KILL)
        self._gone()

    def terminate(self) -> None:
        """SIGTERM ends all calls in order."""
        self._signal(signal.SIGTERM)
        self._gone()

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signals.STOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signals.CONT)

    def set_password(self, password: str) -> None:
        """Start the server again with another password."""
        self.terminate()
        self._password = password
        self.start()

    def set_certificate(self, certificate: bytes, key: bytes) -> None:
        """Put another certificate in place, for the next start."""
        (self.folder / "server.pem").write_bytes(certificate)
        (self.folder / "server.key").write_bytes(key)

    def other_addresses(self) -> list[str]:
        """Options that give clients addresses that they did not have."""
        network = self.settings["TARGET"].rpartition(".")[0]
        return ["--pool", f"{network}.120-{network}.250"]

    def dns(self, what: signal.Signals) -> None:
        """Send the name server behind the tunnel a signal."""
        os.kill(int((self.folder / "pids" / "dns").read_text().split()[0]), what)

    def close(self) -> None:
        """End everything."""
        self._far_side.close()
        with contextlib.suppress(ProcessLookupError):
            self.resume()
        run(os.environ["SSTPSOCKS_LAB_SSTPD"] + "/down.sh", str(self.folder), "--purge")

    @property
    def _process(self) -> int:
        return int(self.settings["SERVER_PID"])

    def _gone(self) -> None:
        wait_gone(self._process)
        # Whoever inherits the process may be slow to bury it, and the lab would take it for running.
        (self.folder / "pids" / "sstpd").unlink(missing_ok=True)

    def _signal(self, what: signal.Signals) -> None:
        os.kill(self._process, what)


class SoftEther:
    """SoftEther in its bridged form: the kernel's TCP lives on while the server does not."""

    name = "softether"
    recovery = 6.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "softether"
        self.folder.mkdir()
        self.settings: dict[str, str] = {}
        self._script("up")
        self.settings = read_settings(self.folder)
        self._command("Flush", hub=False)  # or the users would be gone after a SIGKILL
        self._far_side = FarSide(self.settings["NS"])

    def start(self, *options: str) -> None:
        """Start the server again as it was."""
        assert not options
        self._script("restart")
        self.settings = read_settings(self.folder)

    def kill(self) -> None:
        """SIGKILL, and for its parent, too, which would start it again."""
        for name in ("launcher", "server"):
            process = int((self.folder / "pids" / name).read_text().split()[0])
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signals.KILL)
            wait_gone(process)
            (self.folder / "pids" / name).unlink()

    def terminate(self) -> None:
        """End it in order."""
        os.kill(self._process, signal.SIGTERM)
        wait_gone(self._process)
        (self.folder / "pids" / "server").unlink()

    def pause(self) -> None:
        """SIGSTOP."""
        os.kill(self._process, signals.STOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self._process, signals.CONT)

    def set_password(self, password: str) -> None:
        """Change the password while the server runs."""
        self._command(f"UserPasswordSet {self.settings['USER']} /PASSWORD:{password}")

    def disconnect_user(self) -> None:
        """End the client's session as an administrator does."""
        listing = self._command("SessionList")
        for line in listing.splitlines():
            name = line.rpartition("|")[2].strip()
            if name.startswith("SID-" + self.settings["USER"].upper()):
                self._command(f"SessionDisconnect {name}")

    def close(self) -> None:
        """End everything."""
        self._far_side.close()
        with contextlib.suppress(ProcessLookupError):
            self.resume()
        self._script("down")

    @property
    def _process(self) -> int:
        return int(self.settings["SERVER_PID"])

    def _command(self, command: str, *, hub: bool = True) -> str:
        settings = self.settings
        inside = ["nsenter", "-t", settings["SERVER_PID"], "-m", "-n", "--"]
        program = ["/usr/libexec/softether/vpncmd/vpncmd", f"{settings['HOST']}:{settings['PORT']}", "/SERVER"]
        login = [f"/PASSWORD:{settings['ADMIN_PASSWORD']}", *([f"/ADMINHUB:{settings['HUB']}"] if hub else [])]
        return run(*inside, *program, *login, "/CMD", *command.split())

    def _script(self, action: str) -> None:
        run(".ci/softether-lab", action, "up-bridge.sh", LAB_DIR=str(self.folder))


def other_certificate(name: str, address: str) -> tuple[bytes, bytes]:
    """Return a certificate for the server's names that nobody trusts, and its key."""
    issued = trustme.CA().issue_cert(name, address)
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()


def renewed_certificate(folder: Path) -> tuple[bytes, bytes]:
    """Return a new certificate of the lab's own authority, as a renewal makes it, and its new key."""
    for command in (
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout renewed.key -out renewed.csr"
        " -subj /CN=renewed",
        "x509 -req -in renewed.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext"
        " -out renewed.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return (folder / "renewed.pem").read_bytes(), (folder / "renewed.key").read_bytes()


class SilentPath:
    """Makes packets to and from a lab vanish: both ends believe in a neighbour that does not exist."""

    def __init__(self, lab: Lab) -> None:
        self._address = lab.settings["HOST"]
        network, _, last = self._address.rpartition(".")
        self._ours = f"{network}.{int(last) - 1}"
        self._namespace = lab.settings["NS"]
        self._device = run("ip", "route", "get", self._address).split(" dev ")[1].split()[0]
        inside = run("ip", "-n", self._namespace, "-4", "-o", "addr", "show", "to", self._address).split()
        self._device_inside = inside[1]

    def cut(self) -> None:
        """From now on nothing arrives, in either direction."""
        run(
            "ip",
            "neigh",
            "replace",
            self._address,
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            self._device,
            "nud",
            "permanent",
        )
        run("ip", "-n", self._namespace, "neigh", "replace", self._ours, "lladdr", "02:00:00:00:00:98",
            "dev", self._device_inside, "nud", "permanent")  # fmt: skip

    def mend(self) -> None:
        """Packets arrive again."""
        run("ip", "neigh", "del", self._address, "dev", self._device)
        run("ip", "-n", self._namespace, "neigh", "del", self._ours, "dev", self._device_inside)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        return port
