"""SIGHUP as its user meets it: the file changes, the connections stay."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import PAGE
from tests.e2e.test_two_tunnels import Running, two_tunnels
from tests.helpers.socks_client import SocksClient

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")


async def hang_up(running: Running, says: str) -> None:
    """Ask for a reload, and wait until the log says what came of it."""
    running.process.send_signal(signal.Signals["SIGHUP"])
    with trio.fail_after(20):
        while says not in running.log:  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.05)


async def test_a_new_rule_holds_and_what_was_open_goes_on(tmp_path: Path) -> None:
    before, after = ["two.intranet.demo -> two"], ["two.intranet.demo -> two", "www.intranet.demo -> refuse"]
    config = tmp_path / "config.toml"
    async with two_tunnels(tmp_path, rules=before) as running:
        reply, page = await running.page("www.intranet.demo")
        assert (reply, PAGE in page) == (0, True)
        async with await SocksClient.open(running.port) as client:
            assert await client.connect("www.intranet.demo", 7) == 0
            await client.send(b"before")
            assert await client.read(6) == b"before"

            config.write_text(config.read_text().replace(json.dumps(before), json.dumps(after)))
            await hang_up(running, "configuration loaded again: rules")
            assert await running.page("www.intranet.demo") == (2, b"")
            await client.send(b"after")
            assert await client.read(5) == b"after"

            good = config.read_text()
            config.write_text(good.replace("-> refuse", "-> nowhere"))
            await hang_up(running, "the configuration was not loaded again and the old one holds: ")
            assert f"{config}, line 8: rule" in running.log
            assert await running.page("www.intranet.demo") == (2, b"")
            config.write_text(good.replace('"alice"', '"bob"'))
            await hang_up(running, "needs a restart: user")
            await client.send(b"still")
            assert await client.read(5) == b"still"
        running.process.terminate()
        assert await running.process.wait() == 0


async def test_the_first_rule_of_an_only_tunnel_needs_no_restart(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    async with two_tunnels(tmp_path, rules=[], options=("--profile", "one")) as running:
        reply, page = await running.page("www.intranet.demo")
        assert (reply, PAGE in page) == (0, True)
        config.write_text(config.read_text().replace("rule = []", 'rule = ["www.intranet.demo -> refuse"]'))
        await hang_up(running, "configuration loaded again: rules")
        assert "restart" not in running.log
        assert await running.page("www.intranet.demo") == (2, b"")
        reply, page = await running.page("intranet.demo")
        assert (reply, PAGE in page) == (0, True)
