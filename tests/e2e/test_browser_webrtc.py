"""A page that gathers ICE candidates in the browser of ``sstpsocks browser``: WebRTC is how proxies are seen through.

The page asks for candidates with a STUN server outside of the tunnel, at an address of this machine. Chromium would
hide its addresses behind names of mDNS from such a page; that is switched off here, so that only ours hides them.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
import trio.testing

from tests.e2e.test_browser_command import CHROMIUM, HEADLESS, browse, environment

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.timeout(100),
]

# Images that are not found keep the page from being loaded, and so the browser from printing it, until the end.
PAGE = """<!DOCTYPE html><p id=found>nothing yet</p><script>
const candidates = [];
const connection = new RTCPeerConnection({iceServers: [{urls: 'stun:SERVER'}]});
connection.onicecandidate = event => { if (event.candidate) candidates.push(event.candidate.candidate); };
connection.createDataChannel('any');
connection.createOffer().then(offer => connection.setLocalDescription(offer));
const begin = Date.now();
const look = () => {
    const state = connection.iceGatheringState, passed = Date.now() - begin;
    document.getElementById('found').textContent = state + ' ' + JSON.stringify(candidates);
    if (state != 'complete' && passed < (candidates.length ? 1000 : 12000)) {
        const image = new Image();
        image.onerror = look;
        image.src = 'http://nowhere.demo/?' + Math.random();
    }
};
look();
</script>"""
NO_OTHER_HIDING = "--disable-features=WebRtcHideLocalIpsWithMdns"


class StunServer:
    """A port of this machine that counts what comes, and never answers."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.datagrams = 0

    @property
    def page(self) -> str:
        """The URL of the page that asks it."""
        return "data:text/html," + quote(PAGE.replace("SERVER", f"{self.address}:{self.port}"))


@asynccontextmanager
async def stun_server() -> AsyncIterator[StunServer]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: this only asks which address of this machine would be seen outside.
            await sock.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address that a page could find out")
        address = sock.getsockname()[0]
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind((address, 0))
        server = StunServer(address, sock.getsockname()[1])

        async def count() -> None:
            while True:
                await sock.recv(2048)
                server.datagrams += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            yield server
            nursery.cancel_scope.cancel()


def found_by(page: str) -> tuple[str, list[str]]:
    """Return the state of the gathering and the candidates that the page has written."""
    match = re.search(r'<p id="found">(\w+) (\[.*\])</p>', page)
    assert match is not None, page
    return match[1], json.loads(match[2].replace("&quot;", '"'))


async def test_a_page_finds_no_address_of_this_machine_and_no_datagram_leaves(tmp_path: Path) -> None:
    async with stun_server() as stun:
        code, page, said = await browse(tmp_path, stun.page, NO_OTHER_HIDING)
        assert code == 0, said
        assert found_by(page) == ("complete", [])
        await trio.testing.wait_all_tasks_blocked()
        assert stun.datagrams == 0


async def test_the_same_page_finds_it_in_a_browser_that_is_only_given_a_proxy(tmp_path: Path) -> None:
    """Or the test above would show nothing."""
    async with stun_server() as stun:
        words = [str(CHROMIUM), *HEADLESS, NO_OTHER_HIDING, f"--user-data-dir={tmp_path / 'profile'}"]
        with trio.fail_after(80):
            ended = await trio.run_process(
                [*words, "--proxy-server=socks5://127.0.0.1:9", stun.page],
                env=environment(tmp_path), capture_stdout=True, capture_stderr=True,
            )  # fmt: skip
        _state, candidates = found_by(ended.stdout.decode())
        assert [candidate for candidate in candidates if stun.address in candidate.split()]
        assert stun.datagrams > 0
