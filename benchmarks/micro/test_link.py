"""Framing: SSTP and PPP headers off and on, one batch of packets."""

from __future__ import annotations

import pytest

from benchmarks.micro.transfer import MTU, PACKETS_IN_BATCH, Benchmark
from sstpsocks.link import Link
from tests.helpers.link_pair import LinkPair, make_client, make_server

PACKETS = [b"\x45" + bytes(MTU - 1)] * PACKETS_IN_BATCH


@pytest.fixture(scope="module")
def link() -> Link:
    """A client's link that carries IP packets."""
    pair = LinkPair(make_client(), make_server())
    pair.run(1.0)
    assert pair.client.carries_ip
    return pair.client


@pytest.mark.benchmark(group="framing")
def test_headers_off(benchmark: Benchmark, link: Link) -> None:
    data = link.frame_packets(PACKETS)
    _, spans = benchmark(link.receive_data, data, 1.0)
    assert len(spans) == PACKETS_IN_BATCH


@pytest.mark.benchmark(group="framing")
def test_headers_on(benchmark: Benchmark, link: Link) -> None:
    data = benchmark(link.frame_packets, PACKETS)
    assert len(data) == PACKETS_IN_BATCH * (MTU + 8)
