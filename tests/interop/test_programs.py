"""Local programs that behave badly, and programs that are killed: nothing of them stays, and nobody else suffers."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.interop.client import Client, socks_connect
from tests.interop.conftest import Server
from tests.interop.test_traffic import SIZE_64M, curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


def open_files(client: Client) -> int:
    folder = Path(f"/proc/{client.process.pid}/fd")
    if not folder.is_dir():
        pytest.skip("this system has no /proc to count open files in")
    return len(list(folder.iterdir()))


def processor_seconds(client: Client) -> float:
    fields = Path(f"/proc/{client.process.pid}/stat").read_text().rpartition(")")[2].split()
    # proc(5): utime and stime are fields 14 and 15, in hundredths (USER_HZ); the state behind the name is field 3.
    return (int(fields[11]) + int(fields[12])) / 100


def soon(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def read_all(stream: socket.socket) -> int:
    """Read to the end and return how many octets came."""
    taken = 0
    while data := stream.recv(1 << 20):
        taken += len(data)
    return taken


def target_of(server: Server) -> tuple[str, int]:
    host, port = server.need("http").removeprefix("http://").rstrip("/").partition(":")[::2]
    return host, int(port or 80)


def test_an_idle_tunnel_costs_nothing(tunnel: Client, server: Server, curl: str) -> None:
    assert curl_through(curl, tunnel, server.need("http"))
    open_files(tunnel)
    time.sleep(1)
    before = processor_seconds(tunnel)
    time.sleep(3)
    assert processor_seconds(tunnel) - before <= 0.05


def test_programs_killed_in_mid_transfer_leave_nothing(tunnel: Client, server: Server, curl: str) -> None:
    before = open_files(tunnel)
    host, port = tunnel.socks
    command = [curl, "-s", "-o", os.devnull, "--limit-rate", "1M", "--socks5-hostname", f"{host}:{port}"]
    programs = [subprocess.Popen([*command, server.need("http") + "64m.bin"]) for _ in range(10)]
    try:
        assert soon(lambda: open_files(tunnel) >= before + 10, 20), tunnel.log
        time.sleep(0.5)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert soon(lambda: open_files(tunnel) <= before, 10), tunnel.log
    assert curl_through(curl, tunnel, server.need("http"))


def test_a_reader_that_stops_holds_up_nobody(tunnel: Client, server: Server, curl: str, tmp_path: Path) -> None:
    stream, reply = socks_connect(tunnel.socks, *target_of(server), 30)
    assert reply == 0
    with stream:
        stream.sendall(b"GET /64m.bin HTTP/1.0\r\n\r\n")
        time.sleep(0.5)
        other = tmp_path / "64m.bin"
        curl_through(curl, tunnel, "--output", str(other), server.need("http") + "64m.bin", timeout=60)
        assert other.stat().st_size == SIZE_64M
        # What stood still goes on, and comes whole.
        assert read_all(stream) >= SIZE_64M, tunnel.log


def test_a_request_that_ends_its_direction_is_answered(tunnel: Client, server: Server, curl: str) -> None:
    server.need("half_close")
    page = curl_through(curl, tunnel, server.need("http"))
    host, port = target_of(server)
    stream, reply = socks_connect(tunnel.socks, host, port, 30)
    assert reply == 0
    answer = b""
    with stream:
        stream.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        stream.shutdown(socket.SHUT_WR)
        while data := stream.recv(65536):
            answer += data
    assert answer.endswith(page), tunnel.log


def test_babbling_and_silent_clients_do_no_harm(tunnel: Client, server: Server, curl: str) -> None:
    assert curl_through(curl, tunnel, server.need("http"), timeout=20)
    before = open_files(tunnel)
    dice = random.Random(1928)
    for _ in range(200):
        with closing(socket.create_connection(tunnel.socks, 10)) as babbler:
            beginning = dice.choice([b"", b"\x05\x01\x00", b"\x05\x01\x00\x05\x01\x00\x03", b"\x04", b"GET "])
            try:
                babbler.sendall(beginning + dice.randbytes(dice.choice([1, 2, 10, 300, 5000])))
                if dice.random() < 0.3:
                    babbler.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # cut before it had said all
    with ExitStack() as silent:
        for _ in range(500):
            silent.enter_context(closing(socket.create_connection(tunnel.socks, 10)))
        assert curl_through(curl, tunnel, server.need("http"), timeout=20)
    # A network that is slow to end the request's connection keeps its socket until then.
    assert soon(lambda: open_files(tunnel) <= before, 60), tunnel.log
    assert curl_through(curl, tunnel, server.need("http"))
    assert tunnel.stop() == 0, tunnel.log
    assert "Traceback" not in tunnel.log


def test_ends_in_order_in_the_middle_of_a_download(tunnel: Client, server: Server) -> None:
    stream, reply = socks_connect(tunnel.socks, *target_of(server), 30)
    assert reply == 0
    with stream:
        stream.sendall(b"GET /64m.bin HTTP/1.0\r\n\r\n")
        stream.recv(65536)
        begin = time.monotonic()
        assert tunnel.stop() == 0, tunnel.log
        assert time.monotonic() - begin < 5
        # A download that was cut must not look like a whole one.
        with pytest.raises(ConnectionResetError):
            read_all(stream)
    assert "Traceback" not in tunnel.log
