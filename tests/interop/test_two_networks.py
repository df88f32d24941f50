"""Two real servers in front of networks with the same addresses: one program leads into both, and rules choose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.two_labs import Lab, lab

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]

VARIABLE = "SSTPSOCKS_TEST_TWO_LABS"
RULES = ["two.lab.test -> two", ".ads.lab.test -> refuse", "printer.home.invalid -> direct"]
CONFIG = """\
default_profile = ["one", "two"]
dns_listen = "0"
user = "{user}"
password_file = "password"
server_name = "{name}"
reconnect = "never"
rule = {rules}
[profiles.one]
server = "127.0.0.1:{one.port}"
ca_file = "{one.folder}/ca.pem"
[profiles.two]
server = "127.0.0.1:{two.port}"
ca_file = "{two.folder}/ca.pem"
listen = 0
"""


@dataclass(frozen=True)
class Both:
    """The program with tunnels into both networks."""

    one: Lab
    two: Lab
    client: Client
    curl: str

    def page(self, url: str, port: str | None = None) -> str:
        """What curl gets by SOCKS, names looked up by us; else its exit code."""
        proxy = f"socks5h://{port or self.client.ready['listen'][0]}"
        done = subprocess.run(
            [self.curl, "--silent", "--fail", "--max-time", "20", "--proxy", proxy, url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout if done.returncode == 0 else f"exit {done.returncode}"

    def dig(self, name: str) -> tuple[str, list[str]]:
        """The status and the addresses that dig is told."""
        host, _, port = self.client.ready["dns_listen"][0].rpartition(":")
        done = subprocess.run(
            ["dig", "-r", f"@{host}", "-p", port, "+tries=1", "+time=15", "+noall", "+comments", "+answer", name, "A"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        status = next(line.partition("status: ")[2].partition(",")[0] for line in lines if "status: " in line)
        return status, [line.split()[-1] for line in lines if line and not line.startswith(";")]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Two labs, and the program."""
    scripts = os.environ.get(VARIABLE)
    if not scripts:
        pytest.skip(f"{VARIABLE} is not set (docs/interop.md)")
    if getattr(os, "getuid", lambda: -1)() != 0:
        pytest.skip("only root makes namespaces with servers in them")
    curl = shutil.which("curl")
    if curl is None or shutil.which("dig") is None:
        pytest.skip("curl or dig is not installed")
    folder = tmp_path_factory.mktemp("both")
    with (
        lab(Path(scripts), folder / "one", "the first network\n") as one,
        lab(Path(scripts), folder / "two", "the second network\n") as two,
    ):
        (folder / "password").write_text(one.facts["LAB_PASSWORD"])
        (folder / "password").chmod(0o600)
        config = folder / "config.toml"
        name, user = one.facts["LAB_SERVER_NAME"], one.facts["LAB_USER"]
        config.write_text(CONFIG.format(one=one, two=two, name=name, user=user, rules=json.dumps(RULES)))
        config.chmod(0o600)
        client = Client(folder, ["--config", str(config)])
        try:
            client.start()
            client.wait_ready()
            yield Both(one, two, client, curl)
            assert client.stop() == 0, client.log
            assert "Traceback" not in client.log
        finally:
            client.stop()


def test_both_networks_have_the_same_addresses(both: Both) -> None:
    names = ("LAB_HOST", "LAB_TARGET", "LAB_DNS", "LAB_POOL")
    assert [both.one.facts[name] for name in names] == [both.two.facts[name] for name in names]
    tunnels = both.client.ready["tunnels"]
    assert tunnels["one"]["addresses"][0] == tunnels["two"]["addresses"][0]


def test_a_rule_sends_one_host_to_each(both: Both) -> None:
    for _ in range(3):
        assert both.page("http://www.lab.test/") == "the first network\n"
        assert both.page("http://two.lab.test/") == "the second network\n"


def test_an_address_without_a_rule_is_the_first_networks(both: Both) -> None:
    assert both.page(both.one.facts["LAB_HTTP"]) == "the first network\n"


def test_the_port_of_the_second_leads_there_alone(both: Both) -> None:
    port = both.client.ready["tunnels"]["two"]["listen"][0]
    assert both.page("http://www.lab.test/", port) == "the second network\n"
    assert both.page(both.one.facts["LAB_HTTP"], port) == "the second network\n"


def test_the_pac_file_sends_browsers_the_same_ways(both: Both) -> None:
    quickjs = pytest.importorskip("quickjs")
    place = both.client.ready["listen"][0]
    script = subprocess.run(
        [both.curl, "--silent", "--fail", "--noproxy", "*", f"http://{place}/proxy.pac"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    context = quickjs.Context()
    context.eval(script)
    for host in ("www.lab.test", "two.lab.test", "x.ads.lab.test", both.one.facts["LAB_TARGET"]):
        assert context.eval(f'FindProxyForURL("http://{host}/", "{host}")') == f"PROXY {place}"
    host = "printer.home.invalid"
    assert context.eval(f'FindProxyForURL("http://{host}/", "{host}")') == "DIRECT"


def test_what_a_rule_refuses_reaches_neither(both: Both) -> None:
    assert both.page("http://x.ads.lab.test/") == "exit 97"  # curl: a reply of the SOCKS server's that is no success
    assert both.dig("x.ads.lab.test") == ("REFUSED", [])


def test_names_are_asked_of_the_network_that_they_lead_to(both: Both) -> None:
    """The last one: it ends the second server."""
    address = both.one.facts["LAB_TARGET"]
    assert both.dig("www.lab.test") == both.dig("two.lab.test") == ("NOERROR", [address])
    both.two.stop_server()
    deadline = time.monotonic() + 20
    while 'the tunnel "two" is gone for good' not in both.client.log:
        assert time.monotonic() < deadline, both.client.log
        time.sleep(0.05)
    # Not by the first network's servers, which would know them.
    assert both.dig("a.two.lab.test") == ("NOERROR", [address])
    assert both.dig("two.lab.test")[0] == "SERVFAIL"
    assert both.page("http://two.lab.test/") == "exit 97"
    assert both.page("http://www.lab.test/") == "the first network\n"
