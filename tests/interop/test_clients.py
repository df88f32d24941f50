"""The programs that people have, each by name, through the one port: curl, wget, pip, Python's libraries, others."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import web
from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_browser import NAMES, OPTIONS
from tests.interop.test_programs import soon, target_of
from tests.interop.web import GREETING, PACKAGE, Web

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

IS_ROOT = getattr(os, "getuid", lambda: -1)() == 0  # nobody is on Windows

SCRIPTS = {
    "requests": """
import requests
session = requests.Session()
session.proxies = {"http": proxy, "https": proxy}
session.verify = ca_file
for url in urls:
    print(session.get(url, timeout=20).text, end="")
""",
    "httpx": """
import httpx, ssl
trust = ssl.create_default_context(cafile=ca_file)
with httpx.Client(proxy=proxy.replace("socks5h", "socks5"), verify=trust) as client:
    for url in urls:
        print(client.get(url, timeout=20).text, end="")
""",
    "aiohttp": """
import aiohttp, asyncio, ssl
async def main():
    async with aiohttp.ClientSession() as session:
        for url in urls:
            context = ssl.create_default_context(cafile=ca_file)
            async with session.get(url, proxy=proxy, ssl=context) as answer:
                print(await answer.text(), end="")
asyncio.run(main())
""",
}


def program(*names: str) -> str:
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is not None:
            return found
    pytest.skip(f"{names[0]} is not installed")


def run(command: list[str], **variables: str) -> str:
    # Neither the proxies nor the authorities of this machine's environment are ours.
    foreign = ("_proxy", "_ca_bundle", "ssl_cert_file", "ssl_cert_dir", "pip_")
    environ = {name: value for name, value in os.environ.items() if not any(word in name.lower() for word in foreign)}
    done = subprocess.run(
        command,
        env=environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def port_of(client: Client, scheme: str) -> str:
    host, port = client.socks
    return f"{scheme}://{host}:{port}"


@pytest.fixture
def intranet(server: Server, tmp_path: Path) -> Iterator[Web]:
    inside = shlex.split(server.need("inside"))
    name = server.need("http_by_name").removeprefix("http://").partition("/")[0].partition(":")[0]
    address = target_of(server)[0]
    folder = tmp_path / "web"
    folder.mkdir()
    with web.running(program("nginx"), inside, name, address, folder) as running:
        # nginx listens once it has written its process id.
        assert soon(lambda: (folder / "nginx.pid").exists(), 10), (folder / "nginx.log").read_text()
        yield running


@pytest.mark.parametrize("proxy", ["socks4a", "socks5h", "http"])
def test_curl_fetches_a_name_by_every_protocol(tunnel: Client, intranet: Web, proxy: str, curl: str) -> None:
    command = [curl, "-sSf", "--proxy", port_of(tunnel, proxy), "--cacert", str(intranet.ca_file)]
    assert run([*command, intranet.http()]) == GREETING
    assert run([*command, "--http2", "-w", "%{http_version}", intranet.https()]) == f"{GREETING}2"


@pytest.mark.parametrize("proxy", ["socks4", "socks5"])
def test_curl_fetches_an_address_by_protocols_without_names(
    tunnel: Client, intranet: Web, proxy: str, curl: str
) -> None:
    command = [curl, "-sSf", "--proxy", port_of(tunnel, proxy), "--cacert", str(intranet.ca_file)]
    assert run([*command, intranet.https(by_name=False)]) == GREETING


def test_curl_uploads_through_the_http_proxy(tunnel: Client, server: Server, curl: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    command = [curl, "-sSf", "--proxy", port_of(tunnel, "http"), "--upload-file", str(source)]
    for more in ([], ["-H", "Expect: 100-continue"]):
        answer = json.loads(run([*command, *more, server.need("upload")]))
        assert answer["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_wget_goes_through_the_http_proxy(tunnel: Client, intranet: Web) -> None:
    proxy = port_of(tunnel, "http")
    command = [program("wget"), "-q", "-O", "-", f"--ca-certificate={intranet.ca_file}"]
    assert run([*command, intranet.http()], http_proxy=proxy) == GREETING
    assert run([*command, intranet.https()], https_proxy=proxy) == GREETING


def test_pip_downloads_from_an_index_inside(tunnel: Client, intranet: Web, tmp_path: Path) -> None:
    run(
        [
            *(sys.executable, "-m", "pip", "--isolated", "--no-cache-dir", "download", "--quiet", "--no-deps"),
            *("--proxy", port_of(tunnel, "http"), "--cert", str(intranet.ca_file), "--retries", "0"),
            *("--index-url", intranet.https("simple/"), "--dest", str(tmp_path / "wheels"), PACKAGE),
        ]
    )
    assert (tmp_path / "wheels" / f"{PACKAGE}-1.0-py3-none-any.whl").exists()


@pytest.mark.parametrize(
    ("library", "scheme"),
    [("requests", "http"), ("requests", "socks5h"), ("httpx", "http"), ("httpx", "socks5h"), ("aiohttp", "http")],
)
def test_pythons_libraries_fetch_by_name(tunnel: Client, intranet: Web, library: str, scheme: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    values = {
        "proxy": port_of(tunnel, scheme),
        "ca_file": str(intranet.ca_file),
        "urls": [intranet.http(), intranet.https()],
    }
    head = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    assert run([sys.executable, "-c", head + SCRIPTS[library]]) == GREETING * 2


def test_proxychains_takes_a_program_that_knows_no_proxy(
    tunnel: Client, intranet: Web, curl: str, tmp_path: Path
) -> None:
    host, port = tunnel.socks
    configuration = tmp_path / "proxychains.conf"
    configuration.write_text(f"strict_chain\nproxy_dns\n[ProxyList]\nsocks5 {host} {port}\n")
    command = [program("proxychains4", "proxychains"), "-q", "-f", str(configuration), curl, "-sSf"]
    assert run([*command, "--noproxy", "*", intranet.http()]) == GREETING


def test_chromium_goes_by_the_pac_file(tunnel: Client, intranet: Web, tmp_path: Path) -> None:
    browser = program(*NAMES)
    done = subprocess.run(
        [
            *(browser, *OPTIONS, "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"),
            f"--proxy-pac-url={port_of(tunnel, 'http')}/proxy.pac",
            *("--virtual-time-budget=5000", "--dump-dom", intranet.http("page.html")),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, tunnel.log
    assert f"fetched {GREETING.strip()}" in done.stdout


def test_psql_asks_a_database_through_a_forward(client: Client, server: Server, tmp_path: Path) -> None:
    psql, setpriv = program("psql"), program("setpriv")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not IS_ROOT:
        pytest.skip("no PostgreSQL server is installed, or there is no root to start it as somebody else")
    inside, address = shlex.split(server.need("inside")), target_of(server)[0]
    nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    data = Path(f"/tmp/sstpsocks-database-{os.getpid()}")  # where nobody may look, unlike pytest's folder
    data.mkdir(mode=0o700)
    shutil.chown(data, 65534, 65534)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    database: subprocess.Popen[bytes] | None = None
    try:
        run([*nobody, str(folders[-1] / "initdb"), "-D", str(data), "-U", "alice", "-A", "trust", "--no-sync"])
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all trust\n")
        database = subprocess.Popen(
            [*inside, *nobody, str(folders[-1] / "postgres"), "-D", str(data), "-h", address, "-k", "", "-F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client.start("--auth", server.auth.split(",")[0], "-L", f"{port}:{address}:5432")
        client.wait_ready()
        query = [psql, "-h", "127.0.0.1", "-p", str(port), "-U", "alice", "-d", "postgres", "-tA", "-c"]

        def answers() -> bool:
            done = subprocess.run([*query, "select 1"], capture_output=True, check=False, timeout=20)
            return done.returncode == 0

        assert soon(answers, 20), client.log
        # More than a segment, in one answer.
        assert run([*query, "select sum(n), length(string_agg(n::text, ',')) from generate_series(1, 100000) n"]) == (
            "5000050000|588894\n"
        )
    finally:
        if database is not None:
            database.terminate()
            database.wait(20)
        shutil.rmtree(data)
