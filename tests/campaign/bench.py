"""One client in front of one server, watched from all sides: the stage on which each fault plays.

Theory of operation. The client is the real program in a process of its own. Before the fault it does some work, so that
what is made once is there, and then is counted: tasks, descriptors, memory. Four flows run across the fault and compare
every octet, a prober tries ten connections a second. Afterwards everything is ended and the client counted again.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaign import census
from tests.campaign.flows import KINDS, Flow, wrong_at_far_side
from tests.campaign.labs import FAR_SIDE_PORT, Lab
from tests.campaign.prober import Prober
from tests.campaign.relay import Relay
from tests.campaign.result import Result
from tests.campaign.watched import CENSUS
from tests.interop.client import Client

GROWTH = 12 * 1024 * 1024
"""Octets of memory by which a fault may leave the program larger: caches and the allocator's own, not a leak."""
SETTLED = 15.0
"""Seconds within which everything that belonged to ended connections must be gone; some of it waits ten seconds for
IPv6 to come back."""
FLOW_RATE = 300_000.0


class Bench:
    """A client that is up, and what is known about it."""

    def __init__(self, lab: Lab, folder: Path, seed: int, fault: str, *, long: bool = False) -> None:
        self.lab = lab
        self.folder = folder
        self.seed = seed
        self.long = long
        self.result = Result(fault, lab.name)
        self.target = (lab.settings["TARGET"], FAR_SIDE_PORT)
        self.flows: list[Flow] = []
        self.relay: Relay | None = None
        self._told = folder / "census"
        self.client = Client(folder, [])
        self._log_position = 0
        self._before: census.Census | None = None

    # The client

    def start(
        self,
        *options: str,
        relayed: bool = False,
        wrapped: tuple[str, ...] = (),
        server: str = "",
        before: Callable[[], None] | None = None,
    ) -> None:
        """Start the client, wait until it is up, let it work once, and count it.

        ``wrapped`` is the beginning of a command that runs the rest; ``server`` another name for the server.
        """
        settings = self.lab.settings
        password = self.folder / "password"
        password.write_text(settings["PASSWORD"])
        password.chmod(0o600)
        arguments = [server or f"{settings['HOST']}:{settings['PORT']}", "--user", settings["USER"]]
        arguments += ["--password-file", str(password), "--ca-file", settings["CA"]]
        arguments += ["--server-name", settings["SERVER_NAME"], *options]
        if relayed:
            self.relay = Relay(settings["HOST"], int(settings["PORT"]))
            arguments += ["--connect-to", f"127.0.0.1:{self.relay.port}"]
        command = [*wrapped, "env", f"{CENSUS}={self._told}", sys.executable, "-m", "tests.campaign.watched"]
        self.client = Client(self.folder, arguments, command)
        self.client.start()
        self.client.wait_ready()
        if before is not None:
            before()
        self._work()
        self._before = census.take(self.client.process.pid, self._told)
        self.mark()

    def mark(self) -> None:
        """What is printed from here on belongs to the fault."""
        self._log_position = len(self.client.log)

    def mark_all(self) -> None:
        """Everything that was printed belongs to the fault."""
        self._log_position = 0

    def _keep_lines(self) -> None:
        """What is printed from now on, by the undoing of the fault, does not belong to it."""
        with contextlib.suppress(FileNotFoundError):
            self.result.lines = self.client.log[self._log_position :].strip().splitlines()

    def recount(self) -> None:
        """What is there now is what may be there afterwards."""
        self._before = self.count()

    def count(self) -> census.Census:
        """What is there now."""
        return census.take(self.client.process.pid, self._told)

    def _work(self) -> None:
        for flow in [kind(self.client.socks, self.target, self.seed + 900, 2e6) for kind in KINDS]:
            time.sleep(0.1)
            assert flow.finish(), flow.lost or flow.wrong

    # Flows

    def open_flows(self) -> None:
        """Begin one flow of each kind."""
        for number, kind in enumerate(KINDS):
            self.flows.append(kind(self.client.socks, self.target, self.seed * 100 + number, FLOW_RATE))
        time.sleep(1.0)

    @contextlib.contextmanager
    def probing(self) -> Iterator[Prober]:
        """Have somebody try new connections all the time."""
        prober = Prober(self.client.socks, self.target, interval=0.25 if self.long else 0.1)
        try:
            time.sleep(0.5)
            yield prober
        finally:
            prober.stop()

    def end_flows(self, *, must_survive: bool | None) -> None:
        """End the flows in order, and judge what became of them; None: either will do, if it was told."""
        if not self.flows:
            return
        survived = [flow.finish() for flow in self.flows]
        words = []
        for flow, well in zip(self.flows, survived, strict=True):
            if flow.wrong:
                self.problem(f"wrong octets: {flow.wrong}")
            longest = f"longest pause {flow.progress.longest_gap:.1f} s"
            words.append(f"{flow.kind}: " + (f"{flow.progress.octets} octets, {longest}" if well else flow.lost))
        self.result.survived = f"{sum(survived)} of {len(survived)} survived, every octet compared: " + "; ".join(words)
        if must_survive and not all(survived):
            self.problem("not all flows survived")
        if must_survive is False and any(survived):
            self.problem("flows survived that could not")
        self.flows = []

    # The judgement

    def problem(self, text: str) -> None:
        """Note something that is not as promised."""
        self.result.problems.append(text)

    def expect_back(self, prober: Prober, since: float, *, limit: float | None = None, grace: float = 60.0) -> None:
        """Wait until a new connection succeeds; ``since`` is when the fault ended."""
        self.result.limit = limit if limit is not None else self.lab.recovery
        self.result.recovery = prober.wait_ok(since, grace)
        if self.result.recovery is None:
            self.problem(f"not back within {grace:.0f} s")
        elif self.result.recovery > self.result.limit:
            self.problem(f"back after {self.result.recovery:.1f} s, not within {self.result.limit:.0f} s")

    def expect_exit(self, code: int, within: float) -> None:
        """Wait for the end of the program."""
        begin = time.monotonic()
        try:
            found = self.client.wait_exit(within)
        except Exception as error:
            self.problem(f"did not end within {within:.0f} s ({type(error).__name__})")
            return
        self.result.programs += f"; the program ended with {found} after {time.monotonic() - begin:.1f} s"
        if found != code:
            self.problem(f"ended with {found}, not {code}")

    def expect_nothing_left(self, growth: int | None = GROWTH) -> None:
        """Count again, when all is over; waits for what is on its way out. ``growth``: what memory may be larger by."""
        assert self._before is not None
        self._keep_lines()
        if self.client.process.poll() is not None:
            self.result.left = "nothing: the program has ended"
            return
        deadline = time.monotonic() + SETTLED
        while True:
            after = census.take(self.client.process.pid, self._told)
            left = after.left_over(self._before)
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        larger = after.resident - self._before.resident
        self.result.left = (", ".join(left) or "no task, no descriptor") + f", {larger / 2**20:+.1f} MiB"
        if left:
            self.problem(f"left over: {', '.join(left)}")
        if growth is not None and larger > growth:
            self.problem(f"{larger / 2**20:.1f} MiB larger")

    def close(self) -> Result:
        """End the client and return what was seen."""
        for flow in self.flows:
            flow.finish(1.0)
        if not self.result.lines:
            self._keep_lines()
        if any("Traceback" in line for line in self.result.lines):
            self.problem("a traceback")
        ended = self.client.process.poll()
        code = self.client.stop()
        if ended is None and code != 0:
            self.problem(f"ended with {code} when asked to end")
        if self.relay is not None:
            self.relay.close()
        return self.result

    def expect_nothing_wrong(self) -> None:
        """Ask the far side whether it ever saw a wrong octet."""
        if self.client.process.poll() is None:
            wrong = wrong_at_far_side(self.client.socks, self.target)
            if wrong:
                self.problem(f"{wrong} connections brought wrong octets to the far side")
