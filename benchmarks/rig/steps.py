"""How long each step of the way up takes: opens a tunnel through the library and prints when each step was done.

    SSTP_PASSWORD=... python benchmarks/rig/steps.py 10.0.0.2 443 vpn.example.com ca.pem alice

One JSON object: milliseconds by step, each from the end of the step before it. It is the second tunnel that counts: the
first one loads what is loaded only when it is needed, which belongs to the start of the program. TCP and TLS are one
step here: a relay's kernel answers the SYN at once, and the round trip that it takes is felt in the next step
(relay.py). Imports nothing of the harness, so that it runs with any build.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import trio

import sstpsocks
from sstpsocks.tunnel.steps import Step, StepReport

UP = (Step.TLS, Step.HTTP, Step.SSTP, Step.LCP, Step.AUTHENTICATION, Step.ADDRESSES)
"""The steps that are told, in order."""


class Watch:
    """Notes when the steps are done."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.done_at: dict[Step, float] = {}

    def observe(self, report: StepReport) -> None:
        """Take a report."""
        if report.done:
            self.done_at.setdefault(report.step, time.monotonic())

    def milliseconds(self) -> dict[str, float]:
        """Return what each step took."""
        taken = {}
        before = self.begin
        for step in UP:
            taken[step.value] = (self.done_at[step] - before) * 1e3
            before = self.done_at[step]
        return taken


async def connect(options: argparse.Namespace) -> dict[str, float]:
    """Open the tunnel once."""
    watch = Watch()
    async with sstpsocks.open_tunnel(
        options.host,
        port=options.port,
        username=options.user,
        password=os.environ["SSTP_PASSWORD"],
        ca_file=options.ca_file,
        server_name=options.server_name,
        observe=watch.observe,
    ):
        return watch.milliseconds()


def main() -> int:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description="What each step of setting up a tunnel takes.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("server_name", metavar="NAME", help="in its certificate")
    parser.add_argument("ca_file", metavar="PEM")
    parser.add_argument("user")
    options = parser.parse_args()
    trio.run(connect, options)
    print(json.dumps(trio.run(connect, options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
