"""``python -m benchmarks``: measure everything and write RESULTS.md and results.json beside this file.

    SSTPSOCKS_LAB_SSTPD=.../sstpd python -m benchmarks [--quick] [--only CASE] [--peers PEER] [--runs N] [--output DIR]

Linux only, as root or where unprivileged user namespaces are allowed. docs/benchmarks.md tells what is measured and
how. Cases can be measured in pieces: each is put into the results in place of an earlier one of the same name.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

from benchmarks import report, results
from benchmarks.cases import Case, all_cases
from benchmarks.rig import builds, namespaces, programs
from benchmarks.rig.gateway import Gateway, repository
from benchmarks.rig.peers import Peer
from benchmarks.rig.rig import Rig
from benchmarks.runner import run_case, say

LAB = "SSTPSOCKS_LAB_SSTPD"
RUNS, QUICK_RUNS = 5, 1

if sys.platform == "linux":
    import resource


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare sstpsocks with other tunnels.")
    top.add_argument("--only", action="append", default=[], metavar="CASE", help="a case, also as bulk-*; repeatable")
    top.add_argument("--peers", action="append", default=[], metavar="PEER", help="a peer, also as ss*; repeatable")
    top.add_argument("--runs", type=int, default=0, help=f"of each peer in each case (default {RUNS})")
    top.add_argument("--quick", action="store_true", help=f"short runs, and {QUICK_RUNS} of each: a try, no results")
    top.add_argument("--resume", action="store_true", help="leave out the cases that have results of this commit")
    top.add_argument("--output", type=Path, default=repository() / "benchmarks", metavar="DIR", help="where to write")
    top.add_argument("--report", action="store_true", help="only write RESULTS.md again from results.json")
    top.add_argument("--list", action="store_true", help="only name the cases and peers")
    top.add_argument(
        "--compiled",
        default=os.environ.get(builds.COMPILED, ""),
        metavar="PYTHON",
        help=f"the Python of a virtual environment with a compiled wheel (or {builds.COMPILED})",
    )
    top.add_argument("--build", action="store_true", help="build that wheel and environment first, and drop it later")
    return top


def chosen(names: list[str], patterns: list[str]) -> list[str]:
    """Return the names that a pattern fits; all without a pattern."""
    return [name for name in names if not patterns or any(fnmatch(name, pattern) for pattern in patterns)]


def chosen_cases(options: argparse.Namespace, done: dict[str, results.CaseResult]) -> list[Case]:
    """Return the cases that are asked for."""
    names = chosen([case.name for case in all_cases()], options.only)
    if options.resume:
        commit = results.circumstances(repository())["commit"]
        names = [name for name in names if name not in done or done[name].circumstances["commit"] != commit]
    return [case for case in all_cases() if case.name in names]


def chosen_peers(options: argparse.Namespace) -> list[Peer]:
    """Return the peers that are asked for."""
    peers = [*builds.our_builds(options.compiled), *programs.OTHERS]
    names = chosen([peer.name for peer in peers], options.peers)
    return [peer for peer in peers if peer.name in names]


def measure(options: argparse.Namespace, lab: Path) -> None:
    """Measure what is asked for; the results are written after each case."""
    # The first process of a namespace has no default for signals, and would let SIGTERM pass.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    namespaces.prepare()
    path = options.output / "results.json"
    done = results.load(path)
    cases, peers = chosen_cases(options, done), chosen_peers(options)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        gateway = Gateway(lab, folder)
        try:
            gateway.start()
            rig = Rig(gateway, folder, quick=options.quick)
            for case in cases:
                begin = time.monotonic()
                done[case.name] = run_case(rig, case, peers, options.runs or (QUICK_RUNS if options.quick else RUNS))
                say(f"   {time.monotonic() - begin:.0f} s")
                write(options.output, done)
        finally:
            gateway.stop()


def write(folder: Path, done: dict[str, results.CaseResult]) -> None:
    """Write both files, the cases in their order."""
    order = [case.name for case in all_cases()]
    done = {name: done[name] for name in order if name in done}
    folder.mkdir(parents=True, exist_ok=True)
    results.save(folder / "results.json", done)
    (folder / "RESULTS.md").write_text(report.markdown(done))


def main() -> int:
    """Run what the command line says."""
    options = parser().parse_args()
    if options.list:
        for case in all_cases():
            print(f"{case.name:24} {case.title}")
        for peer in chosen_peers(options):
            print(f"{peer.name:24} {peer.title}")
        return 0
    if options.report:
        write(options.output, results.load(options.output / "results.json"))
        return 0
    lab = Path(os.environ.get(LAB, ""))
    if not (lab / "up.sh").is_file() or LAB not in os.environ:
        print(f"{LAB} does not name the folder of the laboratory's sstpd: see docs/benchmarks.md", file=sys.stderr)
        return 2
    try:
        if namespaces.inside():
            measure(options, lab.resolve())
            return 0
        with tempfile.TemporaryDirectory(prefix="benchmarks-build-") as folder:
            compiled = builds.build_compiled(Path(folder)) if options.build else options.compiled
            return namespaces.enter([*sys.argv[1:], f"--compiled={compiled}"])
    except namespaces.NoNamespaces as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
