"""``--dns-listen`` as its users meet it: dig asks the command, which asks the network behind the demo's server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.e2e.test_command import ROOT, environment, site

Dig = Callable[..., Awaitable[list[str]]]

OPTIONS = (
    *("--dns-listen", "0", "--search-domain", "intranet.demo"),
    *("--host", "nas.test=10.0.0.9", "--dns-server", "ads.test=refuse"),
)


@pytest.fixture
async def dig(tmp_path: Path) -> AsyncIterator[Dig]:
    program = shutil.which("dig")
    if program is None:
        pytest.skip("dig is not installed (Debian's bind9-dnsutils)")
    ready = tmp_path / "ready.json"
    async with site(tmp_path) as server:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "sstpsocks", *server.flags, *OPTIONS],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with trio.fail_after(30):
                while not ready.exists():
                    assert process.poll() is None
                    await trio.sleep(0.02)
            port = json.loads(ready.read_text())["dns_listen"][0].rpartition(":")[2]

            async def ask(*arguments: str) -> list[str]:
                with trio.fail_after(20):
                    result = await trio.run_process(
                        [program, "@127.0.0.1", "-p", port, "+time=4", "+tries=1", *arguments], capture_stdout=True
                    )
                return [line for line in result.stdout.decode().splitlines() if line]

            yield ask
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                assert await process.wait() == 0


async def test_dig_is_answered_by_udp_tcp_and_edns(dig: Dig) -> None:
    for how in ("+notcp", "+tcp", "+edns=0", "+noedns", "+ignore", "+dnssec"):
        assert await dig(how, "+short", "www.intranet.demo") == ["10.99.0.1"], how
    assert await dig("+short", "AAAA", "v6.intranet.demo") == ["fd53:5354:5000::1"]


async def test_dig_finds_hosts_search_domains_and_reverse_names(dig: Dig) -> None:
    assert await dig("+short", "nas.test") == ["10.0.0.9"]
    assert await dig("+short", "-x", "10.0.0.9") == ["nas.test."]
    assert await dig("+short", "www") == ["www.intranet.demo.", "10.99.0.1"]
    assert await dig("+short", "-x", "127.0.0.1") == ["localhost."]


async def test_dig_is_told_what_is_refused_and_what_does_not_exist(dig: Dig) -> None:
    assert any("status: REFUSED" in line for line in await dig("x.ads.test"))
    assert any("status: NXDOMAIN" in line for line in await dig("nx.intranet.demo"))
