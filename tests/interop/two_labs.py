"""Two sstpd labs whose networks have the same addresses, each alone in its namespaces, and a way to both servers.

Theory of operation. A lab takes the first free number, which makes its addresses; with namespaces of its own, for the
network and for mounts (where the names of network namespaces are), each takes number 1. So the servers have the same
address, too. The namespace of its processes has the holder as its first process: with it all of them end. A forwarder
for each listens on loopback here: its listening socket is made here and taken along by the process that then enters the
lab's network.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOLD = """
mount -t tmpfs tmpfs /run/netns || exit 1
"$1/up.sh" > /dev/null || exit 1
. "$LAB_DIR/lab.env"
echo up
# Until whoever started us is done, or gone.
while read -r _; do kill "$LAB_SERVER_PID"; done
"""
UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
UP_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0

FORWARD = """
import socket, sys, threading
listener = socket.socket(fileno=int(sys.argv[1]))
def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
while True:
    near, _ = listener.accept()
    try:
        far = socket.create_connection((sys.argv[2], int(sys.argv[3])))
    except OSError:
        near.close()
        continue
    for pair in ((near, far), (far, near)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@dataclass(frozen=True)
class Lab:
    """A lab that runs, and where its server is reached from here."""

    folder: Path
    port: int
    """On 127.0.0.1."""
    facts: dict[str, str]
    """What its lab.env says."""
    holder: subprocess.Popen[bytes]

    def stop_server(self) -> None:
        """End its VPN server for good."""
        assert self.holder.stdin is not None
        self.holder.stdin.write(b"stop\n")
        self.holder.stdin.flush()


@contextmanager
def lab(scripts: Path, folder: Path, page: str) -> Iterator[Lab]:
    """Start a lab whose web server answers ``page``."""
    (folder / "www").mkdir(parents=True)
    with (folder / "holder.log").open("wb") as log:
        holder = subprocess.Popen(
            [*UNSHARE, "sh", "-c", HOLD, "sh", str(scripts)],
            env=os.environ | {"LAB_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert holder.stdout is not None
        told = select.select([holder.stdout], [], [], UP_TIMEOUT)[0] and holder.stdout.readline()
        assert told == b"up\n", (folder / "holder.log").read_text()
        (folder / "www" / "index.html").write_text(page)
        facts = dict(line.split("=", 1) for line in (folder / "lab.env").read_text().splitlines())
        with _forwarder(holder.pid, facts["LAB_HOST"], facts["LAB_PORT"]) as port:
            yield Lab(folder, port, facts, holder)
    finally:
        with contextlib.suppress(BrokenPipeError):
            holder.communicate(timeout=STOP_TIMEOUT)
        shutil.rmtree(folder)  # a third of a gigabyte


@contextmanager
def _forwarder(holder: int, host: str, port: str) -> Iterator[int]:
    inside = ["nsenter", f"--net=/proc/{holder}/ns/net", "--"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [*inside, sys.executable, "-c", FORWARD, str(listener.fileno()), host, port],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
        )
        try:
            yield int(listener.getsockname()[1])
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT)
