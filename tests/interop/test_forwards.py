"""-R and -L udp/ through real servers: programs behind the VPN server call this machine, and datagrams go in."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

SIZE = 1 << 20
CALL = """\
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as stream:
    stream.sendall(b"from inside")
    stream.shutdown(socket.SHUT_WR)
    received = 0
    while data := stream.recv(65536):
        received += len(data)
print(received)
"""


class Here(threading.Thread):
    """A program of this machine that answers one caller after another with SIZE octets, and keeps what they said."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.said: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def run(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                said = b""
                while data := stream.recv(65536):
                    said += data
                self.said.append(said)
                stream.sendall(bytes(SIZE))

    def close(self) -> None:
        # Closing alone would not wake who waits in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def here() -> Iterator[Here]:
    program = Here()
    program.start()
    yield program
    program.close()


def test_a_program_behind_the_server_reaches_what_a_remote_forward_names(
    client: Client, server: Server, here: Here
) -> None:
    inside = shlex.split(server.need("caller"))
    client.start("--auth", server.auth.split(",")[0], "-R", f"2222:127.0.0.1:{here.port}", "-R", "2223:127.0.0.1:1")
    client.wait_ready()
    address = client.ready["addresses"][0]

    def call(port: int) -> subprocess.CompletedProcess[str]:
        words = [*inside, sys.executable, "-c", CALL, address, str(port)]
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)

    for _ in range(3):
        done = call(2222)
        assert done.stdout == f"{SIZE}\n", done.stderr
    assert here.said == [b"from inside"] * 3
    # What cannot be reached here is reset, a port that was not named refused, and the tunnel goes on.
    assert "ConnectionResetError" in call(2223).stderr
    assert "ConnectionRefusedError" in call(2224).stderr
    assert call(2222).stdout == f"{SIZE}\n"
    assert client.stop() == 0


def test_datagrams_go_to_the_name_server_behind_the_server(client: Client, server: Server) -> None:
    name = urlsplit(server.need("http_by_name")).hostname
    assert name is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    client.start("--auth", server.auth.split(",")[0], "--reconnect", "never")
    client.wait_ready()
    name_server = client.ready["dns"][0]
    assert client.stop() == 0
    client.start("--auth", server.auth.split(",")[0], "-L", f"udp/{port}:{name_server}:53")
    client.wait_ready()
    for _ in range(3):  # each from a port of its own
        answer = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", port=port, timeout=10)
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.answer
    assert client.stop() == 0
