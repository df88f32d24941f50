"""EAP-TLS with a real server: a certificate is all that it takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server

pytestmark = pytest.mark.interop


def test_a_certificate_logs_in_and_carries_traffic(server: Server, curl: str, tmp_path: Path) -> None:
    certificate, url = server.need("eap_cert"), server.need("http")
    arguments = [f"{server.host}:{server.port}", "--eap-cert", certificate]
    if server.ca_file:
        arguments += ["--ca-file", server.ca_file]
    if server.server_name:
        arguments += ["--server-name", server.server_name]
    client = Client(tmp_path, arguments)
    try:
        client.start("--log-format", "text")
        client.wait_ready()
        assert "eap-tls succeeded" in client.log
        proxy = "socks5h://{}:{}".format(*client.socks)
        page = subprocess.run([curl, "-sS", "--fail", "-m", "20", "-x", proxy, url], capture_output=True, check=True)
        assert page.stdout
    finally:
        client.stop()
