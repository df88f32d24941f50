"""Chromium without a window, driven by the DevTools protocol over its pipe: no package and no port is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    # Its sandbox is a matter of the machine: root and many containers have none.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
PATIENCE = 30.0


def find_chromium() -> str:
    """Return its path."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found is not None, "no Chromium is installed"
    return found


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def do(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._browser.do(method, self._session, **parameters)

    async def go(self, url: str) -> None:
        answer = await self.do("Page.navigate", url=url)
        assert not answer.get("errorText"), answer

    async def run(self, script: str) -> Any:
        """The value of an expression, awaited when it is a promise."""
        answer = await self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 20) -> Any:
        """Wait until an expression is something, and return it."""
        value = None
        with trio.move_on_after(seconds):
            while not value:
                try:
                    value = await self.run(script)
                except AssertionError:
                    pass  # the page is being loaded
                await trio.sleep(0.1)
        assert value, f"{script} did not come true; the page says: {await self.run('document.body.innerText')}"
        return value

    async def look(self, *, scheme: str = "light", width: int = 1180, height: int = 900, scale: float = 1) -> None:
        """Have a window of this size, and this color scheme."""
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.do("Emulation.setEmulatedMedia", features=media)
        await self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )

    async def picture(self, path: Path) -> None:
        """Write what is seen to a PNG file."""
        answer = await self.do("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))

    async def key(self, key: str, code: int) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            await self.do("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)


class Browser:
    """A running browser."""

    def __init__(self, to_browser: trio.abc.SendStream, from_browser: trio.abc.ReceiveStream) -> None:
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._answered = trio.lowlevel.ParkingLot()
        self.complaints: list[str] = []
        """What the console would show in red: errors of scripts, and what a policy forbade."""

    async def read(self) -> None:
        """Take what it says, until it ends."""
        rest = b""
        async for data in self._from:
            *messages, rest = (rest + data).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers[message["id"]] = message
                    self._answered.unpark_all()
                elif message.get("method") == "Runtime.exceptionThrown":
                    self.complaints.append(str(message["params"]["exceptionDetails"]))
                elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                    self.complaints.append(message["params"]["entry"]["text"])

    async def do(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        await self._to.send_all(json.dumps(message).encode() + b"\0")
        with trio.fail_after(PATIENCE):
            while number not in self._answers:
                await self._answered.park()
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self) -> Page:
        """Open an empty page."""
        target = await self.do("Target.createTarget", url="about:blank")
        attached = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            await page.do(f"{domain}.enable")
        return page


async def start(command: list[str]) -> tuple[trio.Process, trio.abc.SendStream, trio.abc.ReceiveStream]:
    """Start it with a pipe to it at 3 and one from it at 4."""
    if sys.platform != "win32":
        import fcntl

        for_browser, to_browser = os.pipe()
        from_browser, by_browser = os.pipe()
        # Neither of its ends may be 3 or 4 when they are put there.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (for_browser, by_browser)]
        os.close(for_browser)
        os.close(by_browser)
        process = await trio.lowlevel.open_process(
            ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", *command],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in theirs:
            os.close(end)
        return process, trio.lowlevel.FdStream(to_browser), trio.lowlevel.FdStream(from_browser)
    raise OSError("there are no such pipes here")


@asynccontextmanager
async def chromium(profile: Path, *options: str) -> AsyncIterator[Browser]:
    """A browser with an empty profile in that folder."""
    command = [find_chromium(), *OPTIONS, f"--user-data-dir={profile}", *options]
    process, sending, receiving = await start(command)
    async with sending, receiving:
        browser = Browser(sending, receiving)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(browser.read)
                yield browser
                nursery.cancel_scope.cancel()
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
