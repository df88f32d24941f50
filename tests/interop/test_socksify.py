"""Programs that know no proxy, through another implementation of SOCKS5: socksify of Debian's dante-client.

It turns their datagrams into UDP ASSOCIATE and their listening sockets into BIND. dig is not among them: it sends by
calls that socksify does not take over.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_programs import soon, target_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.settimeout(5)
    for number in range(20):
        udp.sendto(b"datagram %d" % number, (sys.argv[1], 7))
        assert udp.recvfrom(100) == (b"datagram %d" % number, (sys.argv[1], 7))
print("all came back")
"""

FTP_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_anonymous(sys.argv[2])
FTPServer((sys.argv[1], 21), FTPHandler).serve_forever()
"""


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def through(tunnel: Client, folder: Path, *command: str) -> str:
    """Run a program under socksify and return what it prints."""
    host, port = tunnel.socks
    configuration = folder / "socks.conf"
    configuration.write_text(
        f"""
route {{
  from: 0.0.0.0/0 to: 0.0.0.0/0 via: {host} port = {port}
  proxyprotocol: socks_v5
  protocol: tcp udp
  method: none
  command: bind connect udpassociate bindreply udpreply
}}
"""
    )
    done = subprocess.run(
        [program("socksify"), *command],
        env=os.environ | {"SOCKS_CONF": str(configuration)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{tunnel.log}"
    return done.stdout


def name_server_of(tunnel: Client) -> str:
    servers = [address for address in tunnel.ready["dns"] if ":" not in address]
    if not servers:
        pytest.skip("the server gives no name server with an IPv4 address")
    return str(servers[0])


def name_of(server: Server) -> str:
    return server.need("http_by_name").removeprefix("http://").partition("/")[0].partition(":")[0]


def test_drill_asks_by_udp(tunnel: Client, server: Server, tmp_path: Path) -> None:
    name = name_of(server)
    answer = through(tunnel, tmp_path, program("drill"), "-u", f"@{name_server_of(tunnel)}", name, "A")
    assert "rcode: NOERROR" in answer
    assert f"{name}." in answer


def test_busybox_asks_by_udp(tunnel: Client, server: Server, tmp_path: Path) -> None:
    name = name_of(server)
    answer = through(tunnel, tmp_path, program("busybox"), "nslookup", "-type=a", name, name_server_of(tunnel))
    assert f"Name:\t{name}" in answer


def test_datagrams_come_back_from_where_they_were_sent(tunnel: Client, server: Server, tmp_path: Path) -> None:
    server.need("inside")  # the lab whose echo answers by UDP too
    assert through(tunnel, tmp_path, sys.executable, "-c", ECHO, target_of(server)[0]) == "all came back\n"


@pytest.fixture
def ftp_server(tunnel: Client, server: Server, tmp_path: Path) -> Iterator[str]:
    """The address of an FTP server behind the VPN server that has ``greeting.txt``."""
    inside = shlex.split(server.need("inside"))
    python = "/usr/bin/python3"
    if subprocess.run([python, "-c", "import pyftpdlib"], capture_output=True, check=False).returncode:
        pytest.skip("python3-pyftpdlib is not installed")
    folder = tmp_path / "ftp"
    folder.mkdir()
    (folder / "greeting.txt").write_text("hello from the intranet\n")
    address = target_of(server)[0]
    process = subprocess.Popen(
        [*inside, python, "-W", "ignore", "-c", FTP_SERVER, address, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def serves() -> bool:
            assert process.poll() is None, "the FTP server has ended"
            return tunnel.socks_reply(address, 21) == 0

        assert soon(serves, 10)
        yield address
    finally:
        process.kill()
        process.wait()


def test_an_ftp_server_calls_back(tunnel: Client, ftp_server: str, tmp_path: Path, curl: str) -> None:
    url = f"ftp://{ftp_server}/greeting.txt"
    # PORT, with the address and port of the listening socket: that is in the tunnel, and BIND has told where.
    said = through(tunnel, tmp_path, curl, "-sS", "--max-time", "20", "--ftp-port", "-", "--disable-eprt", url)
    assert said == "hello from the intranet\n"
