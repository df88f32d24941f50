"""A real SSTP server for the interop suite, described by environment variables (docs/interop.md)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.client import Client

PREFIX = "SSTPSOCKS_TEST_"


@dataclass(frozen=True)
class Server:
    """What the variables say; an empty field means that the tests which need it are skipped."""

    host: str
    port: int
    user: str
    password: str
    server_name: str
    ca_file: str
    auth: str
    """Methods to test, comma separated: each logs in once."""
    eap_cert: str
    """A certificate with its key, which is all that it takes to log in by EAP-TLS."""
    http: str
    """URL of a folder by address that holds 64m.bin."""
    http_by_name: str
    """The same by a name that only the tunnel's DNS knows."""
    sha256_64m: str
    upload: str
    """URL that takes a PUT and answers with the SHA-256 of what came."""
    replies: str
    """Targets and the SOCKS replies that they must give, as "host:port=code", separated by spaces."""
    half_close: str
    """Anything, when the network behind the server keeps the other direction open after the end of ours."""
    unknown_name: str
    long_name: str
    """A name with a TXT record that is too long for UDP without EDNS."""
    reverse: str
    """An address behind the server and the name that it has, as "address=name"."""
    single_label: str
    """URL with a name of one label, which is found in a domain that DHCP tells."""
    route: str
    """A network to which DHCP pushes a route."""
    no_route: str
    """host:port to which it pushes none."""
    http6: str
    """As http, by an IPv6 address."""
    http6_by_name: str
    """A URL by a name that has only an IPv6 address."""
    upload6: str
    """As upload, by an IPv6 address."""
    replies6: str
    """As replies, with IPv6 addresses in brackets."""
    iperf: str
    """host:port of an iperf3 server behind the server."""
    inside: str
    """Beginning of a command that runs a program on the machine of ``http``."""
    caller: str
    """The same, where that machine reaches the client's address inside the tunnel."""
    stop: str
    """Shell command that stops the server at once."""
    start: str
    """Shell command that starts it again and returns when it serves."""
    recovery: float
    """Seconds after `start` returned within which traffic must pass again."""

    def need(self, field: str) -> str:
        """Return a field, or skip the test because it is not set."""
        value = str(getattr(self, field))
        if not value:
            pytest.skip(f"{PREFIX}{field.upper()} is not set")
        return value

    def targets(self, field: str = "replies") -> list[tuple[str, int, int]]:
        """Host, port and expected SOCKS reply of every entry of ``replies`` or ``replies6``."""
        found = []
        for entry in self.need(field).split():
            target, _, code = entry.rpartition("=")
            host, _, port = target.rpartition(":")
            found.append((host.strip("[]"), int(port), int(code)))
        return found


@pytest.fixture(scope="session")
def server() -> Server:
    """The server under test."""
    environ = os.environ
    if not environ.get(f"{PREFIX}HOST"):
        pytest.skip(f"no SSTP server: {PREFIX}HOST is not set (docs/interop.md)")

    def get(name: str, default: str = "") -> str:
        return environ.get(PREFIX + name, default)

    return Server(
        host=get("HOST"),
        port=int(get("PORT", "443")),
        user=get("USER"),
        password=get("PASSWORD"),
        server_name=get("SERVER_NAME"),
        ca_file=get("CA_FILE"),
        auth=get("AUTH", "mschapv2"),
        eap_cert=get("EAP_CERT"),
        http=get("HTTP"),
        http_by_name=get("HTTP_BY_NAME"),
        sha256_64m=get("SHA256_64M"),
        upload=get("UPLOAD"),
        replies=get("REPLIES"),
        half_close=get("HALF_CLOSE"),
        unknown_name=get("UNKNOWN_NAME"),
        long_name=get("LONG_NAME"),
        reverse=get("REVERSE"),
        single_label=get("SINGLE_LABEL"),
        route=get("ROUTE"),
        no_route=get("NO_ROUTE"),
        http6=get("HTTP6"),
        http6_by_name=get("HTTP6_BY_NAME"),
        upload6=get("UPLOAD6"),
        replies6=get("REPLIES6"),
        iperf=get("IPERF"),
        inside=get("INSIDE"),
        caller=get("CALLER", get("INSIDE")),
        stop=get("STOP"),
        start=get("START"),
        recovery=float(get("RECOVERY", "3")),
    )


@pytest.fixture(scope="session")
def curl() -> str:
    """The curl program."""
    found = shutil.which("curl")
    if found is None:
        pytest.skip("curl is not installed")
    return found


def new_client(server: Server, folder: Path) -> Client:
    """Return a client that is not started yet, with the arguments that make it log in."""
    password_file = folder / "password"
    password_file.write_text(server.password)
    password_file.chmod(0o600)
    arguments = [f"{server.host}:{server.port}", "--user", server.user, "--password-file", str(password_file)]
    if server.ca_file:
        arguments += ["--ca-file", server.ca_file]
    if server.server_name:
        arguments += ["--server-name", server.server_name]
    return Client(folder, arguments)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    """A client that is not started yet, with the arguments that make it log in."""
    client = new_client(server, tmp_path)
    try:
        yield client
    finally:
        client.stop()


@pytest.fixture
def tunnel(client: Client, server: Server) -> Client:
    """A client whose tunnel is up."""
    client.start("--auth", server.auth.split(",")[0], "--reconnect", "never")
    client.wait_ready()
    return client


@pytest.fixture(scope="module")
def shared_tunnel(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client whose tunnel is up, one for all tests of a module that leave it as it was: logging in takes seconds."""
    client = new_client(server, tmp_path_factory.mktemp("shared"))
    try:
        client.start("--auth", server.auth.split(",")[0], "--reconnect", "never")
        client.wait_ready()
        yield client
    finally:
        client.stop()


@pytest.fixture
def stopped_server(server: Server) -> Iterator[None]:
    """Make sure that the server runs again after a test that stops it."""
    stop, start = server.need("stop"), server.need("start")
    assert stop
    try:
        yield
    finally:
        subprocess.run(start, shell=True, check=True, timeout=120, stdout=subprocess.DEVNULL)
