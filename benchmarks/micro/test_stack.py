"""The receive run, the send run and the checksum: one batch of a bulk transfer."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.micro.transfer import BATCH, PACKETS_IN_BATCH, ROUNDS, WARM_UP_ROUNDS, Benchmark, Transfer, join
from sstpsocks.base.checksum import checksum

over_both = pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])


@over_both
@pytest.mark.benchmark(group="receive run")
def test_receive_run(benchmark: Benchmark, ipv6: bool) -> None:
    transfer = Transfer(ipv6=ipv6)
    benchmark.extra_info["packets"] = PACKETS_IN_BATCH

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (*transfer.next_batch(), transfer.now()), {}

    benchmark.pedantic(transfer.receiver.receive_batch, setup=setup, rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
    transfer.exchange()
    assert transfer.receiver.counters.tcp_in_errs == 0


@over_both
@pytest.mark.benchmark(group="send run")
def test_send_run(benchmark: Benchmark, ipv6: bool) -> None:
    transfer = Transfer(ipv6=ipv6)
    benchmark.extra_info["packets"] = PACKETS_IN_BATCH

    built: list[bytes] = []

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        # What the last round built must arrive, or it is lost.
        transfer.receiver.receive_batch(*join(built), transfer.now())
        transfer.exchange()
        transfer.fill()
        return (transfer.now(), BATCH), {}

    def target(now: float, octets: int) -> None:
        nonlocal built
        built = transfer.sender.packets_to_send(now, octets)

    benchmark.pedantic(target, setup=setup, rounds=ROUNDS, warmup_rounds=WARM_UP_ROUNDS)
    assert len(built) >= PACKETS_IN_BATCH


@pytest.mark.benchmark(group="checksum")
@pytest.mark.parametrize("size", [40, 1400, 4000])
def test_checksum(benchmark: Benchmark, size: int) -> None:
    data = bytes(index * 7 & 0xFF for index in range(size))
    assert benchmark(checksum, data, 0, size) == checksum(data, 0, size)
