"""A coverage-guided run of what stack.py does, for whoever has atheris (docs/testing.md).

    pip install atheris
    python -m tests.fuzz.atheris_stack [libFuzzer options] [folder of inputs]

An input is a list of steps. Each takes one of the packets that are under way, changes some of its octets, mends the
checksums or not, and lets some time pass. The world is the same for every input.
"""

from __future__ import annotations

import importlib
import sys

from tests.fuzz.mutator import repair
from tests.fuzz.world import World

WARM_UP = 4
"""Turns that give every input live connections."""
STEPS = 32
CHANGES = 7
"""The most octets that one step changes."""


def run_input(data: bytes) -> None:
    """Do what the input says, and see whether everything comes to rest."""
    world = World(0)
    world.near.open()
    world.far.open()
    for _ in range(WARM_UP):
        world.turn()
    patterns = list(world.patterns)
    left = memoryview(data)
    for _ in range(STEPS):
        if len(left) < 2:
            break
        which, how = left[:2]
        packet = bytearray(patterns[which % len(patterns)])
        changes, left = left[2 : 2 + 2 * (how & CHANGES)], left[2 + 2 * (how & CHANGES) :]
        for place, value in zip(changes[::2], changes[1::2], strict=False):
            packet[place % len(packet)] = value
        if how & 8:
            repair(packet)
        world.attack([bytes(packet)])
        if how & 16:
            world.turn()
    world.check_connections()
    world.come_to_rest()


def main() -> None:
    """Hand over to atheris."""
    atheris = importlib.import_module("atheris")
    atheris.instrument_all()
    atheris.Setup(sys.argv, run_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
