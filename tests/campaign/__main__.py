"""The fault campaign and the soak, by hand: ``python -m tests.campaign --long --seed 1 [--only WORD]``.

    python -m tests.campaign [--long] [--seed N] [--only WORD ...] [--server sstpd|softether ...] [--table FILE]
    python -m tests.campaign soak [--hours H | --minutes M] [--seed N] [--report FILE]

In a network namespace without a way out, as root (docs/testing.md). --long writes docs/faults.md unless --table says
otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.campaign import campaign, soak


def main(arguments: list[str]) -> int:
    """Run what the arguments say and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["faults", "soak"], default="faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="WORD")
    parser.add_argument("--server", action="append", choices=sorted(campaign.KINDS))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rate", type=float, default=1.0, help="of the usual load")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args(arguments)
    if options.what == "soak":
        seconds = options.hours * 3600 if options.minutes is None else options.minutes * 60
        return soak.run(options.seed, seconds, rate=options.rate, report=options.report)
    table = options.table
    if table is None and options.long and not options.only and not options.server:
        table = Path("docs/faults.md")
    servers = options.server or ["sstpd", "softether"]
    return campaign.run(options.seed, long=options.long, only=options.only, servers=servers, table=table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
