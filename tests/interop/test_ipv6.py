"""IPv6 inside the tunnel of a real server that offers it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_traffic import SIZE_64M, curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@pytest.fixture
def tunnel6(server: Server, tunnel: Client) -> Client:
    """A client whose tunnel is up and has an IPv6 address."""
    server.need("http6")
    tunnel.wait_ipv6()
    return tunnel


def test_the_address_comes_soon_and_beside_the_other(tunnel6: Client) -> None:
    first, second = map(ip_address, tunnel6.ready["addresses"])
    assert (first.version, second.version) == (4, 6)
    assert not second.is_link_local
    assert "IPv6: " in tunnel6.log


def test_a_download_over_ipv6_is_exact(tunnel6: Client, server: Server, curl: str, tmp_path: Path) -> None:
    target = tmp_path / "64m.bin"
    curl_through(curl, tunnel6, "--output", str(target), server.need("http6") + "64m.bin")
    assert target.stat().st_size == SIZE_64M
    assert hashlib.sha256(target.read_bytes()).hexdigest() == server.need("sha256_64m")


def test_an_upload_over_ipv6_is_exact(tunnel6: Client, server: Server, curl: str, tmp_path: Path) -> None:
    source = tmp_path / "upload.bin"
    source.write_bytes(hashlib.shake_256(b"upload over IPv6").digest(16 << 20))
    answer = curl_through(curl, tunnel6, "--upload-file", str(source), server.need("upload6"))
    assert hashlib.sha256(source.read_bytes()).hexdigest() in answer.decode()


def test_a_name_with_an_ipv6_address_only(tunnel6: Client, server: Server, curl: str) -> None:
    assert curl_through(curl, tunnel6, server.need("http6_by_name"))


def test_replies_over_ipv6_tell_the_cause(tunnel6: Client, server: Server) -> None:
    targets = server.targets("replies6")
    with ThreadPoolExecutor() as pool:
        given = list(pool.map(lambda target: tunnel6.socks_reply(*target[:2]), targets))
    assert given == [code for _host, _port, code in targets]


def test_both_versions_at_once(tunnel6: Client, server: Server, curl: str) -> None:
    urls = [server.need("http"), server.need("http6")] * 10
    with ThreadPoolExecutor(len(urls)) as pool:
        answers = list(pool.map(lambda url: curl_through(curl, tunnel6, url), urls))
    assert all(answers)
