"""How well our TCP sends next to Linux CUBIC: goodput under loss, fairness, recovery from a burst of losses.

    python -m benchmarks.goodput [--seeds 10] [--seconds 10] [goodput] [fairness] [burst]

Both send through the same impairment stage, in real time, to the same receiver: Linux TCP in a network namespace.
The path is 20 Mbit/s and 40 ms with a queue of 60 packets. Linux only; needs root or unprivileged user namespaces.
Medians, with the range of all runs behind them.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from sstpsocks.base.seqnum import MASK, le
from sstpsocks.net.tcp.segment import parse_segment
from tests.differential.bridge import Bridge, End, KernelEnd, StackEnd
from tests.differential.kernel import KERNEL, OURS, KernelHost, Script, namespace_command
from tests.helpers.impairment import Path
from tests.helpers.netsim import Program

RATE = 2_500_000
"""Octets per second of whole packets."""
DELAY = 0.02
ROUND_TRIP = 2 * DELAY
PACKET = 1400
IP_HEADER = 20
LARGEST_WITHOUT_DATA = 100
SENDERS = ("ours", "Linux")
PORT = 5001
LOSSES = (0.0, 0.01, 0.03)
FLOWS = 8
BURST = range(200, 220)
"""Data packets that are lost: well behind the slow start."""
BURST_WINDOW = 40_000
"""SO_RCVBUF of the receiver: about 50 segments, less than the path holds, so that no queue blurs the times."""
DATA = random.Random(1).randbytes(64_000_000)


@contextmanager
def sending(sender: str, path: Path, seed: int, *, flows: int = 1, window: int = 0) -> Iterator[Trial]:
    """Set up a receiver and a sender that sends without end on some flows."""
    receiver = KernelHost((KERNEL, OURS))
    receiver.listen(KERNEL, PORT, "flow", Script(receive_buffer=window))
    source: KernelHost | None = None
    try:
        if sender == "Linux":
            source = KernelHost((OURS, KERNEL))
            left: End = KernelEnd(source)
            for number in range(flows):
                source.connect(KERNEL, PORT, f"sender-{number}", Script(send=len(DATA) // flows, seed=1))
        else:
            left = stack = StackEnd(seed=seed)
            stack.programs.extend(Program(stack.connect(KERNEL, PORT), DATA) for _ in range(flows))
        bridge = Bridge(left, KernelEnd(receiver), path, Path(delay=DELAY), seed=seed)
        yield Trial(bridge, left, receiver, flows)
    finally:
        receiver.close()
        if source is not None:
            source.close()


class Trial:
    """One run of one sender."""

    def __init__(self, bridge: Bridge, left: End, receiver: KernelHost, flows: int) -> None:
        self.bridge = bridge
        self.left = left
        self._receiver = receiver
        self._names = [f"flow-{number}" for number in range(flows)]

    def received(self) -> list[int]:
        """Return what each flow has delivered to its program so far."""
        counts = self._receiver.received()
        return [counts.get(name, 0) for name in self._names]

    def deliver_for(self, seconds: float) -> list[int]:
        """Return what each flow delivers in this time, from when data arrives on all of them."""
        deadline = time.monotonic() + 30
        while not all(self.received()):
            assert time.monotonic() < deadline, self.bridge
            self.bridge.run_for(0.02)
        before = self.received()
        self.bridge.run_for(seconds)
        return [after - start for start, after in zip(before, self.received(), strict=True)]


def goodput(sender: str, seed: int, *, loss: float, seconds: float) -> float:
    """Return the goodput of one flow in Mbit/s."""
    path = Path(rate=RATE, delay=DELAY, queue=60, loss=loss)
    with sending(sender, path, seed) as trial:
        return trial.deliver_for(seconds)[0] * 8 / seconds / 1e6


def fairness(sender: str, seed: int, *, seconds: float) -> float:
    """Return Jain's index of the shares of eight flows: 1 is equal, 1/8 is one that has everything."""
    with sending(sender, Path(rate=RATE, delay=DELAY, queue=60), seed, flows=FLOWS) as trial:
        shares = trial.deliver_for(seconds)
    return sum(shares) ** 2 / (FLOWS * sum(share * share for share in shares))


def burst(sender: str, seed: int) -> float:
    """Return how many round trips the recovery from a burst of losses takes beyond the least possible.

    From the first lost packet to the acknowledgement of the last. No sender can take less than two round trips, one
    to learn of the loss and one to repair it, and the time that the lost packets take at the rate of the path.
    """
    with sending(sender, Path(rate=RATE, delay=DELAY, burst=BURST), seed, window=BURST_WINDOW) as trial:
        watch = BurstWatch(trial.left)
        trial.bridge.watch = watch.packet
        trial.bridge.run(lambda: watch.repaired_at is not None, limit=30)
    assert watch.repaired_at is not None
    least = 2 * ROUND_TRIP + len(BURST) * PACKET / RATE
    return (watch.repaired_at + DELAY - watch.lost_at - least) / ROUND_TRIP


class BurstWatch:
    """Sees the lost packets leave and their acknowledgement come."""

    def __init__(self, sender: End) -> None:
        self.lost_at = 0.0
        """When the first one was sent."""
        self.repaired_at: float | None = None
        """When the receiver acknowledged the last one."""
        self._sender = sender
        self._data_packets = 0
        self._lost_end: int | None = None

    def packet(self, packet: bytes, receiver: End, now: float) -> None:
        """Take a packet that enters the stage."""
        if packet[0] >> 4 != 4:
            # The devices' own IPv6 neighbour traffic.
            return
        segment = parse_segment(packet, IP_HEADER, len(packet))
        assert segment is not None
        if receiver is not self._sender:
            if len(packet) > LARGEST_WITHOUT_DATA:
                if self._data_packets in BURST:
                    self.lost_at = self.lost_at or now
                    self._lost_end = (segment.seq + len(segment.payload)) & MASK
                self._data_packets += 1
        elif self._lost_end is not None and self._data_packets >= BURST.stop and le(self._lost_end, segment.ack):
            self.repaired_at = self.repaired_at or now


def median_and_range(values: list[float], form: str) -> str:
    """Return the values in short."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def compare(name: str, trials: dict[str, list[float]], form: str, *, with_ratio: bool = False) -> None:
    """Print one line of the table."""
    cells = [f"{sender} {median_and_range(values, form)}" for sender, values in trials.items()]
    if with_ratio:
        ours, linux = (statistics.median(values) for values in trials.values())
        cells.append(f"ours / Linux {ours / linux:.2f}")
    print(f"{name:34} " + ", ".join(cells), flush=True)


def run(options: argparse.Namespace) -> None:
    """Run what was asked for. The senders take turns, so that a change of the machine's load meets both."""
    seeds = range(1, options.seeds + 1)

    def trials(trial: Callable[[str, int], float]) -> dict[str, list[float]]:
        results: dict[str, list[float]] = {sender: [] for sender in SENDERS}
        for seed in seeds:
            for sender in SENDERS:
                results[sender].append(trial(sender, seed))
        return results

    if "goodput" in options.what:
        for loss in LOSSES:
            measured = trials(partial(goodput, loss=loss, seconds=options.seconds))
            compare(f"goodput at {loss:.0%} loss, Mbit/s", measured, ".2f", with_ratio=True)
    if "fairness" in options.what:
        measured = trials(partial(fairness, seconds=2 * options.seconds))
        compare("Jain's index of eight flows", measured, ".3f")
    if "burst" in options.what:
        compare("burst of 20, round trips beyond 2", trials(burst), ".2f")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Our TCP and Linux CUBIC as senders through the same bad network.")
    every = ("goodput", "fairness", "burst")
    parser.add_argument("what", nargs="*", default=every, help=f"of {', '.join(every)}; all of them by default")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each, with the seeds 1 to this (default 10)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run; twice that for fairness (default 10)")
    options = parser.parse_args()
    if unknown := {*options.what} - {*every}:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    command, reason = namespace_command()
    if not command:
        print(reason, file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(
        f"commit {commit.strip() or 'unknown'}, {platform.python_implementation()} {platform.python_version()}, "
        f"Linux {platform.release()}, {os.cpu_count()} cores; 20 Mbit/s, 40 ms, queue 60 packets; "
        f"medians of {options.seeds} runs",
        flush=True,
    )
    run(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
