"""The tunnel through real proxies: squid, microsocks, and pyspnego's acceptor inside a small proxy of our own.

Runs where SSTPSOCKS_TEST_PROXIES is set, against any SSTP server (docs/interop.md). The proxies listen on loopback.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.helpers.http_proxy import ForwardProxy, acceptor, forward_proxy
from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_failures import expect_exit
from tests.interop.test_traffic import curl_through

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not os.environ.get("SSTPSOCKS_TEST_PROXIES"), reason="SSTPSOCKS_TEST_PROXIES is not set"),
]

USER, PASSWORD = "bob", "Secret.Passw0rd"
REALM = "LAB.TEST"
SQUID_HELPERS = Path("/usr/lib/squid")
START_TIMEOUT = 15.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the proxies' own users can reach."""
    with TemporaryDirectory(prefix="sstpsocks-proxies-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "proxy-password"
    path.write_text(PASSWORD)
    path.chmod(0o600)
    return path


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, f"{name} is not installed"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, f"the proxy ended with {process.returncode}"
            assert time.monotonic() < deadline, "the proxy does not listen"
            time.sleep(0.05)
        else:
            return


def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_listening(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def squid(request: pytest.FixtureRequest, folder: Path) -> Iterator[int]:
    """Squid with the ways to log in that the test names."""
    port = free_port()
    hashed = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True).stdout
    (folder / "basic").write_text(f"{USER}:{hashed}")
    (folder / "digest").write_text(f"{USER}:{PASSWORD}\n")
    for name in ("basic", "digest"):
        (folder / name).chmod(0o644)
    keytab = f"{SQUID_HELPERS}/negotiate_kerberos_auth -k {folder}/keytab -s HTTP/localhost@{REALM}"
    offers = {
        "negotiate": [f"auth_param negotiate program {keytab}"],
        "basic": [f"auth_param basic program {SQUID_HELPERS}/basic_ncsa_auth {folder}/basic"],
        "digest": [
            f"auth_param digest program {SQUID_HELPERS}/digest_file_auth {folder}/digest",
            "auth_param digest realm sstpsocks",
        ],
    }
    lines = [
        f"http_port 127.0.0.1:{port}",
        *(line for name in request.param.split("+") for line in offers[name]),
        "acl users proxy_auth REQUIRED",
        "http_access allow users",
        "http_access deny all",
        "cache deny all",
        "cache_mem 8 MB",
        "access_log none",
        f"cache_log {folder}/cache.log",
        f"coredump_dir {folder}",
        "pid_filename none",
        "netdb_filename none",
        "pinger_enable off",
        "shutdown_lifetime 0 seconds",
        "visible_hostname proxy.test",
        "max_filedescriptors 1024",
    ]
    configuration = folder / "squid.conf"
    configuration.write_text("\n".join(lines) + "\n")
    yield from running([program("squid"), "-N", "-f", str(configuration)], port, folder)


@pytest.fixture
def kdc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A KDC with a key for the proxy and a ticket for the user."""
    pytest.importorskip("gssapi", reason="sstpsocks[kerberos] is not installed")
    if not all(shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("krb5kdc", "kadmin.local", "kinit")):
        pytest.skip("krb5-kdc, krb5-admin-server and krb5-user are not installed")
    port = free_port()
    (folder / "krb5.conf").write_text(
        f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_lookup_realm = false\nrdns = false\n"
        f"dns_canonicalize_hostname = false\n[realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n"
        f"[domain_realm]\nlocalhost = {REALM}\n"
    )
    (folder / "kdc.conf").write_text(
        f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n"
        f"[realms]\n{REALM} = {{\ndatabase_name = {folder}/principal\nkey_stash_file = {folder}/stash\n"
        f"acl_file = {folder}/acl\n}}\n"
    )
    monkeypatch.setenv("KRB5_CONFIG", str(folder / "krb5.conf"))
    monkeypatch.setenv("KRB5_KDC_PROFILE", str(folder / "kdc.conf"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{folder}/tickets")
    subprocess.run(["/usr/sbin/kdb5_util", "create", "-s", "-P", "master"], check=True, capture_output=True)
    for query in (
        f"addprinc -pw {PASSWORD} {USER}",
        "addprinc -randkey HTTP/localhost",
        f"ktadd -k {folder}/keytab HTTP/localhost",
    ):
        subprocess.run(["/usr/sbin/kadmin.local", "-q", query], check=True, capture_output=True)
    (folder / "keytab").chmod(0o644)
    for _ in running(["/usr/sbin/krb5kdc", "-n"], port, folder):
        subprocess.run(["kinit", USER], input=PASSWORD.encode(), check=True, capture_output=True)
        yield


@pytest.fixture
def microsocks(folder: Path) -> Iterator[int]:
    port = free_port()
    command = [program("microsocks"), "-i", "127.0.0.1", "-p", str(port), "-u", USER, "-P", PASSWORD]
    yield from running(command, port, folder)


def login(password_file: Path, *more: str) -> list[str]:
    return ["--proxy-user", USER, "--proxy-password-file", str(password_file), "--reconnect", "never", *more]


def carries_traffic(client: Client, server: Server, curl: str, how: str) -> None:
    client.wait_ready()
    assert curl_through(curl, client, server.need("http"))
    assert how in client.log, client.log
    assert PASSWORD not in client.log


@pytest.mark.parametrize(
    ("squid", "how"),
    [("basic", "logged in with Basic"), ("digest+basic", "logged in with Digest (MD5)")],
    indirect=["squid"],
)
def test_squid(squid: int, how: str, client: Client, server: Server, curl: str, password_file: Path) -> None:
    client.start("--proxy", f"http://127.0.0.1:{squid}", *login(password_file))
    carries_traffic(client, server, curl, how)


@pytest.mark.parametrize("squid", ["digest+basic"], indirect=True)
def test_squid_refuses_a_password(squid: int, client: Client, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("mistyped")
    wrong.chmod(0o600)
    client.start("--proxy", f"http://127.0.0.1:{squid}", *login(wrong))
    expect_exit(client, 5, 20, f"proxy 127.0.0.1:{squid}", "refused the password")
    assert "mistyped" not in client.log


@pytest.mark.parametrize("squid", ["digest+basic"], indirect=True)
def test_squid_without_a_log_in(squid: int, client: Client) -> None:
    client.start("--proxy", f"127.0.0.1:{squid}")
    expect_exit(client, 5, 20, "offers Digest, Basic", "--proxy-user")


@pytest.mark.parametrize("squid", ["basic"], indirect=True)
def test_squid_by_the_environment(
    squid: int, client: Client, server: Server, curl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{USER}:{PASSWORD}@127.0.0.1:{squid}/")
    monkeypatch.setenv("NO_PROXY", "example.org,192.0.2.0/24")
    client.start("--reconnect", "never")
    carries_traffic(client, server, curl, "logged in with Basic")


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_ntlm_bare_and_inside_negotiate(
    scheme: str,
    client: Client,
    server: Server,
    curl: str,
    password_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = tmp_path / "users"
    users.write_text(f":{USER}:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    with forward_proxy(ForwardProxy(acceptor(scheme))) as proxy:
        client.start("--proxy", f"http://127.0.0.1:{proxy.port}", *login(password_file))
        carries_traffic(client, server, curl, f"logged in with {scheme}")
        assert proxy.connections == 1
        assert client.stop() == 0


@pytest.mark.usefixtures("kdc")
@pytest.mark.parametrize("squid", ["negotiate"], indirect=True)
def test_kerberos_with_the_ticket_of_whoever_is_logged_in(
    squid: int, client: Client, server: Server, curl: str
) -> None:
    client.start("--proxy", f"http://localhost:{squid}", "--reconnect", "never")
    carries_traffic(client, server, curl, "logged in with Negotiate")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_microsocks(
    scheme: str, microsocks: int, client: Client, server: Server, curl: str, password_file: Path
) -> None:
    client.start("--proxy", f"{scheme}://127.0.0.1:{microsocks}", *login(password_file))
    carries_traffic(client, server, curl, "logged in with a password")


def test_the_next_server_when_the_first_is_not_there(client: Client, server: Server, curl: str) -> None:
    client.arguments[0] = f"127.0.0.1:{free_port()},{client.arguments[0]}"
    client.start("--reconnect", "never")
    carries_traffic(client, server, curl, f"trying server {server.host}")
