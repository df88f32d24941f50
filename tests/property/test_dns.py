"""Whatever a DNS server sends, a look-up ends with addresses or a DialError."""

from __future__ import annotations

from ipaddress import IPv4Address

import dns.flags
import dns.message
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.dns.names import normalise_name
from sstpsocks.dns.resolver import Resolver
from sstpsocks.errors import DialError, NameNotFound
from tests.helpers.fake_network import FakeNetwork

Mutation = list[tuple[int, int]]
mutations: st.SearchStrategy[Mutation] = st.lists(
    st.tuples(st.integers(min_value=2, max_value=400), st.integers(min_value=0, max_value=255)), max_size=6
)


def mutate(wire: bytes, mutation: Mutation) -> bytes:
    changed = bytearray(wire)
    for position, value in mutation:
        changed[position % len(changed)] = value
    return bytes(changed)


@settings(deadline=None, max_examples=150)
@given(udp=mutations, tcp=mutations, truncated=st.booleans())
def test_mutated_answers(udp: Mutation, tcp: Mutation, truncated: bool) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            network = FakeNetwork(nursery)
            network.dns.records["www.test", "CNAME"] = ["web.test."]
            network.dns.records["web.test", "A"] = ["10.0.0.1", "10.0.0.2"]

            def answer(query: dns.message.Message, transport: str) -> list[bytes]:
                response = network.dns.respond(query)
                if transport == "udp" and truncated:
                    response.flags |= dns.flags.TC
                return [mutate(response.to_wire(), udp if transport == "udp" else tcp)]

            network.dns.responder = answer
            try:
                addresses = await Resolver(network).resolve("www.test")
            except DialError:
                pass
            else:
                assert addresses
                assert all(isinstance(address, IPv4Address) for address in addresses)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=300) | st.text("aä1.。-_ \\\x00", max_size=40))
def test_any_text_is_a_name_or_not(text: str) -> None:
    try:
        name = normalise_name(text)
    except NameNotFound:
        return
    assert normalise_name(name) == name
    assert len(name) <= 253
    assert all(0 < len(label) <= 63 for label in name.split("."))
