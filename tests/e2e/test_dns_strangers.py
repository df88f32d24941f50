"""The DNS port as strangers meet it: silent, slow, many, gone, off this machine, and with messages that are none."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from sstpsocks.dns.desk import Desk
from sstpsocks.dns.listener import IDLE, MAX_AMPLIFICATION, MAX_CONNECTIONS, DnsConnection, open_dns_listener
from sstpsocks.dns.replies import make_reply

Address = tuple[str, int]


class Records:
    """Answers every question with as many TXT records of 50 characters as its first label says."""

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        name = query.question[0].name
        records = [f'"{number:050}"' for number in range(int(name.labels[0]))]
        answer = [dns.rrset.from_text_list(name, 60, "IN", "TXT", records)] if records else []
        return make_reply(query, dns.rcode.NOERROR, answer=answer)


@asynccontextmanager
async def dns_port(host: str = "127.0.0.1") -> AsyncIterator[Address]:
    listener = await open_dns_listener(host, 0)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, Desk(Records()))
            yield listener.address
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


def question(records: int = 1) -> bytes:
    return dns.message.make_query(f"{records}.test", "TXT").to_wire()


def framed(wire: bytes) -> bytes:
    return struct.pack("!H", len(wire)) + wire


async def answer_on(stream: trio.abc.Stream) -> dns.message.Message:
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        more = await stream.receive_some()
        assert more, "the port closed the connection"
        data += more
    return dns.message.from_wire(data[2:])


async def by_udp(address: Address, wire: bytes, source: Address = ("127.0.0.1", 0)) -> bytes:
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.bind(source)
        await sock.connect(address)
        await sock.send(wire)
        return await sock.recv(65535)


# Connections


async def test_a_connection_that_says_nothing_is_closed_after_half_a_minute(mock_clock: MockClock) -> None:
    async with dns_port() as address, await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(framed(question()))
        assert len((await answer_on(stream)).answer) == 1
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(IDLE - 1)
        await stream.send_all(framed(question()))
        assert len((await answer_on(stream)).answer) == 1
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(IDLE)
        assert await stream.receive_some() == b""


async def test_a_connection_that_drips_a_question_is_closed_as_if_it_were_silent(autojump_clock: MockClock) -> None:
    client, server = trio.testing.memory_stream_pair()

    async def drip() -> None:
        for octet in framed(question()):
            await client.send_all(bytes((octet,)))
            await trio.sleep(IDLE / 3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        begin = trio.current_time()
        await DnsConnection(server, Desk(Records()), "client").serve()
        assert trio.current_time() - begin == pytest.approx(IDLE)
        nursery.cancel_scope.cancel()


async def test_a_connection_that_takes_no_answers_is_closed(autojump_clock: MockClock) -> None:
    client, server = trio.testing.lockstep_stream_pair()
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, framed(question()))
        await DnsConnection(server, Desk(Records()), "client").serve()
    assert trio.current_time() - begin == pytest.approx(IDLE)


async def test_beyond_the_bound_a_connection_waits_until_another_ends() -> None:
    async with dns_port() as address, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await trio.open_tcp_stream(*address)) for _ in range(MAX_CONNECTIONS)
        ]
        await streams[-1].send_all(framed(question()))
        await answer_on(streams[-1])
        one_more = await stack.enter_async_context(await trio.open_tcp_stream(*address))
        await one_more.send_all(framed(question()))
        with trio.move_on_after(0.2) as waited:
            await one_more.receive_some()
        assert waited.cancelled_caught
        await streams[0].aclose()
        with trio.fail_after(5):
            assert len((await answer_on(one_more)).answer) == 1


async def test_a_question_may_come_octet_by_octet() -> None:
    async with dns_port() as address, await trio.open_tcp_stream(*address) as stream:
        for octet in framed(question()):
            await stream.send_all(bytes((octet,)))
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            assert len((await answer_on(stream)).answer) == 1


@pytest.mark.parametrize(
    "wire", [b"", b"\x00", b"x" * 11, b"\x00" * 12], ids=["empty", "octet", "scrap", "no question"]
)
async def test_a_message_that_is_no_question_ends_the_connection(wire: bytes) -> None:
    async with dns_port() as address, await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(framed(wire) + framed(question()))
        with trio.fail_after(5):
            said = b""
            while data := await stream.receive_some():
                said += data
        # At most the refusal of the first, never an answer to what came behind it.
        assert len(said) in (0, 2 + 12)


async def test_clients_that_leave_in_every_way_do_not_disturb_the_next() -> None:
    async with dns_port() as address:
        for leaving in (b"", b"\x00", b"\x00\x20", framed(question(400)), framed(question())[:-1]):
            with socket.create_connection(address) as sock:
                # The connection is reset, not ended (SO_LINGER with no time).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(leaving)
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with await trio.open_tcp_stream(*address) as stream:
            await stream.send_all(framed(question()))
            with trio.fail_after(5):
                assert len((await answer_on(stream)).answer) == 1


# Datagrams


async def test_a_client_that_is_gone_when_its_answer_comes_does_not_disturb_the_next() -> None:
    async with dns_port() as address:
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(question(), address)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(dns.message.from_wire(await by_udp(address, question())).answer) == 1


@pytest.mark.parametrize("wire", [b"", b"x" * 11, b"\xff" * 12, b"\xff" * 512])
async def test_datagrams_that_are_no_question_are_met_with_silence(wire: bytes) -> None:
    async with dns_port() as address:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.setblocking(False)
            stranger.sendto(wire, address)
            # By the time that somebody else has an answer, the stranger has none.
            assert await by_udp(address, question())
            with pytest.raises(BlockingIOError):
                stranger.recv(512)


async def test_another_machine_gets_at_most_three_times_what_it_sent_and_the_rest_by_tcp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: which address would it be?
        except OSError:
            pytest.skip("this machine has no address but loopback")
        own = probe.getsockname()[0]
    wire = dns.message.make_query("9.test", "TXT", use_edns=0, payload=4096).to_wire()
    async with dns_port("0.0.0.0") as (_host, port):  # noqa: S104  # that it is not loopback is the point
        assert len(await by_udp(("127.0.0.1", port), wire)) > MAX_AMPLIFICATION * len(wire)
        reply = await by_udp((own, port), wire, source=(own, 0))
        assert len(reply) <= MAX_AMPLIFICATION * len(wire)
        assert dns.message.from_wire(reply).flags & dns.flags.TC
        async with await trio.open_tcp_stream(own, port) as stream:
            await stream.send_all(framed(wire))
            with trio.fail_after(5):
                assert len((await answer_on(stream)).answer[0]) == 9


# What a response repeats of its question, and how long it is


async def test_the_question_comes_back_in_the_case_it_had() -> None:
    """Some resolvers choose the case at random and take no answer without it (draft-vixie-dnsext-dns0x20)."""
    name = b"\x0210\x09WeB-tESTt\x04TeSt\x00"
    wire = question()[:12] + name + b"\x00\x10\x00\x01"
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    assert reply[12 : 12 + len(name)] == name


async def test_a_size_below_512_octets_is_taken_for_512() -> None:
    # RFC 6891 section 6.2.3
    wire = dns.message.make_query("6.test", "TXT", use_edns=0, payload=100).to_wire()
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    assert 100 < len(reply) <= 512
    assert not dns.message.from_wire(reply).flags & dns.flags.TC


async def test_no_more_than_4096_octets_go_by_udp_whatever_the_client_takes() -> None:
    wire = dns.message.make_query("100.test", "TXT", use_edns=0, payload=65535).to_wire()
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).flags & dns.flags.TC


async def test_without_edns_the_response_has_none() -> None:
    reply = await Desk(Records()).respond(question(), "client", udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).edns == -1


async def test_with_edns_the_response_has_it_and_the_do_bit() -> None:
    # RFC 6891 section 6.1.1, RFC 3225 section 3
    wire = dns.message.make_query("1.test", "TXT", want_dnssec=True).to_wire()
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert message.edns == 0
    assert message.ednsflags & dns.flags.DO


async def test_an_unknown_option_of_edns_is_ignored() -> None:
    # RFC 6891 section 6.1.2
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"whatever")
    wire = dns.message.make_query("1.test", "TXT", use_edns=0, options=[option]).to_wire()
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert (message.rcode(), len(message.answer), message.options) == (dns.rcode.NOERROR, 1, ())


async def test_another_version_of_edns_is_told_so() -> None:
    # RFC 6891 section 6.1.3
    wire = dns.message.make_query("1.test", "TXT", use_edns=1).to_wire()
    reply = await Desk(Records()).respond(wire, "client", udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.BADVERS


async def test_two_opt_records_are_malformed() -> None:
    # RFC 6891 section 6.1.1: "If a query message with more than one OPT RR is received, a FORMERR (RCODE=1) MUST be
    # returned."
    wire = bytearray(dns.message.make_query("1.test", "TXT", use_edns=0).to_wire())
    wire[11] = 2
    reply = await Desk(Records()).respond(bytes(wire) + bytes(wire[-11:]), "client", udp=True)
    assert reply is not None
    assert reply[3] & 0x0F == dns.rcode.FORMERR


@pytest.mark.parametrize(
    "name",
    [b"\xc0\x0c", b"\x3f" + b"a" * 62, b"\x40a\x00", b"\x80a\x00", b"\x01a" * 128 + b"\x00"],
    ids=["a pointer to itself", "cut within a label", "label type 01", "label type 10", "more than 255 octets"],
)
async def test_a_name_that_is_none_is_malformed(name: bytes) -> None:
    reply = await Desk(Records()).respond(question()[:12] + name + b"\x00\x10\x00\x01", "client", udp=True)
    assert reply is not None
    assert reply[3] & 0x0F == dns.rcode.FORMERR
