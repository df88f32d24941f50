"""Someone who tries, time and again, whether it works: what the port answers while the tunnel is down, and when it is
back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

from tests.interop.client import socks_connect

REPLIES = {
    0: "succeeded",
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "refused",
    6: "TTL expired",
}


@dataclass(frozen=True)
class Attempt:
    """One connection of the prober."""

    begun: float
    ended: float
    said: str
    """ "ok", or what went wrong."""


class Prober:
    """Opens a connection through the port at regular times, has its echo, and closes it."""

    def __init__(self, port: tuple[str, int], target: tuple[str, int], *, interval: float = 0.1) -> None:
        self._port = port
        self._target = target
        self._interval = interval
        self._stopping = threading.Event()
        self.attempts: list[Attempt] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._run, daemon=True)
        self._clock.start()

    def wait_ok(self, since: float, timeout: float) -> float | None:
        """Return the seconds from ``since`` to the end of the first attempt that succeeded after it, None if none."""
        deadline = time.monotonic() + timeout
        while True:
            ends = [attempt.ended for attempt in self.attempts if attempt.said == "ok" and attempt.ended >= since]
            if ends:
                return min(ends) - since
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)

    def stop(self) -> None:
        """End, with everything that is still open."""
        self._stopping.set()
        self._clock.join()
        for stream in list(self._open):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(35)

    def said(self, since: float, until: float) -> str:
        """Return in words what attempts met that began between these times."""
        attempts = [attempt for attempt in self.attempts if since <= attempt.begun < until]
        words = []
        for what, count in Counter(attempt.said for attempt in attempts).most_common():
            longest = max(attempt.ended - attempt.begun for attempt in attempts if attempt.said == what)
            words.append(f"{what} x{count} (at most {longest:.2f} s)")
        return ", ".join(words) or "nothing"

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) < 200:
                thread = threading.Thread(target=self._try, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _try(self) -> None:
        begun = time.monotonic()
        said = self._attempt()
        if not self._stopping.is_set():
            self.attempts.append(Attempt(begun, time.monotonic(), said))

    def _attempt(self) -> str:
        try:
            stream, reply = socks_connect(self._port, *self._target, 30.0)
        except TimeoutError:
            return "no SOCKS reply in 30 s"
        except AssertionError:
            return "closed without a SOCKS reply"
        except OSError as error:
            return f"local port: {error.strerror}"
        self._open.add(stream)
        try:
            if reply:
                return f'SOCKS reply {reply} "{REPLIES.get(reply, "?")}"'
            stream.sendall(b"echo\nhello")
            received = b""
            while len(received) < 5:
                more = stream.recv(5 - len(received))
                if not more:
                    return "ended before the answer"
                received += more
            return "ok" if received == b"hello" else "wrong octets"
        except ConnectionResetError:
            return "reset before the answer"
        except OSError as error:
            return f"no answer: {error}"
        finally:
            self._open.discard(stream)
            stream.close()
