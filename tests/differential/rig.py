"""Our stack on one side, a kernel on the other, a bridge with impairments between them, and programs on both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from sstpsocks.net.config import StackConfig
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.tcb import TcpState
from tests.differential.bridge import Bridge, KernelEnd, StackEnd
from tests.differential.kernel import KERNEL, KERNEL6, OURS, OURS6, KernelHost, Script
from tests.helpers.impairment import Path
from tests.helpers.netsim import Program

LONG = bool(os.environ.get("SSTPSOCKS_TEST_LONG"))
"""More data and more seeds (docs/testing.md)."""
SCALE = 4 if LONG else 1
SEEDS = [int(os.environ.get("SSTPSOCKS_TEST_SEED", "1")) + number for number in range(8 if LONG else 1)]

PORT = 80

MakeProgram = Callable[[TcpConnection], Program]


def digest(data: bytes) -> str:
    """Return what the kernel's side reports of data it received."""
    return hashlib.sha256(data).hexdigest()


def ended(program: Program) -> bool:
    """Whether both directions are closed, and everything is acknowledged and read."""
    return program.connection.state in (TcpState.TIME_WAIT, TcpState.CLOSED) and not program.connection.readable


class Rig:
    """Round trip 2 ms and no impairment until impair() says otherwise."""

    def __init__(self, kernel: KernelHost, seed: int, config: StackConfig | None = None) -> None:
        self.kernel = kernel
        self.ours = StackEnd(seed=seed, config=config)
        self.bridge = Bridge(self.ours, KernelEnd(kernel), Path(delay=0.001), seed=seed)

    @property
    def programs(self) -> list[Program]:
        """Those on our side, in the order of their connections."""
        return self.ours.programs

    def impair(self, path: Path, back: Path | None = None) -> None:
        """Set the path from us to the kernel, and the one back."""
        self.bridge.there.path = path
        self.bridge.back.path = back or path

    def open(self, connector: str, make: MakeProgram, script: Script, *, ipv6: bool = False) -> str:
        """Open a connection from "us" or the "kernel" and run a program on each side.

        Return the name that the kernel's result will have.
        """
        if connector == "us":
            address = KERNEL6 if ipv6 else KERNEL
            self.kernel.listen(address, PORT, "kernel", script)
            self.programs.append(make(self.ours.connect(address, PORT)))
            return "kernel-0"
        self.ours.listen(PORT, make)
        self.kernel.connect(OURS6 if ipv6 else OURS, PORT, "kernel", script)
        return "kernel"

    def run_to_end(self, *results: str, limit: float = 60.0) -> None:
        """Run until as many programs of ours have ended in order as the kernel's of these names."""
        self.bridge.run(
            lambda: (
                len(self.programs) == len(results)
                and all(map(ended, self.programs))
                and self.kernel.results.keys() >= {*results}
            ),
            limit=limit * SCALE,
        )

    def expect_no_reset(self) -> None:
        """No connection was reset or given up, by either side."""
        counters = self.kernel.counters()
        bad = ["Tcp.EstabResets", "Tcp.AttemptFails", *(name for name in counters if "TCPAbort" in name)]
        assert {name: counters[name] for name in bad if counters[name]} == {}, self.bridge
        ours = self.ours.stack.counters
        assert (ours.tcp_estab_resets, ours.tcp_attempt_fails) == (0, 0), self.bridge
