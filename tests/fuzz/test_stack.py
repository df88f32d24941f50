"""The bounded form of the fuzzer: what the long form checks (docs/testing.md), for some seconds."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.atheris_stack import run_input
from tests.fuzz.stack import fuzz
from tests.fuzz.world import World


@pytest.mark.parametrize("seed", range(3))
def test_mutated_packets_do_nothing_but_count(seed: int) -> None:
    print(f"seed {seed}")
    World(seed).run(40_000)


def test_memory_is_the_same_after_every_epoch() -> None:
    fuzz(seed=100, epochs=4, packets=4_000)


def test_a_seed_always_gives_the_same_run() -> None:
    worlds = [World(7), World(7)]
    for world in worlds:
        world.run(2_000)
    assert worlds[0].near.stack.counters == worlds[1].near.stack.counters


def test_the_packets_reach_every_part_of_the_stack() -> None:
    world = World(1)
    world.run(40_000)
    counters = world.near.stack.counters
    reached = {
        name: getattr(counters, name)
        for name in (
            "ip_in_hdr_errors", "ip_in_truncated_pkts", "ip_in_addr_errors", "ip_in_unknown_protos", "ip_reasm_oks",
            "ip_reasm_fails", "icmp_in_errors", "icmp_in_unmatched", "icmp_out_limited", "udp_no_ports",
            "udp_in_errors",
            "tcp_passive_opens", "tcp_active_opens", "tcp_attempt_fails", "tcp_estab_resets", "tcp_in_errs",
            "tcp_out_rsts", "tcp_retrans_segs", "tcp_paws_discards",
        )
    }  # fmt: skip
    assert {name for name, count in reached.items() if count == 0} == set()


def test_the_coverage_guided_target_runs() -> None:
    for seed in range(20):
        run_input(random.Random(seed).randbytes(80))
