"""Addresses, ports, the token bucket and the counters."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import DeniedByRule, TooManyConnections
from sstpsocks.net.address import is_unicast, require_reachable
from sstpsocks.net.counters import NetCounters
from sstpsocks.net.ports import FIRST_PORT, LAST_PORT, choose_port, choose_port_for, port_offset
from sstpsocks.net.token_bucket import TokenBucket

OURS = IPv4Address("10.9.0.2")


@pytest.mark.parametrize(
    "address", ["0.0.0.1", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.9.9.9", "240.0.0.1", "255.255.255.255"]
)
def test_addresses_of_no_host(address: str) -> None:
    assert not is_unicast(IPv4Address(address).packed)
    with pytest.raises(DeniedByRule, match=address):
        require_reachable(IPv4Address(address), [OURS])


@pytest.mark.parametrize("address", ["1.1.1.1", "10.0.0.1", "126.1.1.1", "128.0.0.1", "169.254.1.1", "223.255.255.1"])
def test_addresses_of_hosts(address: str) -> None:
    assert is_unicast(IPv4Address(address).packed)
    require_reachable(IPv4Address(address), [OURS])


def test_our_own_address_cannot_be_reached_through_the_tunnel() -> None:
    with pytest.raises(DeniedByRule, match="our own"):
        require_reachable(OURS, [OURS])


def test_ports_are_spread_over_the_whole_range_and_never_one_in_use() -> None:
    entropy = SeededEntropy(1)
    ports = [choose_port(entropy, lambda port: port % 2 == 0) for _ in range(2000)]
    assert all(port % 2 and FIRST_PORT <= port <= LAST_PORT for port in ports)
    assert len(set(ports)) > 1800
    assert min(ports) < 3000
    assert max(ports) > 63000


def test_ports_for_one_destination_follow_each_other_and_those_for_others_lie_elsewhere() -> None:
    """RFC 6056 section 3.3.3."""
    offset = port_offset(b"secret" * 4, OURS.packed, bytes(4), 443)
    ports = [choose_port_for(offset, number, lambda port: False) for number in range(100)]
    assert len(set(ports)) == 100
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports)
    assert choose_port_for(offset, 0, lambda port: port == ports[0]) == ports[1]
    others = {port_offset(b"secret" * 4, OURS.packed, bytes(4), port) for port in range(100)}
    others |= {port_offset(bytes([number]) * 24, OURS.packed, bytes(4), 443) for number in range(100)}
    assert len(others) == 200


def test_the_last_free_port_is_found_and_none_is_an_error() -> None:
    entropy = SeededEntropy(1)
    assert choose_port(entropy, lambda port: port != 4321) == 4321
    with pytest.raises(TooManyConnections):
        choose_port(entropy, lambda port: True)


def test_the_token_bucket_allows_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(10.0)
    assert sum(bucket.allow(100.0) for _ in range(50)) == 10
    assert not bucket.allow(100.05)
    assert bucket.allow(100.2)
    assert sum(bucket.allow(200.0) for _ in range(50)) == 10


def test_a_rate_below_one_still_allows_one() -> None:
    bucket = TokenBucket(0.1)
    assert bucket.allow(0.0)
    assert not bucket.allow(9.0)
    assert bucket.allow(19.0)


def test_out_requests_counts_packets_before_fragmentation() -> None:
    counters = NetCounters(ip_out_transmits=5, ip_out_frag_oks=1, ip_out_frag_creates=3, ip_out_discards=2)
    assert counters.ip_out_requests == 5
