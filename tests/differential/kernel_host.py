"""The kernel's side: a process in a network namespace of its own with a TUN device and nothing else.

It makes the device, hands its descriptor to the parent process, and runs kernel sockets as the parent asks: one JSON
object per line in both directions (see kernel.py). Whatever it sends goes to the device, that is, to the parent.
Imports nothing of the project: a start takes a tenth of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

if sys.platform == "linux":
    import fcntl
    import termios

CHUNK = 65536
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


def payload(seed: int, count: int) -> bytes:
    """What a program with this seed sends, on either side."""
    return random.Random(seed).randbytes(count)


def open_tun(name: str) -> int:
    """Make a TUN device that carries bare IP packets."""
    if sys.platform == "linux":
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
        return tun
    raise OSError("needs Linux")


def change_setting(name: str, value: int) -> None:
    """Set a sysctl of ``net``; not where it is unknown or read-only, as in some containers."""
    with contextlib.suppress(OSError):
        Path("/proc/sys/net", name).write_text(str(value))


def configure(name: str, pairs: list[list[str]], mtu: int, *, ecn: bool) -> None:
    """Give the device its addresses and peers, and the kernel's TCP the settings that make runs comparable."""

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    change_setting(f"ipv6/conf/{name}/router_solicitations", 0)
    change_setting("ipv4/tcp_no_metrics_save", 1)
    # RFC 4821, only when a black hole is suspected: off by default, and nothing else gets through one.
    change_setting("ipv4/tcp_mtu_probing", 1)
    # 1: ask for ECN and agree to it; 2, the default: only agree.
    change_setting("ipv4/tcp_ecn", 1 if ecn else 2)
    ip("link", "set", "lo", "up")
    ip("link", "set", name, "mtu", str(mtu), "txqueuelen", "10000", "up")
    for address, peer in pairs:
        ip("address", "add", address, "peer", peer, "dev", name, *(["nodad"] if ":" in address else []))
        # By route: the sysctl cannot be set where the machine's owner restricts it.
        features = ["features", "ecn"] if ecn else []
        ip("route", "replace", peer, "dev", name, "src", address, "congctl", "cubic", *features)


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of sockets for an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def parse_counters(text: str) -> dict[str, int]:
    """Return what /proc/net/snmp or netstat says as ``Tcp.OutRsts``, ``TcpExt.TCPAbortOnData`` and so on."""
    found: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        table, _, heads = names.partition(":")
        numbers = values.partition(":")[2].split()
        found |= {f"{table}.{head}": int(number) for head, number in zip(heads.split(), numbers, strict=True)}
    return found


class Program:
    """One kernel socket at work: sends and receives at the same time, then reports."""

    def __init__(self, name: str, script: dict[str, Any], host: Host) -> None:
        self.name = name
        self.script = script
        self.received = 0
        self._host = host
        self._digest = hashlib.sha256()
        self._errors: list[str] = []

    def run(self, stream: socket.socket) -> None:
        """Play the script (kernel.Script) on a connected socket."""
        sender = threading.Thread(target=self._guard, args=(self._send, stream), daemon=True)
        if not self.script["answer_after_eof"]:
            sender.start()
        self._guard(self._receive, stream)
        if self.script["answer_after_eof"]:
            sender.start()
        sender.join()
        self._guard(self._wait_for_acknowledgement, stream)
        stream.close()
        self.report()

    def connect(self, address: str, port: int) -> None:
        """Connect, then run()."""
        stream = socket.socket(family_of(address))
        self.prepare(stream)
        self._guard(lambda stream: stream.connect((address, port)), stream)
        if self._errors:
            self.report()
        else:
            self.run(stream)

    def prepare(self, stream: socket.socket) -> None:
        """Set what must be set before the handshake."""
        if self.script["receive_buffer"]:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.script["receive_buffer"])

    def report(self) -> None:
        """Tell the parent what came of it."""
        self._host.tell(
            result=self.name,
            received=self.received,
            sha256=self._digest.hexdigest(),
            error=self._errors[0] if self._errors else None,
        )

    def _send(self, stream: socket.socket) -> None:
        stream.sendall(payload(self.script["seed"], self.script["send"]))
        if self.script["shutdown"]:
            stream.shutdown(socket.SHUT_WR)

    def _receive(self, stream: socket.socket) -> None:
        bite, pause, reset_after = self.script["bite"], self.script["pause"], self.script["reset_after"]
        while data := stream.recv(bite or CHUNK):
            self.received += len(data)
            self._digest.update(data)
            if reset_after is not None and self.received >= reset_after:
                # Closing a socket that lingers for no time resets the connection.
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stream.close()
                return
            if pause:
                time.sleep(pause)

    def _wait_for_acknowledgement(self, stream: socket.socket) -> None:
        """Keep the socket until everything is acknowledged: the kernel soon gives up what no process owns."""
        if sys.platform == "linux" and stream.fileno() >= 0:
            while not self._errors and struct.unpack("i", fcntl.ioctl(stream, termios.TIOCOUTQ, bytes(4)))[0]:
                if error := stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(error, "")
                time.sleep(0.02)

    def _guard(self, action: Any, stream: socket.socket) -> None:
        try:
            action(stream)
        except OSError as error:
            self._errors.append(errno.errorcode.get(error.errno or 0, str(error)))


class Host:
    """Does what the parent says until it closes the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._programs: dict[str, Program] = {}

    def tell(self, **message: Any) -> None:
        """Send one line to the parent."""
        with self._lock, contextlib.suppress(OSError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def serve(self) -> None:
        """Run until the parent is gone."""
        for line in self._control.makefile("r"):
            request = json.loads(line)
            action = request.pop("do")
            self.tell(answer=getattr(self, f"do_{action}")(**request))

    def do_listen(self, address: str, port: int, name: str, script: dict[str, Any]) -> None:
        """Run a program on each connection to the port: ``name-0``, ``name-1``, ..."""
        listener = socket.socket(family_of(address))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._new_program(name, script).prepare(listener)
        listener.bind((address, port))
        listener.listen(1024)
        threading.Thread(target=self._accept, args=(listener, name, script), daemon=True).start()

    def do_connect(self, address: str, port: int, name: str, script: dict[str, Any]) -> None:
        """Run a program on a new connection."""
        program = self._new_program(name, script)
        threading.Thread(target=program.connect, args=(address, port), daemon=True).start()

    def do_counters(self) -> dict[str, int]:
        """Return the counters of the namespace."""
        return parse_counters(Path("/proc/net/snmp").read_text() + Path("/proc/net/netstat").read_text())

    def do_received(self) -> dict[str, int]:
        """Return what each program has received so far."""
        return {name: program.received for name, program in self._programs.items()}

    def _accept(self, listener: socket.socket, name: str, script: dict[str, Any]) -> None:
        number = 0
        while True:
            stream, _ = listener.accept()
            # Each connection sends something else.
            program = self._new_program(f"{name}-{number}", script | {"seed": script["seed"] + number})
            threading.Thread(target=program.run, args=(stream,), daemon=True).start()
            number += 1

    def _new_program(self, name: str, script: dict[str, Any]) -> Program:
        program = self._programs[name] = Program(name, script, self)
        return program


def main() -> None:
    """Make the device, hand it over, obey."""
    parser = argparse.ArgumentParser()
    parser.add_argument("control", type=int)
    parser.add_argument("device")
    parser.add_argument("mtu", type=int)
    parser.add_argument("--pair", nargs=2, action="append", default=[], help="the device's address, and the peer's")
    parser.add_argument("--ecn", action="store_true", help="ask for ECN in every SYN")
    options = parser.parse_args()
    control = socket.socket(fileno=options.control)
    tun = open_tun(options.device)
    configure(options.device, options.pair, options.mtu, ecn=options.ecn)
    if sys.platform == "linux":
        socket.send_fds(control, [b"\n"], [tun])
    Host(control).serve()


if __name__ == "__main__":
    main()
