"""``sstpsocks check`` as its users run it, against the demo's server."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.e2e.test_command import PASSWORD, Site, run, site


def flags(server: Site, *more: str, user: str = "") -> list[str]:
    where = f"sstp://{user}127.0.0.1:{server.port}"
    return ["check", where, "--ca-file", str(server.folder / "ca.pem"), "--server-name", "vpn.test", *more]


def steps_of(output: bytes) -> dict[str, Any]:
    return {step["name"]: step for step in json.loads(output)["steps"]}


async def test_without_a_user_it_stops_politely_at_the_log_in(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(flags(server, "--json"))
    assert result.returncode == 0, result.stdout
    steps = steps_of(result.stdout)
    assert list(steps) == ["resolve", "TCP", "TLS", "certificate", "HTTP", "SSTP and PPP", "authentication"]
    assert steps["resolve"]["facts"] == {"addresses": ["127.0.0.1"]}
    assert steps["TCP"]["facts"]["127.0.0.1"].startswith("connected in ")
    tls = steps["TLS"]["facts"]
    assert tls["version"] == "TLSv1.3"
    assert "verified for vpn.test" in steps["certificate"]["facts"]["verdict"]
    assert any("names: vpn.test" in line for line in tls["chain"])
    assert tls["pin"].startswith("sha256//")
    assert tls["rule: authorities"].startswith("accepts")
    assert tls["rule: name"] == "accepts as vpn.test"
    offers = steps["SSTP and PPP"]["facts"]
    assert offers["hashes"] == "0x03 (SHA256, SHA1)"
    assert offers["authentication, in the order asked for"] == ["mschapv2"]
    assert steps["authentication"]["verdict"] == "skipped"


async def test_with_a_user_it_logs_in_and_says_what_the_network_gave_but_not_who(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(flags(server, "--json", user="alice@"))
    assert result.returncode == 0, result.stdout
    steps = steps_of(result.stdout)
    assert "mschapv2 succeeded" in steps["authentication"]["facts"]["authentication"]
    network = steps["network"]["facts"]
    assert network["addresses"]
    assert network["MTU"] == 1400
    assert network["MTU that passes"] == "1400, all that is asked for (to 10.99.0.1 and back)"
    assert network["round trip to the name server"].endswith(" ms")
    assert network["crypto binding"].startswith("accepted")
    assert PASSWORD.encode() not in result.stdout + result.stderr
    assert b"alice" not in result.stdout


async def test_throughput_is_measured_on_request_with_a_url_of_the_users(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        url = "http://files.intranet.demo/download"
        result = await run(flags(server, "--json", "--throughput", url, "--probe", "www.intranet.demo", user="alice@"))
        without = await run(flags(server, "--throughput", user="alice@"))
    assert result.returncode == 0, result.stdout
    facts = steps_of(result.stdout)["network"]["facts"]
    assert " MB/s (16.8 MB in " in facts["download"]
    assert facts["MTU that passes"].startswith("1400")
    assert without.returncode == 2
    assert b"--throughput: no URL was named" in without.stderr


async def test_a_certificate_that_is_refused_is_still_described(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(["check", f"127.0.0.1:{server.port}", "--server-name", "other.test", "--json"])
    assert result.returncode == 4
    steps = steps_of(result.stdout)
    assert list(steps)[-1] == "certificate"
    assert steps["TLS"]["facts"]["rule: name"] == "certificate is not for other.test; it names vpn.test"
    assert "authority that is not trusted" in steps["TLS"]["facts"]["rule: authorities"]
    assert "--pin-sha256 sha256//" in steps["certificate"]["hint"]


async def test_a_refused_password_ends_it_with_the_exit_code_of_connect(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        result = await run(flags(server, user="alice@"), SSTPSOCKS_PASSWORD="not this one")
    assert result.returncode == 5
    assert b"authentication  FAILED" in result.stdout
    assert b"not this one" not in result.stdout + result.stderr


async def test_a_server_that_is_not_there_has_the_exit_code_of_connect() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        result = await run(["check", f"127.0.0.1:{reserved.getsockname()[1]}"])
    assert result.returncode == 3
    assert b"TCP             FAILED" in result.stdout
    assert b"refused the connection" in result.stdout


async def test_a_server_named_check_is_reached_by_the_explicit_form() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        there = f"127.0.0.1:{reserved.getsockname()[1]}"
        result = await run(["connect", "check", "--user", "alice", "--connect-to", there, "--listen", "0"])
    assert result.returncode == 3
    assert b"could not reach server check:443" in result.stderr
