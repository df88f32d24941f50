"""The soak: hours of mixed load through one client, every octet compared, memory watched.

Programs of all kinds at once: bulk both ways, many short connections, names, datagrams, connections that are only held,
readers that are too slow, and a loss of the tunnel now and then. Each kind has a thread that works until the end, and
counts. Memory, tasks and descriptors are sampled every few seconds; after the first part, which is warm-up, they must
stay as they are.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import statistics
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.campaign import census
from tests.campaign.bench import Bench
from tests.campaign.content import Stream
from tests.campaign.flows import Download, Echo, Flow, Held, Upload
from tests.campaign.labs import Sstpd, missing
from tests.interop.client import socks_connect

WARM_UP = 0.3
"""Part of the time in which memory may still grow."""
FLAT = 0.05
"""Part by which it may be larger in the end."""
SAMPLE_EVERY = 5.0
RESET_EVERY = 60.0
"""Seconds between two losses of the tunnel."""
BACK_WITHIN = 5.0
"""Seconds after a loss within which programs may fail: three that the way back may take, and their own try."""
LATE = 30.0
"""Seconds after which a program gives up on a single step."""


class Load:
    """What all programs share."""

    def __init__(self, bench: Bench, seed: int, rate: float) -> None:
        self.bench = bench
        self.rate = rate
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self.disturbed: Counter[str] = Counter()
        """What was ended by a loss of the tunnel, or refused while it was down."""
        self.wrong: list[str] = []
        self.ending = threading.Event()
        self.last_reset = 0.0
        self._lock = threading.Lock()

    def work(self, name: str, job: Callable[[], int], pause: float) -> None:
        """Do something again and again; runs in a thread of its own."""
        while not self.ending.is_set():
            begin = time.monotonic()
            try:
                octets = job()
            except (OSError, AssertionError) as error:
                now = time.monotonic()
                with self._lock:
                    if begin - BACK_WITHIN <= self.last_reset <= now:
                        self.disturbed[name] += 1
                    elif not self.ending.is_set():
                        self.wrong.append(f"{name}: {type(error).__name__} {error} without a reset of the tunnel")
            else:
                with self._lock:
                    self.done[name] += 1
                    self.octets[name] += octets
            self.ending.wait(pause / self.rate)

    def connect(self, host: str = "") -> socket.socket:
        """Open a connection through the client."""
        target = (host or self.bench.target[0], self.bench.target[1])
        stream, reply = socks_connect(self.bench.client.socks, *target, LATE)
        stream.settimeout(LATE)
        if reply:
            stream.close()
            raise ConnectionError(f"SOCKS reply {reply}")
        return stream

    # The programs

    def bulk(self, kind: type[Flow], seconds: float) -> int:
        """A transfer at two megabytes a second."""
        number = self.random.randrange(1 << 30)
        flow = kind(self.bench.client.socks, self.bench.target, number, 2_000_000 * self.rate)
        self.ending.wait(seconds)
        if not flow.finish(LATE):
            if flow.wrong:
                self.wrong.append(flow.wrong)
            raise ConnectionError(flow.lost or flow.wrong)
        return flow.progress.octets

    def small(self) -> int:
        """A request and its answer."""
        seed, count = self.random.randrange(1 << 30), self.random.randrange(1, 20_000)
        with self.connect() as stream:
            stream.sendall(f"give {seed} {count} 0\n".encode())
            self.compare(stream, seed, count)
        return count

    def named(self) -> int:
        """The same by a name that only the tunnel's name server knows."""
        with self.connect(f"host{self.random.randrange(500)}.v4only.lab.test") as stream:
            stream.sendall(b"echo\nname")
            stream.shutdown(socket.SHUT_WR)
            self.expect(stream.recv(100) == b"name", "a named host gave something else")
        return 4

    def query(self) -> int:
        """A query to the client's own DNS port."""
        host, _, port = self.bench.client.ready["dns_listen"][0].rpartition(":")
        number = self.random.randrange(1 << 16)
        name = b"".join(bytes([len(part)]) + part for part in (b"q%d" % (number % 300), b"lab", b"test"))
        message = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + name + b"\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as port_socket:
            port_socket.settimeout(LATE)
            port_socket.sendto(message, (host.strip("[]"), int(port)))
            answer = port_socket.recv(2000)
        if answer[3] & 15:
            raise ConnectionError(f"DNS says {answer[3] & 15}")
        self.expect(answer[:2] == message[:2] and answer[6:8] == b"\0\1", "an answer to something else")
        return len(answer)

    def datagrams(self) -> int:
        """Fifty datagrams and their echoes by SOCKS UDP ASSOCIATE; all are small enough to be never lost here."""
        with socket.create_connection(self.bench.client.socks, LATE) as control:
            control.sendall(b"\5\1\0\5\3\0\1\0\0\0\0\0\0")
            answer = b""
            while len(answer) < 12:
                more = control.recv(12 - len(answer))
                if not more:
                    raise ConnectionError("closed")
                answer += more
            if answer[3]:
                raise ConnectionError(f"SOCKS reply {answer[3]}")
            relay = socket.inet_ntoa(answer[6:10]), int.from_bytes(answer[10:12], "big")
            header = b"\0\0\0\1" + socket.inet_aton(self.bench.target[0]) + self.bench.target[1].to_bytes(2, "big")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as programs:
                programs.settimeout(LATE)
                octets = 0
                for number in range(50):
                    data = Stream(number).take(200 + 17 * number)
                    programs.sendto(header + data, relay)
                    self.expect(programs.recv(4000)[10:] == data, "another datagram")
                    octets += len(data)
        return octets

    def held(self) -> int:
        """Ten connections that are opened, left alone, used once more and closed."""
        flows: list[Held] = []
        try:
            for number in range(10):
                flows.append(Held(self.bench.client.socks, self.bench.target, number, 1.0))
            self.ending.wait(20)
        finally:
            ended = [flow.finish(LATE) for flow in flows]
        if not all(ended):
            raise ConnectionError(next(flow.lost or flow.wrong for flow in flows if flow.lost or flow.wrong))
        return sum(flow.progress.octets for flow in flows)

    def slow(self) -> int:
        """A reader that takes a little of a large answer now and then, and then all of it."""
        seed, count = self.random.randrange(1 << 30), 3_000_000
        with self.connect() as stream:
            stream.sendall(f"give {seed} {count} 0\n".encode())
            expected = Stream(seed)
            for _ in range(40):
                if self.ending.wait(0.25 / self.rate):
                    break
                data = stream.recv(1000)
                self.expect(data == expected.take(len(data)), "wrong octets for a slow reader")
            while expected.position < count:
                data = stream.recv(65536)
                if not data:
                    raise ConnectionError("ended early")
                self.expect(data == expected.take(len(data)), "wrong octets for a slow reader")
        return count

    def rude(self) -> int:
        """A program that goes away in the middle of a transfer."""
        with self.connect() as stream:
            stream.sendall(b"give 1 100000000 0\n")
            stream.recv(1 << 16)
            if self.random.random() < 0.5:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return 0

    def reset(self) -> int:
        """The tunnel is lost."""
        self.last_reset = time.monotonic()
        assert self.bench.relay is not None
        self.bench.relay.reset()
        self.ending.wait(5)
        with self.connect() as stream:
            stream.sendall(b"echo\nback")
            self.expect(stream.recv(100) == b"back", "something else after a reset")
        return 0

    def compare(self, stream: socket.socket, seed: int, count: int) -> None:
        """Read this much of this stream."""
        expected = Stream(seed)
        while expected.position < count:
            data = stream.recv(min(65536, count - expected.position))
            if not data:
                raise ConnectionError(f"ended {count - expected.position} octets early")
            self.expect(data == expected.take(len(data)), "wrong octets")

    def expect(self, well: bool, what: str) -> None:
        """Note what must never be."""
        if not well:
            self.wrong.append(what)

    def programs(self) -> list[tuple[str, Callable[[], int], float]]:
        """All of them: name, what it does, and how long it rests in between."""
        return [
            ("download", lambda: self.bulk(Download, 15), 1.0),
            ("upload", lambda: self.bulk(Upload, 15), 1.0),
            ("echo", lambda: self.bulk(Echo, 10), 1.0),
            ("small request", self.small, 0.02),
            ("small request", self.small, 0.05),
            ("by name", self.named, 0.1),
            ("DNS query", self.query, 0.05),
            ("datagrams", self.datagrams, 0.5),
            ("held connections", self.held, 1.0),
            ("slow reader", self.slow, 1.0),
            ("rude program", self.rude, 1.0),
        ]


class Samples:
    """Memory, tasks and descriptors over time."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, census.Census]] = []

    def judge(self, begin: float, end: float) -> tuple[list[str], dict[str, object]]:
        """Return what is not flat, and the numbers."""
        warm = begin + (end - begin) * WARM_UP
        # The first and the last third of what is left; medians, since the load itself goes up and down.
        first = [sample for at, sample in self.taken if warm <= at < warm + (end - warm) / 3]
        last = [sample for at, sample in self.taken if at >= end - (end - warm) / 3]
        problems = []
        numbers: dict[str, object] = {"samples": len(self.taken)}
        for name, of, slack in (
            ("resident_mib", lambda sample: sample.resident / 2**20, 0.0),
            ("tasks", lambda sample: float(sample.tasks.total()), 6.0),
            ("descriptors", lambda sample: float(sum(sample.files.values())), 6.0),
        ):
            before, after = (statistics.median(map(of, part)) for part in (first, last))
            numbers[name] = {
                "after_warm_up": round(before, 1),
                "in_the_end": round(after, 1),
                "most": round(max(of(sample) for _, sample in self.taken), 1),
            }
            if after > before * (1 + FLAT) + slack:
                problems.append(f"{name} went from {before:.1f} to {after:.1f}")
        return problems, numbers


def soak(bench: Bench, seed: int, seconds: float, rate: float) -> tuple[list[str], dict[str, object]]:
    """Load a client for that long; return what was not as it must be, and the numbers."""
    bench.start("--dns-listen", "127.0.0.1:0", relayed=True)
    load = Load(bench, seed, rate)
    samples = Samples()
    begin = time.monotonic()
    end = begin + seconds
    threads = [
        threading.Thread(target=load.work, args=program, daemon=True)
        for program in [*load.programs(), ("reset", load.reset, RESET_EVERY * rate)]
    ]
    for thread in threads:
        thread.start()
    while (now := time.monotonic()) < end and bench.client.process.poll() is None:
        samples.taken.append((now, bench.count()))
        time.sleep(min(SAMPLE_EVERY, max(end - now, 0)))
    load.ending.set()
    for thread in threads:
        thread.join(2 * LATE)
    problems = [f"a program hangs: {thread.name}" for thread in threads if thread.is_alive()]
    if bench.client.process.poll() is not None:
        return [*problems, f"the client has ended: {bench.client.log[-500:]}"], {}
    bench.expect_nothing_wrong()
    bench.expect_nothing_left(growth=None)
    growth, numbers = samples.judge(begin, end)
    numbers |= {
        "seed": seed,
        "minutes": round(seconds / 60, 1),
        "done": dict(load.done),
        "mib": {name: round(octets / 2**20, 1) for name, octets in load.octets.items() if octets > 2**20},
        "disturbed_by_resets": dict(load.disturbed),
        "left_over": bench.result.left,
    }
    return problems + load.wrong[:10] + growth + bench.result.problems, numbers


def run(seed: int, seconds: float, *, rate: float, report: Path | None) -> int:
    """Run the soak by itself; return the exit code."""
    print(f"seed {seed}", flush=True)
    if reason := missing("sstpd"):
        print(f"sstpd: {reason}")
        return 2
    with tempfile.TemporaryDirectory(prefix="sstpsocks-soak-") as name:
        folder = Path(name)
        lab = Sstpd(folder)
        (folder / "client").mkdir()
        bench = Bench(lab, folder / "client", seed, "soak", long=True)
        try:
            problems, numbers = soak(bench, seed, seconds, rate)
        finally:
            with contextlib.suppress(AssertionError):
                bench.close()
            lab.close()
    text = json.dumps({"problems": problems, **numbers}, indent=1)
    print(text)
    if report is not None:
        report.write_text(text + "\n")
    return 1 if problems else 0
