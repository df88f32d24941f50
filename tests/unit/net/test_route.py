"""Routes: the most specific one counts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from sstpsocks.net.route import Route, RouteTable

ROUTER = IPv4Address("10.0.0.1")


def route(network: str, gateway: IPv4Address | None = None) -> Route:
    return Route(IPv4Network(network), gateway)


TABLE = RouteTable([route("10.0.0.0/8"), route("10.1.0.0/16", ROUTER), route("10.1.2.3/32"), route("172.16.0.0/12")])


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.4", "10.1.0.0/16"),
        ("10.2.0.1", "10.0.0.0/8"),
        ("172.31.255.255", "172.16.0.0/12"),
        ("172.32.0.0", None),
        ("9.255.255.255", None),
    ],
)
def test_the_longest_prefix_counts(address: str, network: str | None) -> None:
    found = TABLE.lookup(IPv4Address(address))
    assert (found and str(found)) == network


def test_a_default_route_leads_everywhere() -> None:
    table = RouteTable([route("0.0.0.0/0", ROUTER), route("10.0.0.0/8")])
    assert table.lookup(IPv4Address("203.0.113.9")) == route("0.0.0.0/0", ROUTER)
    assert table.lookup(IPv4Address("10.9.9.9")) == route("10.0.0.0/8")


def test_the_first_of_two_routes_to_one_network_counts() -> None:
    table = RouteTable([route("10.0.0.0/8", ROUTER), route("10.0.0.0/8")])
    assert table.routes == (route("10.0.0.0/8", ROUTER),)


def test_an_empty_table_leads_nowhere() -> None:
    assert RouteTable().lookup(ROUTER) is None
    assert len(RouteTable()) == 0
    assert repr(RouteTable()) == "<RouteTable empty>"
    assert repr(RouteTable([route("10.0.0.0/8")])) == "<RouteTable 10.0.0.0/8>"
