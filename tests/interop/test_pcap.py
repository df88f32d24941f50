"""The packet capture as Wireshark sees it: a second opinion on every header and checksum that we write."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.client import Client, socks_connect
from tests.interop.conftest import Server
from tests.interop.test_traffic import curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

ENOUGH = 2 * 1024 * 1024
"""Octets to download; Wireshark takes its time over more."""


@pytest.fixture
def tshark() -> str:
    found = shutil.which("tshark")
    if found is None:
        pytest.skip("tshark is not installed")
    return found


def read(tshark: str, capture: Path, display_filter: str, *fields: str) -> list[list[str]]:
    """Return fields of the packets that match, with every checksum verified."""
    checks = [word for layer in ("ip", "tcp", "udp") for word in ("-o", f"{layer}.check_checksum:TRUE")]
    # Packets after a download that was broken off are read as the beginning of an answer.
    command = [tshark, "-n", "-r", str(capture), *checks, "--disable-protocol", "http", "-Y", display_filter]
    command += ["-T", "fields"]
    for field in fields:
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_capture_is_what_wireshark_accepts(
    client: Client, server: Server, curl: str, tshark: str, tmp_path: Path
) -> None:
    capture = tmp_path / "inner.pcapng"
    client.start("--auth", server.auth.split(",")[0], "--reconnect", "never", "--pcap", str(capture))
    client.wait_ready()
    host, port = server.need("http").removeprefix("http://").rstrip("/").partition(":")[::2]
    assert curl_through(curl, client, server.need("http"))
    if server.http_by_name:
        curl_through(curl, client, server.http_by_name)
    stream, reply = socks_connect(client.socks, host, int(port or 80), 30)
    assert reply == 0
    with stream:
        stream.sendall(f"GET /64m.bin HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        left = ENOUGH
        while left > 0:
            data = stream.recv(65536)
            assert data, client.log
            left -= len(data)
    assert client.stop() == 0, client.log

    assert not read(tshark, capture, "_ws.malformed", "frame.number")
    ours = client.ready["addresses"][0]
    wrong = "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0"
    assert not read(tshark, capture, f"ip.src == {ours} && ({wrong})", "frame.number")
    packets = read(tshark, capture, "ip", "ip.src", "ip.dst", "ip.len", "tcp.len", "frame.packet_flags_direction")
    assert max(int(length) for source, _, length, *_ in packets if source == ours) <= client.ready["mtu"]
    assert sum(int(octets or 0) for _, target, _, octets, _ in packets if target == ours) >= ENOUGH
    # Direction as the file itself says it: 1 inbound, 2 outbound. Broadcasts of others come in, too.
    assert {(source == ours, int(direction, 0)) for source, *_, direction in packets} == {(True, 2), (False, 1)}
