"""The DNS port on real loopback sockets, and the desk behind it."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest
import trio
import trio.testing

from sstpsocks.dns.desk import MAX_PER_CLIENT, Desk
from sstpsocks.dns.listener import DnsListener, open_dns_listener
from sstpsocks.dns.replies import make_reply
from sstpsocks.errors import ConfigError


class Numbers:
    """Answers every question with as many TXT records as its first label says; "wait" waits for ``go``."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.asked: list[str] = []

    async def answer(self, query: dns.message.Message) -> dns.message.Message:
        name = query.question[0].name
        label = name.labels[0].decode()
        self.asked.append(label)
        if label == "wait":
            await self.go.wait()
            return make_reply(query, dns.rcode.NOERROR)
        records = [f'"{number:050}"' for number in range(int(label))]
        answer = [dns.rrset.from_text_list(name, 60, "IN", "TXT", records)] if records else []
        return make_reply(query, dns.rcode.NOERROR, answer=answer)


@pytest.fixture
def numbers() -> Numbers:
    return Numbers()


@pytest.fixture
async def port(numbers: Numbers, nursery: trio.Nursery) -> AsyncIterator[DnsListener]:
    listener = await open_dns_listener("127.0.0.1", 0)
    nursery.start_soon(listener.serve, Desk(numbers))
    yield listener
    nursery.cancel_scope.cancel()
    listener.close()


async def by_udp(port: DnsListener, wire: bytes) -> dns.message.Message:
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        await sock.connect(port.address)
        await sock.send(wire)
        return dns.message.from_wire(await sock.recv(65535))


async def read_message(stream: trio.SocketStream, buffer: bytearray) -> dns.message.Message:
    with trio.fail_after(5):
        while len(buffer) < 2 or len(buffer) < 2 + int.from_bytes(buffer[:2], "big"):
            data = await stream.receive_some()
            assert data
            buffer += data
    end = 2 + int.from_bytes(buffer[:2], "big")
    message = dns.message.from_wire(bytes(buffer[2:end]))
    del buffer[:end]
    return message


def framed(message: dns.message.Message) -> bytes:
    wire = message.to_wire()
    return struct.pack("!H", len(wire)) + wire


async def test_what_does_not_fit_is_fetched_by_tcp(port: DnsListener) -> None:
    query = dns.message.make_query("40.test", "TXT")
    short = await by_udp(port, query.to_wire())
    assert short.flags & dns.flags.TC
    assert short.answer == []
    async with await trio.open_tcp_stream(*port.address) as stream:
        await stream.send_all(framed(query))
        assert len((await read_message(stream, bytearray())).answer[0]) == 40


async def test_clients_with_edns_get_more_by_udp(port: DnsListener) -> None:
    query = dns.message.make_query("40.test", "TXT", use_edns=0, payload=4096)
    assert len((await by_udp(port, query.to_wire())).answer[0]) == 40
    small = dns.message.make_query("40.test", "TXT", use_edns=0, payload=100)
    assert (await by_udp(port, small.to_wire())).flags & dns.flags.TC


async def test_questions_on_one_connection_are_answered_as_their_answers_come(
    port: DnsListener, numbers: Numbers
) -> None:
    first, second = dns.message.make_query("wait.test", "TXT"), dns.message.make_query("1.test", "TXT")
    async with await trio.open_tcp_stream(*port.address) as stream:
        buffer = bytearray()
        await stream.send_all(framed(first) + framed(second))
        assert (await read_message(stream, buffer)).id == second.id
        numbers.go.set()
        assert (await read_message(stream, buffer)).id == first.id
        await stream.send_eof()
        assert await stream.receive_some() == b""


async def test_a_question_that_is_sent_again_is_asked_once(port: DnsListener, numbers: Numbers) -> None:
    wire = dns.message.make_query("wait.test", "TXT").to_wire()
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, trio.fail_after(5):
        await sock.connect(port.address)
        for _ in range(3):
            await sock.send(wire)
        await sock.send(dns.message.make_query("0.test", "TXT").to_wire())
        await sock.recv(65535)
        assert numbers.asked == ["wait", "0"]
        numbers.go.set()
        await sock.recv(65535)


async def test_one_client_cannot_take_all_room(numbers: Numbers, nursery: trio.Nursery) -> None:
    desk = Desk(numbers)

    async def ask(client: str, name: str) -> dns.message.Message:
        wire = await desk.respond(dns.message.make_query(name, "TXT").to_wire(), client, udp=True)
        assert wire is not None
        return dns.message.from_wire(wire)

    for _ in range(MAX_PER_CLIENT):
        nursery.start_soon(ask, "greedy", "wait.test")
    await trio.testing.wait_all_tasks_blocked()
    assert (await ask("greedy", "1.test")).rcode() == dns.rcode.SERVFAIL
    assert (await ask("modest", "1.test")).rcode() == dns.rcode.NOERROR
    numbers.go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (await ask("greedy", "1.test")).rcode() == dns.rcode.NOERROR


async def test_strangers_get_no_more_than_three_times_what_they_sent(numbers: Numbers) -> None:
    wire = dns.message.make_query("9.test", "TXT").to_wire()
    reply = await Desk(numbers).respond(wire, "far", udp=True, limit=3 * len(wire))
    assert reply is not None
    assert len(reply) <= 3 * len(wire)
    assert dns.message.from_wire(reply).flags & dns.flags.TC


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda wire: wire[:2] + bytes((wire[2] | dns.opcode.UPDATE << 3,)) + wire[3:], dns.rcode.NOTIMP),
        (lambda wire: wire[:5] + b"\x02" + wire[6:], dns.rcode.FORMERR),
        (lambda wire: wire[:5] + b"\x00" + wire[6:12], dns.rcode.FORMERR),
        (lambda wire: wire[:-1], dns.rcode.FORMERR),
        (lambda wire: wire + b"x", dns.rcode.FORMERR),
        (lambda wire: wire[:-2] + b"\x00\x03", dns.rcode.REFUSED),
        (lambda wire: wire[:-4] + b"\x00\xfc\x00\x01", dns.rcode.NOTIMP),
    ],
)
async def test_what_is_no_usual_question_gets_its_code(
    numbers: Numbers, change: object, rcode: dns.rcode.Rcode
) -> None:
    assert callable(change)
    reply = await Desk(numbers).respond(change(dns.message.make_query("1.test", "TXT").to_wire()), "client", udp=True)
    assert reply is not None
    assert reply[3] & 0x0F == rcode
    assert numbers.asked == []


async def test_all_types_at_once_get_one_small_record(numbers: Numbers) -> None:
    reply = await Desk(numbers).respond(dns.message.make_query("1.test", "ANY").to_wire(), "client", udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).answer[0].to_text() == '1.test. 60 IN HINFO "RFC8482" ""'


async def test_responses_and_scraps_are_met_with_silence(numbers: Numbers) -> None:
    desk = Desk(numbers)
    response = dns.message.make_response(dns.message.make_query("1.test", "TXT")).to_wire()
    assert await desk.respond(response, "client", udp=True) is None
    assert await desk.respond(b"short", "client", udp=True) is None


async def test_a_port_that_is_taken_is_told(port: DnsListener) -> None:
    with pytest.raises(ConfigError, match="cannot listen for DNS on"):
        await open_dns_listener(*port.address)
