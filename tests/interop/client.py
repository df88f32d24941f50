"""The program as a user runs it: a process of its own, its port, its messages and its exit code."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

READY_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
TOLD_TIMEOUT = 12.0  # three questions, three seconds apart, and some


class Client:
    """One run of ``sstpsocks``, started by start() and ended by stop()."""

    def __init__(self, folder: Path, arguments: list[str], command: list[str] | None = None) -> None:
        self.arguments = arguments
        self.command = command or [sys.executable, "-m", "sstpsocks"]
        self.ready_file = folder / "ready.json"
        self._log = folder / "client.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}

    def start(self, *more: str, listen: str = "127.0.0.1:0") -> None:
        """Start the program."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self.command, *self.arguments, "--listen", listen, "--ready-file", str(self.ready_file), *more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> None:
        """Wait until the ready file says that the tunnel carries traffic."""
        deadline = time.monotonic() + timeout
        while not self.ready_file.exists():
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < deadline, f"not ready within {timeout} s:\n{self.log}"
            time.sleep(0.02)
        self.ready = json.loads(self.ready_file.read_text())

    def wait_told(self, key: str, timeout: float = TOLD_TIMEOUT) -> list[str]:
        """Wait until the ready file has a key that comes later than the rest, and return its value."""
        deadline = time.monotonic() + timeout
        while key not in self.ready:
            assert time.monotonic() < deadline, f"no {key} within {timeout} s:\n{self.log}"
            time.sleep(0.02)
            self.ready = json.loads(self.ready_file.read_text())
        value: list[str] = self.ready[key]
        return value

    def wait_ipv6(self, timeout: float = TOLD_TIMEOUT) -> str:
        """Wait until the ready file has an IPv6 address, and return it."""
        deadline = time.monotonic() + timeout
        while not (found := [address for address in self.ready["addresses"] if ":" in address]):
            assert time.monotonic() < deadline, f"no IPv6 address within {timeout} s:\n{self.log}"
            time.sleep(0.02)
            self.ready = json.loads(self.ready_file.read_text())
        return str(found[0])

    def wait_exit(self, timeout: float) -> int:
        """Wait for the end of the program and return its exit code."""
        return self.process.wait(timeout)

    def stop(self) -> int | None:
        """End the program as a service manager does, and return its exit code."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(STOP_TIMEOUT)
            self._process.kill()
        return self._process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running program."""
        assert self._process is not None, "start() was not called"
        return self._process

    @property
    def log(self) -> str:
        """Everything it printed."""
        return self._log.read_text(errors="replace")

    @property
    def last_line(self) -> str:
        """The last line it printed."""
        return self.log.strip().splitlines()[-1]

    @property
    def socks(self) -> tuple[str, int]:
        """Address and port of the SOCKS server."""
        host, _, port = self.ready["listen"][0].rpartition(":")
        return host.strip("[]"), int(port)

    def socks_reply(self, target: str, port: int, timeout: float = 60.0) -> int:
        """Ask the SOCKS server for a connection and return its reply code (RFC 1928 section 6)."""
        stream, reply = socks_connect(self.socks, target, port, timeout)
        stream.close()
        return reply


def socks_connect(server: tuple[str, int], target: str, port: int, timeout: float) -> tuple[socket.socket, int]:
    """Open a SOCKS5 connection to a name or address; return the socket and the reply code."""
    try:
        packed = ip_address(target).packed
        address = (b"\x01" if len(packed) == 4 else b"\x04") + packed
    except ValueError:
        address = b"\x03" + bytes([len(target)]) + target.encode()
    stream = socket.create_connection(server, timeout)
    try:
        stream.sendall(b"\x05\x01\x00")
        assert _exactly(stream, 2) == b"\x05\x00"
        stream.sendall(b"\x05\x01\x00" + address + port.to_bytes(2, "big"))
        head = _exactly(stream, 4)
        _exactly(stream, {1: 4, 4: 16}[head[3]] + 2)
    except (OSError, AssertionError):
        stream.close()
        raise
    return stream, head[1]


def _exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        assert more, "the SOCKS server closed the connection"
        data += more
    return data
