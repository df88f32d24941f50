"""Whatever arrives at the DNS port, it gets an answer or silence."""

from __future__ import annotations

import dns.message
import dns.rcode
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.dns.desk import Desk
from sstpsocks.dns.replies import make_reply

QUERY = dns.message.make_query("www.example.test", "A", use_edns=0, want_dnssec=True).to_wire()


class Empty:
    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        return make_reply(query, dns.rcode.NOERROR)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    wire = bytearray(QUERY)
    for _ in range(draw(st.integers(1, 4))):
        wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.integers(0, len(wire)))]) + draw(st.binary(max_size=8))


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=80) | damaged(), st.booleans())
def test_any_message_gets_an_answer_to_itself_or_silence(wire: bytes, udp: bool) -> None:
    reply = trio.run(lambda: Desk(Empty()).respond(wire, "client", udp=udp))
    if reply is None:
        assert len(wire) < 12 or wire[2] & 0x80
    else:
        assert reply[:2] == wire[:2]
        assert reply[2] & 0x80
        dns.message.from_wire(reply)
