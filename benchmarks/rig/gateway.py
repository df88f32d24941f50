"""The gateway: the namespace behind every tunnel, its servers and the target services.

sstpd is the laboratory's server: up.sh of the folder in SSTPSOCKS_LAB_SSTPD makes the namespace, the veth pair and the
certificate that the other servers use too. ocserv and sshd are Debian's. The services run on all addresses of the
gateway, so that they are behind every tunnel, and once more in the namespace of the target, which only a stage of
impairment leads to.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import namespaces
from .conditions import CONGESTION_CONTROL, ECHO_PORT, WEB_PORT
from .processes import Process, command_name, tree

SSTP_PORT = 443
OCSERV_PORT = 4443
SSH_PORT = 2222
TARGET_NAMESPACE = "target"
STAGE = "imp0"
"""The device of a stage of impairment, in the gateway and in the target."""
STAGE_GATEWAY, STAGE_TARGET = "10.98.0.1", "10.98.0.2"
OCSERV_NETWORK = "10.79.0.0/24"
OCSERV_USER, OCSERV_PASSWORD = "alice", "alice-secret"
IP_UDP_HEADERS = 28
"""What ocserv takes off its MTU for DTLS, even where that is not used. It cuts larger packets than the rest allows."""
START_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Packets:
    """IP packets that a server has carried in the tunnel so far."""

    down: int
    up: int


def repository() -> Path:
    """Return the folder that holds ``benchmarks``."""
    return Path(__file__).resolve().parents[2]


def wait_until(ready: object, what: str, timeout: float = START_TIMEOUT) -> None:
    """Call ``ready`` until it returns something true."""
    assert callable(ready)
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start within {timeout:.0f} s")
        time.sleep(0.02)


class Gateway:
    """sstpd, ocserv and sshd side by side, and the services that the peers' programs talk to."""

    def __init__(self, lab: Path, folder: Path) -> None:
        self._up = lab / "up.sh"
        self._down = lab / "down.sh"
        self.folder = folder
        self._lab_folder = folder / "lab"
        self._lab: dict[str, str] = {}
        self._options: list[str] = []
        self._processes: list[Process] = []
        self.ocserv: Process | None = None
        self.ocserv_missing = ""
        self._ocserv_mtu = 0
        self.sshd: Process | None = None
        self.sshd_missing = ""

    # sstpd and the namespaces

    @property
    def namespace(self) -> str:
        """The name of its network namespace."""
        return self._lab["LAB_NS"]

    @property
    def address(self) -> str:
        """Where the client namespace reaches it."""
        return self._lab["LAB_HOST"]

    @property
    def inner_address(self) -> str:
        """Where it is reached through a tunnel."""
        return self._lab["LAB_TARGET"]

    @property
    def certificates(self) -> Path:
        """The CA that the servers' certificate is from."""
        return Path(self._lab["LAB_CA"])

    @property
    def server_name(self) -> str:
        """The name in the servers' certificate."""
        return self._lab["LAB_SERVER_NAME"]

    @property
    def sstp_user(self) -> str:
        """Who may log in to sstpd."""
        return self._lab["LAB_USER"]

    @property
    def sstp_password(self) -> str:
        """The password for it."""
        return self._lab["LAB_PASSWORD"]

    @property
    def sstpd_pid(self) -> int:
        """The process of sstpd."""
        return int(self._lab["LAB_SERVER_PID"])

    def start(self) -> None:
        """Start everything that there is."""
        self._lab_folder.mkdir()
        self.set_sstpd()
        self._use_congestion_control()
        namespaces.add(TARGET_NAMESPACE)
        for setting in ("ipv4/conf/default/forwarding", "ipv4/conf/outer/forwarding", "ipv4/conf/sstp0/forwarding"):
            namespaces.set_network(self.namespace, setting, 1)
        for name in (self.namespace, TARGET_NAMESPACE):
            self._launch(f"service-{name}", name, [sys.executable, "-m", "benchmarks.rig.service"])
        self._wait_for(self.address, WEB_PORT)
        self._start_sshd()
        self.set_ocserv(1400)

    def _use_congestion_control(self) -> None:
        """Use the same on the client's side of the veth pair as the lab on its own."""
        own = next(line for line in namespaces.run("ip", "route").splitlines() if "proto kernel" in line)
        namespaces.run("ip", "route", "replace", *own.split(), *CONGESTION_CONTROL)

    def stop(self) -> None:
        """End everything."""
        for process in [self.ocserv, self.sshd, *self._processes]:
            if process is not None:
                process.stop()
        subprocess.run([self._down, self._lab_folder], capture_output=True, check=False)

    def set_sstpd(self, *options: str) -> None:
        """Let sstpd run with these options; connections to it end if that changes anything."""
        if self._lab and list(options) == self._options:
            return
        # On all addresses: the outer path may lead through a stage of impairment.
        command = [str(self._up), "--quiet", "--listen", f"0.0.0.0:{SSTP_PORT}", *options]
        environ = {**os.environ, "LAB_DIR": str(self._lab_folder)}
        # What the lab leaves running must not hold a pipe of ours.
        output = self.folder / "up.log"
        with output.open("wb") as log:
            code = subprocess.run(command, env=environ, stdout=log, stderr=log, check=False).returncode
        if code != 0:
            raise RuntimeError(f"up.sh of sstpd failed:\n{output.read_text()}")
        lines = (self._lab_folder / "lab.env").read_text().splitlines()
        self._lab = dict(line.split("=", 1) for line in lines)
        self._options = list(options)

    def sstpd_packets(self) -> Packets:
        """Return what sstpd has carried so far, for all its clients."""
        path = Path(self._lab["LAB_STATS"])
        before = path.stat().st_size
        if sys.platform == "linux":
            os.kill(self.sstpd_pid, signal.SIGUSR1)
        wait_until(lambda: path.stat().st_size > before and path.read_bytes().endswith(b"\n"), "sstpd's counters")
        counters = json.loads(path.read_text().splitlines()[-1])
        return Packets(counters["down"]["out_packets"], counters["up"]["out_packets"])

    # ocserv

    def set_ocserv(self, mtu: int) -> None:
        """Let ocserv run with this MTU; connections to it end if that changes anything."""
        if mtu == self._ocserv_mtu:
            return
        if shutil.which("ocserv") is None or shutil.which("ocpasswd") is None:
            self.ocserv_missing = "the Debian package ocserv is not installed"
            return
        self._ocserv_mtu = mtu
        if self.ocserv is not None:
            self.ocserv.stop()
        folder = self.folder / "ocserv"
        folder.mkdir(exist_ok=True)
        subprocess.run(
            ["ocpasswd", "-c", str(folder / "passwd"), OCSERV_USER],
            input=f"{OCSERV_PASSWORD}\n{OCSERV_PASSWORD}\n".encode(),
            capture_output=True,
            check=True,
        )
        configuration = folder / "ocserv.conf"
        configuration.write_text(
            f"auth = plain[passwd={folder}/passwd]\n"
            f"tcp-port = {OCSERV_PORT}\n"
            f"socket-file = {folder}/socket\n"
            f"occtl-socket-file = {folder}/occtl\n"
            f"pid-file = {folder}/pid\n"
            f"server-cert = {self._lab_folder}/server.pem\n"
            f"server-key = {self._lab_folder}/server.key\n"
            f"mtu = {mtu + IP_UDP_HEADERS}\n"
            f"ipv4-network = {OCSERV_NETWORK}\n"
            "device = vpns\n"
            "isolate-workers = false\n"
            "max-clients = 16\nmax-same-clients = 16\n"
            "max-ban-score = 0\nrate-limit-ms = 0\n"
            "try-mtu-discovery = false\n"
            "compression = false\n"
            "keepalive = 3600\ndpd = 3600\n"
            "cisco-client-compat = true\n"
        )
        self.ocserv = self._launch("ocserv", self.namespace, ["ocserv", "-f", "-c", str(configuration)], keep=False)
        try:
            self._wait_for(self.address, OCSERV_PORT)
        except RuntimeError:
            self.ocserv_missing = f"ocserv does not start here: {self.ocserv.log.strip()[-300:]}"

    def ocserv_workers(self) -> set[int]:
        """Return the processes that serve one connection each."""
        assert self.ocserv is not None
        return {pid for pid in tree([self.ocserv.pid]) if command_name(pid) == "ocserv-worker"}

    def device_packets(self, device: str) -> Packets:
        """Return what a TUN device has carried so far; it is the server's, so what it sends goes down."""
        listing = namespaces.run(*namespaces.within(self.namespace, "cat", "/proc/net/dev"))
        for line in listing.splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == device:
                fields = numbers.split()
                return Packets(down=int(fields[9]), up=int(fields[1]))
        raise RuntimeError(f"{device} has gone")

    def ocserv_devices(self) -> set[str]:
        """Return the TUN devices of ocserv, one for each connection."""
        listing = namespaces.run(*namespaces.within(self.namespace, "cat", "/proc/net/dev"))
        names = {line.partition(":")[0].strip() for line in listing.splitlines()}
        return {name for name in names if name.startswith("vpns")}

    def use_congestion_control(self, device: str) -> None:
        """Use the same for what the kernel sends to a client of ocserv as for sstpd's."""
        for route in namespaces.run("ip", "-n", self.namespace, "route", "show", "dev", device).splitlines():
            options = [*route.split(), "dev", device, *CONGESTION_CONTROL]
            namespaces.run("ip", "-n", self.namespace, "route", "replace", *options)

    # sshd

    def _start_sshd(self) -> None:
        sshd, keygen = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin"), shutil.which("ssh-keygen")
        if sshd is None or keygen is None:
            self.sshd_missing = "the Debian packages openssh-server and openssh-client are not installed"
            return
        folder = self.folder / "ssh"
        folder.mkdir()
        for name in ("host", "user"):
            namespaces.run(keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        Path("/run/sshd").mkdir(exist_ok=True)
        configuration = folder / "sshd_config"
        configuration.write_text(
            f"Port {SSH_PORT}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
            f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nUseDNS no\n"
        )
        self.sshd = self._launch("sshd", self.namespace, [sshd, "-D", "-e", "-f", str(configuration)], keep=False)
        try:
            self._wait_for(self.address, SSH_PORT)
        except RuntimeError:
            self.sshd_missing = f"sshd does not start here: {self.sshd.log.strip()[-300:]}"

    def sshd_children(self) -> set[int]:
        """Return the processes that serve connections."""
        assert self.sshd is not None
        return set(tree([self.sshd.pid])) - {self.sshd.pid}

    # both

    def service_pids(self) -> list[int]:
        """Return the processes of the target."""
        return tree(process.pid for process in self._processes)

    def _launch(self, name: str, namespace: str, command: list[str], *, keep: bool = True) -> Process:
        process = Process(
            name,
            namespaces.within(namespace, *command),
            self.folder / f"{name}.log",
            {"PYTHONPATH": str(repository())},
        )
        if keep:
            self._processes.append(process)
        return process

    def _wait_for(self, address: str, port: int) -> None:
        def listens() -> bool:
            listing = namespaces.run(*namespaces.within(self.namespace, "cat", "/proc/net/tcp"))
            return any(line.split()[1].endswith(f":{port:04X}") for line in listing.splitlines()[1:])

        wait_until(listens, f"the server at {address}:{port}")


__all__ = ["ECHO_PORT", "OCSERV_PORT", "SSH_PORT", "SSTP_PORT", "STAGE", "Gateway", "Packets"]
