"""``sstpsocks ping`` and ``sstpsocks resolve`` as their users run them, against the demo's server."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.test_command import PASSWORD, Site, run, site


def flags(server: Site, command: str, *question: str) -> list[str]:
    where = f"sstp://alice@127.0.0.1:{server.port}"
    return [command, *question, where, "--ca-file", str(server.folder / "ca.pem"), "--server-name", "vpn.test"]


async def test_ping_counts_the_replies(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        plain = await run([*flags(server, "ping", "www.intranet.demo"), "-c", "2", "--interval", "0.01"])
        as_json = await run([*flags(server, "ping", "10.99.0.1"), "--json", "-c", "1"])
    assert plain.returncode == 0, plain.stderr
    lines = plain.stdout.decode().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("reply from 10.99.0.")
    assert "2 sent, 2 received" in lines[2]
    assert PASSWORD.encode() not in plain.stdout + plain.stderr
    answer = json.loads(as_json.stdout)
    assert (answer["address"], answer["sent"], answer["received"], len(answer["milliseconds"])) == (
        "10.99.0.1",
        1,
        1,
        1,
    )


async def test_no_reply_and_no_such_name_are_exit_code_1(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        silent = await run([*flags(server, "ping", "10.99.0.200"), "-c", "1", "--wait", "0.2", "--json"])
        nobody = await run(flags(server, "ping", "nobody.elsewhere.test"))
        unknown = await run([*flags(server, "resolve", "nobody.elsewhere.test"), "--json"])
    assert (silent.returncode, nobody.returncode, unknown.returncode) == (1, 1, 1)
    assert json.loads(silent.stdout)["received"] == 0
    assert b"nobody.elsewhere.test" in nobody.stdout
    assert json.loads(unknown.stdout)["addresses"] == []


async def test_resolve_prints_the_addresses(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        plain = await run(flags(server, "resolve", "www.intranet.demo", "A"))
        other = await run(flags(server, "resolve", "www.intranet.demo", "AAAA"))
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.decode().strip().startswith("10.99.0.")
    assert other.returncode == 1
    assert b"no AAAA record" in other.stdout


async def test_usage_errors_are_one_line(tmp_path: Path) -> None:
    result = await run(["ping", "h", "--count", "0"])
    assert result.returncode == 2
    assert b"--count: 0 is not from 1" in result.stderr


async def test_resolve_names_an_address_and_says_what_is_missing(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        named = await run([*flags(server, "resolve", "10.99.0.77"), "--host", "printer.intranet.demo=10.99.0.77"])
        mail = await run([*flags(server, "resolve", "intranet.demo", "mx"), "--json"])
    assert named.returncode == 0, named.stderr
    assert named.stdout == b"printer.intranet.demo.\n"
    assert mail.returncode == 1
    assert json.loads(mail.stdout)["records"] == []
