"""DHCP: whatever comes is taken or refused in one way, and what a server means is what we read."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import dpkt
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import RemoteProtocolError
from sstpsocks.net.dhcp import DhcpInformer
from sstpsocks.net.dhcp_message import MAX_SEARCH_DOMAINS, DhcpInform, DhcpInformation
from sstpsocks.net.route import Route, RouteTable
from tests.helpers.dhcp import ACK, answer, encode, routes_option

addresses = st.integers(0, 0xFFFFFFFF).map(IPv4Address)
networks = st.builds(
    lambda address, width: IPv4Network((int(address) >> (32 - width) << (32 - width), width)),
    addresses,
    st.integers(0, 32),
)
labels = st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join)

INFORM = DhcpInform(transaction=7, address=IPv4Address("10.20.0.10"), identifier=bytes(16))
REQUEST = INFORM.to_bytes()


def compressed(names: list[str]) -> bytes:
    """Write names as a server does that compresses all it can."""
    out = b""
    seen: dict[str, int] = {}
    for name in names:
        rest = name
        while rest:
            if rest in seen:
                out += (0xC000 | seen[rest]).to_bytes(2, "big")
                break
            seen[rest] = len(out)
            label, _, rest = rest.partition(".")
            out += bytes((len(label),)) + label.encode()
        else:
            out += b"\0"
    return out


def split(code: int, value: bytes, size: int) -> list[tuple[int, bytes]]:
    return [(code, value[start : start + size]) for start in range(0, len(value), size)]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(networks, addresses), max_size=20),
    st.lists(domains, max_size=12, unique=True),
    st.integers(1, 255),
)
def test_what_a_server_writes_is_what_is_read(
    routes: list[tuple[IPv4Network, IPv4Address]], search: list[str], piece: int
) -> None:
    written = routes_option(*((str(network), str(gateway)) for network, gateway in routes))[1]
    options = split(121, written, piece) + split(119, compressed(search), piece)
    information = DhcpInformation.parse(answer(REQUEST, options), INFORM)
    expected = tuple(Route(network, None if gateway.is_unspecified else gateway) for network, gateway in routes)
    assert information.routes == expected
    assert information.search == tuple(search)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=600), st.binary(max_size=128), st.binary(max_size=64), st.integers(0, 3))
def test_random_options_are_taken_or_refused(options: bytes, file: bytes, sname: bytes, overload: int) -> None:
    raw = encode([ACK, (52, bytes((overload,)))], end=False) + options
    try:
        information = DhcpInformation.parse(answer(REQUEST, file=file, sname=sname, raw_options=raw), INFORM)
    except RemoteProtocolError:
        return
    assert len(information.search) <= MAX_SEARCH_DOMAINS
    assert all(len(domain) <= 253 for domain in information.search)
    str(information)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([1, 6, 15, 54, 119, 121, 249]), st.binary(max_size=300))
def test_random_contents_of_known_options_are_taken_or_refused(code: int, value: bytes) -> None:
    try:
        DhcpInformation.parse(answer(REQUEST, split(code, value, 255), head=[ACK]), INFORM)
    except RemoteProtocolError:
        return


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.binary(max_size=400), st.floats(0, 5)), max_size=20))
def test_the_machine_always_comes_to_an_end(inputs: list[bytes | float]) -> None:
    machine = DhcpInformer(IPv4Address("10.0.0.2"), SeededEntropy(1))
    now = 0.0
    machine.start(now)
    sent = len(machine.data_to_send(now))
    for item in inputs:
        if isinstance(item, bytes):
            machine.receive_data(item, now)
        else:
            now += item
            machine.handle_timer(now)
        sent += len(machine.data_to_send(now))
    while (deadline := machine.poll_at()) is not None:
        now = max(now, deadline)
        machine.handle_timer(now)
        sent += len(machine.data_to_send(now))
        after = machine.poll_at()
        assert after is None or after > now
    assert machine.done
    assert sent == 3


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 0xFFFFFFFF), addresses, st.binary(min_size=16, max_size=16), st.one_of(st.none(), labels))
def test_the_request_reads_back_as_it_was_meant(
    transaction: int, address: IPv4Address, identifier: bytes, host_name: str | None
) -> None:
    message = dpkt.dhcp.DHCP(
        DhcpInform(transaction=transaction, address=address, identifier=identifier, host_name=host_name).to_bytes()
    )
    options = dict(message.opts)
    assert (message.xid, message.ciaddr) == (transaction, int(address))
    assert options[61] == b"\0" + identifier
    assert options.get(12) == (None if host_name is None else host_name.encode())


@settings(deadline=None, max_examples=200)
@given(st.lists(networks, max_size=12, unique=True), addresses)
def test_the_table_finds_what_a_search_through_all_routes_finds(
    pushed: list[IPv4Network], address: IPv4Address
) -> None:
    found = RouteTable(map(Route, pushed)).lookup(address)
    matching = [network for network in pushed if address in network]
    expected = max(matching, key=lambda network: network.prefixlen, default=None)
    assert (found.network if found is not None else None) == expected
