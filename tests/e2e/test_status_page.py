"""The status page in a real browser: what it shows, that it goes on, who can use it, and how it looks.

With SSTPSOCKS_TEST_STATUS=1 alone it is tried, with SSTPSOCKS_SCREENSHOTS=docs/images, too, the pictures in the
documentation are made anew.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from sstpsocks.app.status.snapshot import NameView, TunnelView, to_json
from tests.e2e.test_two_tunnels import Running, two_tunnels
from tests.helpers.chromium import Browser, Page, chromium
from tests.helpers.socks_client import SocksClient
from tests.unit.app.status.sample import FLOW, TUNNEL, snapshot_of

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.skipif("SSTPSOCKS_TEST_STATUS" not in os.environ, reason="SSTPSOCKS_TEST_STATUS asks for no browser"),
]

RULES = ["two.intranet.demo -> two"]
ECHO = 7
DESKTOP, PHONE = (1180, 720), (390, 844)


@asynccontextmanager
async def shown(folder: Path) -> AsyncIterator[tuple[Running, Page, Browser]]:
    """Two tunnels, something to see in them, and the page."""
    (folder / "run").mkdir()
    async with (
        chromium(folder / "profile") as browser,
        two_tunnels(folder / "run", rules=RULES, options=("--status", "0"), more='reconnect = "auto"\n') as running,
        trio.open_nursery() as nursery,
    ):
        page = await browser.open()
        await page.look(width=DESKTOP[0], height=DESKTOP[1])
        await page.go(url_of(running))
        await page.until("document.querySelectorAll('#tunnels > section .pill.good').length === 2")
        yield running, page, browser
        nursery.cancel_scope.cancel()


def url_of(running: Running) -> str:
    listen = running.ready["status_listen"]
    assert isinstance(listen, list)
    return f"http://{listen[0]}/"


async def keep_busy(running: Running, host: str, *, pause: float = 0.02, size: int = 4096) -> None:
    """Echo something, again and again."""
    async with await SocksClient.open(running.port) as client:
        assert await client.connect(host, ECHO) == 0
        while True:
            await client.send(bytes(size))
            await client.read(size)
            await trio.sleep(pause)


def field(tunnel: str, name: str) -> str:
    """The text of one field of a tunnel, as an expression."""
    section = f"document.querySelector('#tunnels > [aria-label=\"Tunnel {tunnel}\"]')"
    return f"{section}.querySelector('[data-f={name}]').textContent"


async def test_it_shows_the_tunnels_and_goes_on_while_traffic_flows(tmp_path: Path) -> None:
    async with shown(tmp_path) as (running, page, browser), trio.open_nursery() as nursery:
        assert await page.run(field("one", "state")) == "up"
        assert await page.run("document.title") == "up – sstpsocks"
        await page.until(f"{field('one', 'flowCaption')} === 'None at the moment'")
        nursery.start_soon(keep_busy, running, "www.intranet.demo")
        await page.until(f"{field('one', 'flowRows')}.includes('www.intranet.demo · 10.99.0.1:7')")
        await page.until(f"{field('one', 'receive')}.includes('kB/s')")
        before = await page.run(field("one", "received"))
        await page.until(f"{field('one', 'received')} !== {json.dumps(before)}")
        await page.until(f"{field('one', 'dnsSummary')}.startsWith('DNS cache: 1 of')")
        assert "0 B/s" in await page.run(field("two", "receive")), "the other tunnel has nothing of it"
        assert await page.run(f"{field('one', 'facts')}.includes('TLSv1.3')")
        charts = "document.querySelectorAll('svg[data-f=rates] path.receive').length"
        assert await page.until(charts) == 2
        nursery.cancel_scope.cancel()
        assert browser.complaints == []


async def test_it_survives_a_reconnect_of_the_tunnel(tmp_path: Path) -> None:
    async with shown(tmp_path) as (running, page, browser):
        await running.two.stop()
        await page.until(f"{field('two', 'state')} === 'reconnecting'")
        assert await page.run("document.getElementById('overall').innerText") == "1 of 2 down"
        assert await page.run("document.getElementById('spoken').textContent") == "Tunnel two: reconnecting"
        assert await page.run(field("one", "state")) == "up"
        async with trio.open_nursery() as nursery:
            await running.two.start(nursery)
            await page.until(f"{field('two', 'state')} === 'up'")
            await page.until("document.getElementById('overall').innerText === 'up'")
            events = await page.run("document.getElementById('events').innerText")
            assert "two: tunnel to" in events
            nursery.cancel_scope.cancel()
        assert browser.complaints == []


async def test_it_says_when_the_program_is_gone(tmp_path: Path) -> None:
    async with shown(tmp_path) as (running, page, _browser):
        assert await page.run("document.getElementById('lost').hidden")
        running.process.terminate()
        await page.until("!document.getElementById('lost').hidden")
        assert await page.run(field("one", "state")) == "up", "the last figures stay"


async def test_a_keyboard_is_enough(tmp_path: Path) -> None:
    async with shown(tmp_path) as (running, page, _browser), trio.open_nursery() as nursery:
        nursery.start_soon(keep_busy, running, "www.intranet.demo")
        await page.until(f"{field('one', 'flowRows')}.includes('10.99.0.1')")
        reached: list[str] = []
        for _ in range(30):
            await page.key("Tab", 9)
            what = await page.run("document.activeElement.ariaLabel || document.activeElement.innerText")
            reached.append(str(what))
            if what == "Pause":
                await page.key("Enter", 13)
                assert await page.run("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
                await page.key("Enter", 13)
            if what == "Received":
                await page.key("Enter", 13)
                order = "document.activeElement.parentElement.getAttribute('aria-sort')"
                assert await page.run(order) == "descending"
                await page.key("Enter", 13)
                assert await page.run(order) == "ascending"
                break
        assert reached[:2] == ["Skip to the tunnels", "Pause"]
        assert "Connections of one" in reached, "what scrolls can be reached"
        assert reached[-1] == "Received"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("scheme", "width", "height"), [("light", *DESKTOP), ("dark", *DESKTOP), ("dark", *PHONE)])
async def test_it_is_accessible_and_fits(tmp_path: Path, scheme: str, width: int, height: int) -> None:
    found = importlib.util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core-python is not installed")
    axe = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    async with shown(tmp_path) as (running, page, _browser), trio.open_nursery() as nursery:
        nursery.start_soon(keep_busy, running, "www.intranet.demo")
        nursery.start_soon(keep_busy, running, "two.intranet.demo")
        await page.look(scheme=scheme, width=width, height=height)
        await page.until(f"{field('one', 'flowRows')}.includes('10.99.0.1')")
        await page.until(f"{field('two', 'flowRows')}.includes('10.99.0.1')")
        await page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert await page.run("document.documentElement.scrollWidth") <= width, "nothing sticks out"
        await page.run(axe)
        result: dict[str, Any] = await page.run("axe.run(document)")
        assert len(result["passes"]) > 20
        assert [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"]])
            for one in result["violations"]
            if one["impact"] in ("serious", "critical")
        ] == []
        nursery.cancel_scope.cancel()


async def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    """The page fed with a document whose every text is an attack."""
    attack = '"><img src=x onerror="document.title=1"><script>document.title=2</script>\u202e'
    document = json.dumps(to_json(snapshot_of(hostile_tunnel(attack))))
    async with shown(tmp_path) as (_running, page, browser):
        await page.run(f"take({document}, true)")
        name = await page.run("[...document.querySelectorAll('h2')].map((one) => one.textContent).join()")
        assert attack.replace("\u202e", "\ufffd") in name, "shown as it is, but for what turns text round"
        assert await page.run("document.querySelectorAll('img, main script').length") == 0
        assert "sstpsocks" in await page.run("document.title")
        assert "\u202e" not in await page.run("document.documentElement.outerHTML")
        assert browser.complaints == []


def hostile_tunnel(attack: str) -> TunnelView:
    flow = replace(FLOW, peer=attack, name=attack, state=attack)
    names = (NameView(name=attack, kind=attack, addresses=(attack,), left=1.0),)
    return replace(
        TUNNEL,
        name=attack,
        server=attack,
        state=attack,
        text=attack,
        search=(attack,),
        last_error=attack,
        losses={attack: 1},
        flows=(flow,),
        flow_states={attack: 1},
        dns=replace(TUNNEL.dns, names=names),
    )


async def in_waves(running: Running, host: str, size: int) -> None:
    """Echo something, now more and now less."""
    async with await SocksClient.open(running.port) as client:
        assert await client.connect(host, ECHO) == 0
        while True:
            count = size * (1 + int(trio.current_time() / 3) * 7 % 5)
            await client.send(bytes(count))
            await client.read(count)
            await trio.sleep(0.03)


@pytest.mark.skipif("SSTPSOCKS_SCREENSHOTS" not in os.environ, reason="SSTPSOCKS_SCREENSHOTS names no folder")
async def test_pictures_for_the_documentation(tmp_path: Path) -> None:
    folder = Path(os.environ["SSTPSOCKS_SCREENSHOTS"])
    async with shown(tmp_path) as (running, page, _browser), trio.open_nursery() as nursery:
        for host, size in (("git.intranet.demo", 9000), ("wiki.intranet.demo", 2500), ("two.intranet.demo", 700)):
            nursery.start_soon(in_waves, running, host, size)
        await page.until(f"{field('two', 'flowRows')}.includes('10.99.0.1')")
        await trio.sleep(50)
        for name, scheme, (width, height) in (
            ("light", "light", DESKTOP),
            ("dark", "dark", DESKTOP),
            ("phone", "light", PHONE),
        ):
            await page.look(scheme=scheme, width=width, height=height)
            await trio.sleep(0.5)
            await page.picture(folder / f"status-{name}.png")
        nursery.cancel_scope.cancel()
