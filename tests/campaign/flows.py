"""Streams that run across a fault and compare every octet: echoes, downloads, uploads, and one that just stays open."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign.content import BLOCK, Stream
from tests.interop.client import socks_connect

PATIENCE = 300.0
"""Longer than any fault lasts: a stream that is stuck that long is lost."""


class WrongOctets(Exception):
    """What came is not what was sent."""


@dataclass
class Progress:
    """How far a stream got."""

    octets: int = 0
    longest_gap: float = 0.0
    last: float = 0.0

    def count(self, octets: int) -> None:
        """More has been compared."""
        now = time.monotonic()
        if self.last:
            self.longest_gap = max(self.longest_gap, now - self.last)
        self.last = now
        self.octets += octets


class Flow:
    """One stream in a thread of its own, from open() to finish()."""

    kind = "flow"

    def __init__(self, port: tuple[str, int], target: tuple[str, int], seed: int, rate: float) -> None:
        self.seed = seed
        self.progress = Progress()
        self.lost = ""
        """How it was lost; empty while it was not."""
        self.wrong = ""
        self.rate = rate
        """Octets a second."""
        self.ending = threading.Event()
        self.stream, reply = socks_connect(port, *target, 30.0)
        if reply:
            self.stream.close()
            raise ConnectionError(f"SOCKS reply {reply}")
        self.stream.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 60.0) -> bool:
        """End it in order and return whether it survived with every octet in its place."""
        self.ending.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.lost = self.lost or f"stuck after {self.progress.octets} octets"
            self.stream.close()
        return not self.lost and not self.wrong

    def _run(self) -> None:
        try:
            self.transfer()
        except WrongOctets as error:
            self.wrong = f"{self.kind}: {error}"
        except TimeoutError:
            self.lost = f"stuck for {PATIENCE:.0f} s"
        except ConnectionResetError:
            self.lost = f"reset after {self.progress.octets} octets"
        except OSError as error:
            self.lost = f"{error} after {self.progress.octets} octets"
        finally:
            self.stream.close()

    def transfer(self) -> None:
        """Move octets until ``ending`` is set, then end in order."""
        raise AssertionError

    def pace(self, begin: float, octets: int) -> None:
        """Wait until ``octets`` are due; what was missed during a fault is caught up at the stream's own rate."""
        ahead = octets / self.rate - (time.monotonic() - begin)
        if ahead > 0:
            self.ending.wait(min(ahead, 1.0))

    def expect_end(self) -> None:
        """Nothing but the end may come."""
        if rest := self.stream.recv(BLOCK):
            raise WrongOctets(f"{len(rest)} octets beyond the end")


class Echo(Flow):
    """Sends a block and waits for it to come back."""

    kind = "echo"

    def transfer(self) -> None:
        """Block for block."""
        self.stream.sendall(b"echo\n")
        stream = Stream(self.seed)
        begin = time.monotonic()
        while not self.ending.is_set():
            data = stream.take(BLOCK)
            self.stream.sendall(data)
            self.compare(data)
            self.pace(begin, self.progress.octets)
        self.stream.shutdown(socket.SHUT_WR)
        self.expect_end()

    def compare(self, data: bytes) -> None:
        """Read as much as this and compare."""
        received = b""
        while len(received) < len(data):
            more = self.stream.recv(len(data) - len(received))
            if not more:
                raise ConnectionError("ended")
            received += more
        if received != data:
            raise WrongOctets(f"after {self.progress.octets} octets")
        self.progress.count(len(data))


class Held(Echo):
    """Says nothing until the end, as a shell that nobody types into."""

    kind = "held"

    def transfer(self) -> None:
        """One block in the beginning and one at the end."""
        self.stream.sendall(b"echo\n")
        stream = Stream(self.seed)
        for last in (False, True):
            data = stream.take(1000)
            self.stream.sendall(data)
            self.compare(data)
            if not last:
                self.ending.wait()
        self.stream.shutdown(socket.SHUT_WR)
        self.expect_end()


class Download(Flow):
    """Takes a stream of the far side."""

    kind = "download"
    UNLIMITED = 1 << 40

    def transfer(self) -> None:
        """To be cut off by ourselves at the end, when at least a block more has come."""
        self.stream.sendall(f"give {self.seed} {self.UNLIMITED} {self.rate:.0f}\n".encode())
        stream = Stream(self.seed)
        more_than = None
        while more_than is None or self.progress.octets <= more_than:
            data = self.stream.recv(65536)
            if not data:
                raise ConnectionError("ended")
            if data != stream.take(len(data)):
                raise WrongOctets(f"after {self.progress.octets} octets")
            self.progress.count(len(data))
            if more_than is None and self.ending.is_set():
                more_than = self.progress.octets + BLOCK


class Upload(Flow):
    """Gives a stream to the far side, which compares."""

    kind = "upload"

    def transfer(self) -> None:
        """Until the end; the answer tells how much was right."""
        self.stream.sendall(f"take {self.seed}\n".encode())
        stream = Stream(self.seed)
        begin = time.monotonic()
        while not self.ending.is_set():
            self.stream.sendall(stream.take(BLOCK))
            self.progress.count(BLOCK)
            self.pace(begin, self.progress.octets)
        self.stream.shutdown(socket.SHUT_WR)
        answer = b""
        while more := self.stream.recv(100):
            answer += more
        if not answer:
            raise ConnectionError("ended without an answer")
        if answer != b"%d\n" % stream.position:
            raise WrongOctets(f"the far side says {answer!r} of {stream.position} octets")


KINDS: tuple[Callable[..., Flow], ...] = (Echo, Download, Upload, Held)


def wrong_at_far_side(port: tuple[str, int], target: tuple[str, int]) -> int:
    """Return how many connections brought wrong octets to the far side, also such as were reset later."""
    stream, reply = socks_connect(port, *target, 30.0)
    with stream:
        assert reply == 0
        stream.sendall(b"wrong\n")
        return int(stream.recv(20))
