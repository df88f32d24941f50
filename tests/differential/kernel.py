"""A kernel to test against: starts kernel_host.py in a network namespace of its own and talks to it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OURS = "10.88.0.2"
KERNEL = "10.88.0.1"
OURS6 = "fd88::2"
KERNEL6 = "fd88::1"
MTU = 1400


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a program on a kernel socket does."""

    send: int = 0
    """Octets of kernel_host.payload() to send."""
    seed: int = 0
    """Of the payload; the n-th connection of a listener has this plus n."""
    shutdown: bool = True
    """Send a FIN behind them."""
    answer_after_eof: bool = False
    """Begin to send only when the peer has finished."""
    bite: int = 0
    """Receive at most this much at once, and then ``pause``."""
    pause: float = 0.0
    receive_buffer: int = 0
    """SO_RCVBUF, which the kernel doubles."""
    reset_after: int | None = None
    """Reset the connection after so many octets received."""


@dataclass(frozen=True)
class Result:
    """What a program on a kernel socket saw."""

    received: int
    sha256: str
    error: str | None
    """Name of the first errno."""


@functools.cache
def namespace_command() -> tuple[list[str], str]:
    """Return the command that runs another in a new network namespace, or why there is none."""
    if missing := [tool for tool in ("unshare", "ip") if shutil.which(tool) is None]:
        return [], f"{missing[0]} is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return [], "no access to /dev/net/tun"
    for options in (["--net"], ["--user", "--map-root-user", "--net"]):
        command = ["unshare", *options, "--"]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command, ""
    return [], "needs root or unprivileged user namespaces"


class KernelHost:
    """One namespace with the kernel's TCP; everything for its peer comes out of the descriptor ``tun``.

    ``pairs`` are the kernel's addresses, each with the peer's. Nothing else leads out, and nothing is forwarded. With
    ``ecn`` the kernel asks for ECN in its SYNs.
    """

    def __init__(self, *pairs: tuple[str, str], mtu: int = MTU, ecn: bool = False) -> None:
        command, reason = namespace_command()
        assert command, reason
        self.results: dict[str, Result] = {}
        """Of the programs that have ended, by name."""
        ours, theirs = socket.socketpair()
        arguments = [str(theirs.fileno()), "tun0", str(mtu)]
        for pair in pairs or ((KERNEL, OURS), (KERNEL6, OURS6)):
            arguments += ["--pair", *pair]
        if ecn:
            arguments.append("--ecn")
        self._process = subprocess.Popen(
            [*command, sys.executable, str(Path(__file__).with_name("kernel_host.py")), *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.control = ours
        self._unread = b""
        ours.settimeout(30)
        self.tun = _receive_descriptor(ours)

    def close(self) -> None:
        """End the process, and the namespace with it."""
        self._process.terminate()
        self._process.wait(10)
        os.close(self.tun)
        self.control.close()

    def listen(self, address: str, port: int, name: str, script: Script) -> None:
        """Run the script on each connection to a port; their results are called ``name-0``, ``name-1``, ..."""
        self._ask(do="listen", address=address, port=port, name=name, script=asdict(script))

    def connect(self, address: str, port: int, name: str, script: Script) -> None:
        """Begin to connect and run the script."""
        self._ask(do="connect", address=address, port=port, name=name, script=asdict(script))

    def counters(self) -> dict[str, int]:
        """Return the counters of the namespace since its start, like ``TcpExt.TCPAbortOnData``."""
        return dict(self._ask(do="counters"))

    def received(self) -> dict[str, int]:
        """Return the octets each program has received so far."""
        return dict(self._ask(do="received"))

    def read_results(self) -> list[Any]:
        """Take what the host has to say: results are kept, answers returned. Call when ``control`` is readable."""
        data = self.control.recv(1 << 16)
        assert data, "the kernel's side ended"
        *lines, self._unread = (self._unread + data).split(b"\n")
        answers = []
        for message in map(json.loads, lines):
            if "answer" in message:
                answers.append(message["answer"])
            else:
                name = message.pop("result")
                self.results[name] = Result(**message)
        return answers

    def _ask(self, **request: Any) -> Any:
        self.control.sendall(json.dumps(request).encode() + b"\n")
        while True:
            if answers := self.read_results():
                return answers[0]


def _receive_descriptor(control: socket.socket) -> int:
    if sys.platform == "linux":
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        assert descriptors, "the kernel's side did not start"
        return descriptors[0]
    raise OSError("needs Linux")
