"""Takes the cases one after the other, and within a case the peers in turn: ABCABC...

Turns make a change of the machine's load meet all peers. What a case or a peer cannot do is told in the results and
stops nothing else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

from benchmarks.cases import Case, Skip
from benchmarks.figures import Measurement
from benchmarks.results import CaseResult, PeerResult, circumstances, load_average
from benchmarks.rig.conditions import Place
from benchmarks.rig.gateway import repository
from benchmarks.rig.peers import Peer
from benchmarks.rig.rig import Rig

Turn = Callable[[], dict[str, Measurement]]

SETTLE = 0.3
"""Seconds between two runs: what the last one left behind in queues drains."""


def say(text: str) -> None:
    """Tell the progress."""
    print(text, file=sys.stderr, flush=True)


def run_case(rig: Rig, case: Case, peers: Sequence[Peer], runs: int) -> CaseResult:
    """Measure one case."""
    say(f"== {case.name}: {case.title}")
    result = CaseResult(case.title, asdict(case.conditions), circumstances(repository()))
    if rig.quick:
        result.circumstances["quick"] = "yes"
    with ExitStack() as stack:
        place = stack.enter_context(rig.place(case.conditions))
        turns: dict[str, Turn] = {}
        for peer in peers:
            if not case.applies(peer):
                continue
            told = result.peers[peer.name] = PeerResult(peer.title, peer.ours, skipped=peer.missing(rig))
            if told.skipped:
                continue
            told.version = peer.version()
            if case.fresh:
                turns[peer.name] = partial(_fresh_run, rig, case, peer, place)
                continue
            try:
                running = stack.enter_context(rig.running(peer, place, case.conditions))
            except (RuntimeError, OSError) as error:
                told.skipped = str(error)
            else:
                turns[peer.name] = partial(case.run, rig, running)
        _take_turns(result, turns, runs)
    result.circumstances["load after"] = load_average()
    return result


def _fresh_run(rig: Rig, case: Case, peer: Peer, place: Place) -> dict[str, Measurement]:
    """Measure a peer that is started for it."""
    with rig.running(peer, place, case.conditions) as running:
        return case.run(rig, running)


def _take_turns(result: CaseResult, turns: dict[str, Turn], runs: int) -> None:
    for number in range(runs):
        for name, turn in turns.items():
            told = result.peers[name]
            if told.skipped:
                continue
            time.sleep(SETTLE)
            try:
                figures = turn()
            except Skip as reason:
                told.skipped = str(reason)
            except (RuntimeError, OSError) as error:
                told.skipped = f"failed in run {number + 1}: {type(error).__name__}: {error}"
            else:
                told.add(figures)
                head = ", ".join(f"{key} {each.value:.4g}" for key, each in list(figures.items())[:4])
                say(f"   {number + 1} {name:20} {head}")
            if told.skipped:
                say(f"   {number + 1} {name:20} skipped: {told.skipped}")
