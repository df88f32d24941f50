"""Millions of mutated packets into a stack with live connections (docs/testing.md).

    python -m tests.fuzz.stack --packets 10000000 --seed 7

An epoch follows from its seed alone, which is printed: ``--seed N --packets 1`` runs epoch N again.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from dataclasses import asdict

from tests.fuzz.world import World

EPOCH = 50_000
"""Mutated packets between two rests."""
ALLOWED_GROWTH = 128 * 1024
"""Octets that may come and go between two rests: caches of the interpreter and of the memory allocator."""


def fuzz(seed: int, epochs: int, packets: int) -> World:
    """Run epochs of one stack, and measure that its memory is the same after each."""
    world = World(seed)
    world.run(packets)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(epochs - 1):
            world.run(packets)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < ALLOWED_GROWTH, f"seed {seed}: {grown} octets more after {epochs} epochs"
    return world


def resident_bytes() -> int:
    """Return what the process holds in memory; 0 where that cannot be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0


def main() -> int:
    """Run the long form."""
    parser = argparse.ArgumentParser(description="Mutated packets into a whole stack with live connections.")
    parser.add_argument("--packets", type=int, default=1_000_000, help="mutated packets (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first stack (default 1)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs that one stack lives for (default 10)")
    options = parser.parse_args()
    done, seed, begin = 0, options.seed, time.perf_counter()
    while done < options.packets:
        world = World(seed)
        print(f"seed {seed}: ", end="", flush=True)
        for _ in range(options.epochs):
            world.run(EPOCH)
            if done + world.mutated >= options.packets:
                break
        done += world.mutated
        seed += 1
        gc.collect()
        rate = done / (time.perf_counter() - begin)
        print(f"{done} packets, {rate:.0f} a second, {resident_bytes() >> 20} MiB resident", flush=True)
    print({name: count for name, count in asdict(world.near.stack.counters).items() if count})
    return 0


if __name__ == "__main__":
    sys.exit(main())
