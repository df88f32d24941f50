"""What goes wrong in the field: the right exit code, one clear line, within the limits, against a real server."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_traffic import curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


def expect_exit(client: Client, code: int, within: float, *words: str) -> None:
    begin = time.monotonic()
    assert client.wait_exit(within) == code, client.log
    assert time.monotonic() - begin < within
    for word in words:
        assert word.lower() in client.last_line.lower(), client.log
    assert client.last_line.startswith("sstpsocks: "), client.log
    assert "Traceback" not in client.log
    assert not client.ready_file.exists()


def test_wrong_password(client: Client, server: Server, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    wrong.chmod(0o600)
    client.start("--auth", server.auth.split(",")[0], "--password-file", str(wrong))
    expect_exit(client, 5, 60, "password")


def test_unknown_ca(client: Client, server: Server) -> None:
    server.need("ca_file")
    position = client.arguments.index("--ca-file")
    del client.arguments[position : position + 2]
    client.start()
    expect_exit(client, 4, 15, "certificate", "SHA-256")


def test_wrong_name(client: Client, server: Server) -> None:
    server.need("ca_file")
    client.start("--server-name", "other.example.com")
    expect_exit(client, 4, 15, "other.example.com", "SHA-256")


def test_closed_port(client: Client) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        client.start("--connect-to", f"127.0.0.1:{reserved.getsockname()[1]}")
        expect_exit(client, 3, 15, "refused")


@contextmanager
def tcp_server(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that gives every client the same answer after its first bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(stream, server_side=True) if context is not None else stream as connection:
                    connection.settimeout(10)
                    connection.recv(65536)
                    connection.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def test_server_that_speaks_no_tls(client: Client) -> None:
    with tcp_server(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        client.start("--connect-to", f"127.0.0.1:{port}")
        expect_exit(client, 6, 15, "TLS")


def test_web_server_that_is_no_sstp_server(client: Client, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "other-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("web.example.com").configure_cert(context)
    with tcp_server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", context) as port:
        client.start("--connect-to", f"127.0.0.1:{port}", "--ca-file", str(ca_file), "--server-name", "web.example.com")
        expect_exit(client, 6, 15, "404")


@pytest.mark.usefixtures("stopped_server")
def test_server_stopped_in_the_middle_ends_the_program(tunnel: Client, server: Server) -> None:
    subprocess.run(server.stop, shell=True, check=True, timeout=60)
    expect_lost(tunnel)


def expect_lost(tunnel: Client) -> None:
    assert tunnel.wait_exit(45) == 7, tunnel.log
    assert tunnel.last_line.startswith("sstpsocks: "), tunnel.log
    assert "Traceback" not in tunnel.log


@pytest.mark.usefixtures("stopped_server")
def test_tunnel_is_dialled_again_when_the_server_is_back(client: Client, server: Server, curl: str) -> None:
    client.start("--auth", server.auth.split(",")[0], "--reconnect", "auto")
    client.wait_ready()
    assert curl_through(curl, client, server.need("http"))
    subprocess.run(server.stop, shell=True, check=True, timeout=60)
    time.sleep(2)
    assert client.socks_reply(server.http.removeprefix("http://").split("/")[0].split(":")[0], 80) == 1, (
        "while it is down the port answers with a general failure"
    )
    subprocess.run(server.start, shell=True, check=True, timeout=120, stdout=subprocess.DEVNULL)
    back = time.monotonic()
    while True:
        host, port = client.socks
        fetched = subprocess.run(
            [curl, "-sf", "--max-time", "10", "--socks5-hostname", f"{host}:{port}", server.http],
            capture_output=True,
            check=False,
        )
        if fetched.returncode == 0:
            break
        assert time.monotonic() - back < server.recovery, client.log
        time.sleep(0.05)
    assert time.monotonic() - back < server.recovery, client.log
    assert client.stop() == 0, client.log
