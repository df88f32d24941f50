from __future__ import annotations

from sstpsocks.base.entropy import Entropy, random_uint32
from sstpsocks.tunnel.entropy_source import SystemEntropy


def test_the_systems_randomness_has_the_length_asked_for_and_does_not_repeat() -> None:
    entropy: Entropy = SystemEntropy()
    assert [len(entropy.random_bytes(count)) for count in (0, 1, 32)] == [0, 1, 32]
    assert entropy.random_bytes(16) != entropy.random_bytes(16)
    assert 0 <= random_uint32(entropy) < 2**32
