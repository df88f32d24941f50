"""Traffic through a real server: log-in, bulk in both directions, many connections, names, reply codes."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.interop.client import Client, socks_connect
from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

SIZE_64M = 64 * 1024 * 1024


def curl_through(curl: str, client: Client, *arguments: str, timeout: float = 240.0) -> bytes:
    host, port = client.socks
    result = subprocess.run(
        [curl, "--silent", "--show-error", "--fail", "--socks5-hostname", f"{host}:{port}", *arguments],
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    assert result.returncode == 0, f"curl: {result.stderr.decode()}\n{client.log}"
    return result.stdout


def test_every_method_logs_in_and_carries_traffic(server: Server, client: Client, curl: str) -> None:
    for method in server.auth.split(","):
        client.ready_file.unlink(missing_ok=True)
        client.start("--auth", method, "--reconnect", "never")
        client.wait_ready()
        assert curl_through(curl, client, server.need("http"))
        assert client.stop() == 0, client.log


def test_ready_file_describes_the_tunnel(tunnel: Client, server: Server) -> None:
    assert tunnel.ready["listen"][0].startswith("127.0.0.1:")
    assert tunnel.ready["server"] == f"{server.host}:{server.port}"
    assert ip_address(tunnel.ready["addresses"][0]).version == 4
    assert all(ip_address(address) for address in tunnel.ready["dns"])
    assert 576 <= tunnel.ready["mtu"] <= 4087


def test_download_is_exact(tunnel: Client, server: Server, curl: str, tmp_path: Path) -> None:
    target = tmp_path / "64m.bin"
    curl_through(curl, tunnel, "--output", str(target), server.need("http") + "64m.bin")
    assert target.stat().st_size == SIZE_64M
    assert hashlib.sha256(target.read_bytes()).hexdigest() == server.need("sha256_64m")


def test_upload_is_exact(tunnel: Client, server: Server, curl: str, tmp_path: Path) -> None:
    source = tmp_path / "upload.bin"
    block = hashlib.shake_256(b"upload").digest(1 << 20)
    source.write_bytes(b"".join(bytes([index]) + block[1:] for index in range(64)))
    answer = curl_through(curl, tunnel, "--upload-file", str(source), server.need("upload"))
    assert hashlib.sha256(source.read_bytes()).hexdigest().encode() in answer


def test_names_are_resolved_by_the_tunnels_dns(tunnel: Client, server: Server, curl: str) -> None:
    assert curl_through(curl, tunnel, server.need("http_by_name"))


def test_two_hundred_connections_at_once(tunnel: Client, server: Server) -> None:
    host, port = server.need("http").removeprefix("http://").rstrip("/").partition(":")[::2]
    target = (host, int(port or 80))
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    with ThreadPoolExecutor(200) as pool:
        opened = list(pool.map(lambda _: socks_connect(tunnel.socks, *target, 60.0), range(200)))
        assert [reply for _, reply in opened] == [0] * 200

        def fetch(index: int) -> bytes:
            with opened[index][0] as stream:
                stream.sendall(request)
                answer = b""
                while data := stream.recv(65536):
                    answer += data
                return answer

        answers = list(pool.map(fetch, range(200)))
    assert all(answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) for answer in answers)


def test_reply_codes_tell_the_truth(tunnel: Client, server: Server) -> None:
    server.need("replies")
    targets = server.targets()
    with ThreadPoolExecutor(len(targets)) as pool:
        replies = list(pool.map(lambda target: tunnel.socks_reply(target[0], target[1]), targets))
    assert [(*target[:2], reply) for target, reply in zip(targets, replies, strict=True)] == targets, tunnel.log


def test_unknown_name(tunnel: Client, server: Server) -> None:
    assert tunnel.socks_reply(server.need("unknown_name"), 80) == 4


def test_targets_that_are_never_dialled(tunnel: Client) -> None:
    assert tunnel.socks_reply("localhost", 80) == 2
    assert tunnel.socks_reply("127.0.0.1", 80) == 2
    assert tunnel.socks_reply("169.254.1.1", 80) == 2


def test_ends_in_order_on_sigterm(tunnel: Client) -> None:
    assert tunnel.stop() == 0, tunnel.log
    assert "Traceback" not in tunnel.log
