"""Plays faults one after the other and writes down what was seen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.campaign.bench import Bench
from tests.campaign.faults import SERVER_FAULTS, Fault
from tests.campaign.labs import Lab, SoftEther, Sstpd, missing
from tests.campaign.local_faults import LOCAL_FAULTS
from tests.campaign.result import HEAD, Result

FAULTS = (*SERVER_FAULTS, *LOCAL_FAULTS)
KINDS: dict[str, Callable[[Path], Lab]] = {"sstpd": Sstpd, "softether": SoftEther}


def play(fault: Fault, lab: Lab, folder: Path, seed: int, *, long: bool = False) -> Result:
    """Play one fault with a client of its own, and return what was seen."""
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(lab, folder, seed, fault.name, long=long)
    try:
        lab.start()  # also when the fault before has failed halfway
        fault.play(bench)
    except Exception as error:
        bench.problem(f"{type(error).__name__}: {error}".splitlines()[0])
        traceback.print_exc()
    finally:
        if keep := os.environ.get("SSTPSOCKS_CAMPAIGN_LOGS"):
            Path(keep, f"{lab.name} {fault.name}.log").write_text(bench.client.log)
        try:
            result = bench.close()
        except AssertionError as error:
            # It never ran.
            result = bench.result
            bench.problem(str(error))
    return result


@contextmanager
def lab_of(kind: str, folder: Path) -> Iterator[Lab]:
    """A lab that runs."""
    lab = KINDS[kind](folder)
    try:
        yield lab
    finally:
        lab.close()


def chosen(only: Iterable[str], *, long: bool) -> list[Fault]:
    """Return the faults whose name has one of the words."""
    words = list(only)
    return [
        fault
        for fault in FAULTS
        if (long or not fault.long or words) and (not words or any(word in fault.name for word in words))
    ]


def run(seed: int, *, long: bool, only: list[str], servers: list[str], table: Path | None) -> int:
    """Play all of them, print rows as they come, and return how many were not as promised."""
    results = []
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sstpsocks-campaign-") as name:
        for kind in servers:
            faults = [fault for fault in chosen(only, long=long) if kind in fault.servers]
            if not faults:
                continue
            if reason := missing(kind):
                print(f"{kind}: {reason}", file=sys.stderr)
                return 2
            with lab_of(kind, Path(name)) as lab:
                for number, fault in enumerate(faults):
                    begin = time.monotonic()
                    result = play(fault, lab, Path(name, f"{kind}-{number}"), seed + number, long=long)
                    results.append(result)
                    print(f"{time.monotonic() - begin:6.1f} s {result.row()}", flush=True)
    if table is not None:
        table.write_text(document(results, seed))
    bad = [result for result in results if result.problems]
    print(f"{len(results)} faults, {len(bad)} not as promised")
    return min(len(bad), 1)


def document(results: list[Result], seed: int) -> str:
    """Return docs/faults.md."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    day = datetime.now(UTC).date().isoformat()
    return (
        INTRODUCTION + f"\nSeed {seed}, commit {commit}, {day}.\n\n" + HEAD + "\n".join(r.row() for r in results) + "\n"
    )


INTRODUCTION = """\
# What happens when something breaks

Written by `python -m tests.campaign --long` (testing.md). Each row is one run of the real program against a real
server, with four flows of 300 kB/s across the fault (an echo, a download, an upload and one that only stays open) whose
every octet is compared, and somebody who tries a new connection time and again. "Back after" counts from the moment
in which the fault ended until the first such try succeeded. "Left over" compares tasks, descriptors and memory before
the fault with those afterwards, when everything has been closed.

"As promised" means back within 3 s (SoftEther: 6 s), with two exceptions. Where packets vanish for less than 40 s the
connection to the server outlives it and waits for the kernels' next try, so the limit is the outage and 3 s more: after
10 s it took 3.1 to 3.3 s. A clock that jumps has the server asked, which has 5 s for an answer, so a dead connection
is given up within 8 s. Flows must survive with sstpd, but for a changed address, outages of more than 40 s and
forgotten connections; SoftEther may assign another address, and then they end.

A flow that survives a long outage goes on at once if we have something under way. If only its peer has, it waits for
the peer's next retransmission, whose pauses have grown with the outage (RFC 6298): up to as long again.
"""
