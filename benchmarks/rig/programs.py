"""The other programs: Debian's openconnect, ocproxy, OpenSSH and microsocks, and the kernel alone.

openconnect runs without DTLS, so that all tunnels are TLS over one TCP connection. Its kernel tunnel gets its routes
with a high metric and programs bind to its device, so that it can be up while others are measured.
"""

from __future__ import annotations

import shutil
import subprocess

from .conditions import CONGESTION_CONTROL, Conditions, Place
from .gateway import OCSERV_PASSWORD, OCSERV_PORT, OCSERV_USER, SSH_PORT, wait_until
from .peers import Peer, RunningPeer
from .processes import Process
from .rig import Rig

OCPROXY_PORT, SSH_SOCKS_PORT, MICROSOCKS_PORT = 11081, 11082, 11083
TUN_DEVICE = "octun0"
OVERHEAD = 200
"""Octets, at most, that openconnect and ocserv reckon with around a packet."""


def not_installed(*programs: str) -> str:
    """Return the reason to skip what needs these Debian packages; nothing if they are there."""
    missing = [program for program in programs if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def first_line(*command: str) -> str:
    """Return the first line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


class OpenConnect(Peer):
    """What both uses of openconnect share."""

    tunnel = True

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine."""
        return not_installed("openconnect") or rig.gateway.ocserv_missing

    def version(self) -> str:
        """Return what the program says about itself."""
        return first_line("openconnect", "--version")

    def connect(self, rig: Rig, place: Place, conditions: Conditions, *options: str) -> RunningPeer:
        """Start openconnect and wait for its place in the server."""
        password = rig.folder / "openconnect-password"
        password.write_text(f"{OCSERV_PASSWORD}\n")
        workers, devices = rig.gateway.ocserv_workers(), rig.gateway.ocserv_devices()
        command = [
            "openconnect",
            "--quiet",
            "--no-dtls",
            "--passwd-on-stdin",
            f"--user={OCSERV_USER}",
            f"--cafile={rig.gateway.certificates}",
            f"--resolve={rig.gateway.server_name}:{place.gateway}",
            f"--mtu={conditions.mtu}",
            # Of the outer path; the tunnel gets less, and could have no larger packets than it. TCP has no such limit.
            f"--base-mtu={conditions.mtu + OVERHEAD}",
            *options,
            f"https://{rig.gateway.server_name}:{OCSERV_PORT}",
        ]
        process = Process(self.name, command, rig.folder / f"{self.name}.log", stdin=password)
        try:
            wait_until(lambda: process.ended or rig.gateway.ocserv_devices() > devices, self.title)
            device = min(rig.gateway.ocserv_devices() - devices)
        except (RuntimeError, ValueError) as error:
            process.stop()
            raise RuntimeError(f"{self.title} did not connect:\n{process.log}") from error
        rig.gateway.use_congestion_control(device)
        worker = sorted(rig.gateway.ocserv_workers() - workers)
        return RunningPeer(
            peer=self,
            target=place.target,
            processes=[process],
            servers=lambda: worker,
            count_packets=lambda: rig.gateway.device_packets(device),
        )


class OcProxy(OpenConnect):
    """openconnect with ocproxy: SOCKS in user space, lwIP."""

    name = "ocproxy"
    title = "openconnect + ocproxy"
    proxy = True

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine."""
        return not_installed("ocproxy") or super().missing(rig)

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the client."""
        script = f"--script=ocproxy -D {OCPROXY_PORT}"
        running = self.connect(rig, place, conditions, "--script-tun", script)
        running.proxy = ("127.0.0.1", OCPROXY_PORT)
        return running


class OpenConnectTun(OpenConnect):
    """openconnect with a TUN device: the kernel's TCP, as root."""

    name = "openconnect-tun"
    title = "openconnect, kernel TCP"
    udp = True

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the client."""
        script = rig.folder / "vpnc-script"
        script.write_text(
            "#!/bin/sh\n"
            '[ "$reason" = connect ] || exit 0\n'
            "set -e\n"
            f'ip link set "$TUNDEV" mtu {conditions.mtu} txqueuelen 1000 up\n'
            'ip addr add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"\n'
            'ip route add 10.0.0.0/8 dev "$TUNDEV" src "$INTERNAL_IP4_ADDRESS" metric 5000 '
            f"{' '.join(CONGESTION_CONTROL)}\n"
        )
        script.chmod(0o755)
        running = self.connect(rig, place, conditions, f"--script={script}", f"--interface={TUN_DEVICE}")
        running.device = TUN_DEVICE
        return running


class Ssh(Peer):
    """``ssh -D``: streams in one encrypted connection, no packets."""

    name = "ssh"
    title = "ssh -D"
    proxy = True

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine."""
        return not_installed("ssh") or rig.gateway.sshd_missing

    def version(self) -> str:
        """Return what the program says about itself."""
        return first_line("ssh", "-V")

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the client."""
        children = rig.gateway.sshd_children()
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(rig.gateway.folder / "ssh" / "user"),
            "ExitOnForwardFailure": "yes",
            "BatchMode": "yes",
        }
        arguments = [f"-o{key}={value}" for key, value in options.items()]
        command = ["ssh", "-F", "none", "-N", *arguments, "-D", f"127.0.0.1:{SSH_SOCKS_PORT}", "-p", str(SSH_PORT)]
        process = Process(self.name, [*command, f"root@{place.gateway}"], rig.folder / "ssh.log")
        running = RunningPeer(peer=self, target=place.target, proxy=("127.0.0.1", SSH_SOCKS_PORT), processes=[process])
        running.servers = lambda: sorted(rig.gateway.sshd_children() - children)
        return running


class Microsocks(Peer):
    """A SOCKS server in C without a tunnel: what the local leg costs."""

    name = "microsocks"
    title = "microsocks, no tunnel"
    proxy = True

    def missing(self, rig: Rig) -> str:
        """Return why it cannot be measured on this machine."""
        return not_installed("microsocks")

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start the server."""
        command = ["microsocks", "-i", "127.0.0.1", "-p", str(MICROSOCKS_PORT)]
        process = Process(self.name, command, rig.folder / "microsocks.log")
        return RunningPeer(peer=self, target=place.direct, proxy=("127.0.0.1", MICROSOCKS_PORT), processes=[process])


class Direct(Peer):
    """Neither a tunnel nor a proxy: what the machine and the measuring program can do."""

    name = "direct"
    title = "direct"
    udp = True

    def start(self, rig: Rig, place: Place, conditions: Conditions) -> RunningPeer:
        """Start nothing."""
        return RunningPeer(peer=self, target=place.direct)


OTHERS: tuple[Peer, ...] = (OcProxy(), OpenConnectTun(), Ssh(), Microsocks(), Direct())
