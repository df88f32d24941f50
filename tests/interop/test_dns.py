"""The DNS port as dig meets it: what the servers inside know, by UDP and TCP, short and long, and what nobody knows."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server, new_client

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Reply:
    """What dig printed about one question."""

    text: str

    @property
    def status(self) -> str:
        return self._found(r"status: (\w+)")

    @property
    def flags(self) -> list[str]:
        return self._found(r"flags: ([a-z ]*);").split()

    @property
    def by(self) -> str:
        """UDP or TCP, whichever the printed answer came by."""
        return self._found(r"SERVER: .*\((\w+)\)")

    @property
    def records(self) -> list[tuple[str, str, str]]:
        """Owner, type and data of each record of the answer."""
        lines = [line.split(None, 4) for line in self.text.splitlines() if line and not line.startswith(";")]
        return [(owner, kind, data) for owner, _ttl, _class, kind, data in lines]

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.text)
        assert match, self.text
        return match[1]


Dig = Callable[..., Reply]


@pytest.fixture(scope="module")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One client for all tests: they only ask."""
    client = new_client(server, tmp_path_factory.mktemp("dns"))
    try:
        method = server.auth.split(",")[0]
        client.start("--auth", method, "--reconnect", "never", "--dns-listen", "0", "--host", "nas=10.9.9.9")
        client.wait_ready()
        yield client
        assert client.stop() == 0, client.log
        assert "Traceback" not in client.log
    finally:
        client.stop()


@pytest.fixture(scope="module")
def dig(client: Client) -> Dig:
    """Asks the DNS port of a client whose tunnel is up."""
    program = shutil.which("dig")
    if program is None:
        pytest.skip("dig is not installed")
    host, _, port = client.ready["dns_listen"][0].rpartition(":")

    question = [
        program,
        "-r",
        f"@{host}",
        "-p",
        port,
        "+tries=1",
        "+time=15",
        "+noall",
        "+comments",
        "+answer",
        "+stats",
    ]

    def ask(*arguments: str) -> Reply:
        done = subprocess.run(
            [*question, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{client.log}"
        assert "malformed" not in done.stdout, done.stdout
        return Reply(done.stdout)

    return ask


def name_of(server: Server, field: str = "http_by_name") -> str:
    return str(urlsplit(server.need(field)).hostname)


@pytest.mark.parametrize(("by", "transport"), [("+notcp", "UDP"), ("+tcp", "TCP")])
def test_a_name_of_the_network_has_its_address(dig: Dig, server: Server, by: str, transport: str) -> None:
    name = name_of(server)
    reply = dig(by, name, "A")
    assert (reply.status, reply.by) == ("NOERROR", transport)
    assert (f"{name}.", "A", name_of(server, "http")) in reply.records


def test_a_name_that_has_only_an_ipv6_address(dig: Dig, server: Server) -> None:
    name = name_of(server, "http6_by_name")
    assert (f"{name}.", "AAAA", name_of(server, "http6")) in dig(name, "AAAA").records
    empty = dig(name, "A")
    assert (empty.status, empty.records) == ("NOERROR", [])


@pytest.mark.parametrize("by", ["+notcp", "+tcp"])
def test_a_name_that_nobody_knows_does_not_exist(dig: Dig, server: Server, by: str) -> None:
    reply = dig(by, server.need("unknown_name"), "A")
    assert (reply.status, reply.records) == ("NXDOMAIN", [])


def test_a_long_answer_comes_by_udp_with_edns(dig: Dig, server: Server) -> None:
    reply = dig("+edns=0", "+bufsize=4096", server.need("long_name"), "TXT")
    assert (reply.by, "tc" in reply.flags) == ("UDP", False)
    assert len(reply.records[0][2]) > 512


def test_a_long_answer_without_edns_is_marked_and_left_out(dig: Dig, server: Server) -> None:
    reply = dig("+noedns", "+ignore", server.need("long_name"), "TXT")
    assert (reply.by, "tc" in reply.flags, reply.records) == ("UDP", True, [])


def test_a_long_answer_without_edns_is_fetched_by_tcp(dig: Dig, server: Server) -> None:
    reply = dig("+noedns", server.need("long_name"), "TXT")
    assert (reply.by, "tc" in reply.flags) == ("TCP", False)
    assert len(reply.records[0][2]) > 512


def test_an_address_of_the_network_has_its_name(dig: Dig, server: Server) -> None:
    address, _, name = server.need("reverse").partition("=")
    assert [data for _, kind, data in dig("-x", address).records if kind == "PTR"] == [f"{name}."]


def test_a_name_without_a_dot_is_found_in_the_search_domain(dig: Dig, client: Client, server: Server) -> None:
    short, name = name_of(server, "single_label"), name_of(server)
    client.wait_told("search")
    reply = dig(short, "A")
    assert (f"{short}.", "CNAME", f"{name}.") in reply.records
    assert (f"{name}.", "A", name_of(server, "http")) in reply.records


def test_a_name_of_ones_own_is_answered_in_both_directions(dig: Dig) -> None:
    assert dig("nas", "A").records == [("nas.", "A", "10.9.9.9")]
    assert [data for _, _, data in dig("-x", "10.9.9.9").records] == ["nas."]


def test_what_needs_no_server_reaches_none(dig: Dig) -> None:
    assert dig("localhost", "A").records == [("localhost.", "A", "127.0.0.1")]
    assert dig("some.onion", "A").status == "NXDOMAIN"
