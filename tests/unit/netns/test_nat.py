"""What programs in the namespace experience: connections, echo requests and names, through the whole NAT."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address

import dns.message
import pytest
import trio
from trio.testing import MockClock

from sstpsocks.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimedOut,
    DeniedByRule,
    DialError,
    HostUnreachable,
    NetworkUnreachable,
    TunnelDown,
)
from sstpsocks.net.config import StackConfig
from sstpsocks.netns.plan import GATEWAY, GATEWAY6
from sstpsocks.tunnel.ping import ping
from sstpsocks.tunnel.streams import TcpAcceptor, TcpStream
from tests.helpers.stack_pair import RIGHT
from tests.unit.netns.rig import ANSWER, Rig, is_open, rig

TARGET6 = IPv6Address("2001:db8::77")
SMALL = StackConfig(
    receive_buffer_initial=32 * 1024,
    receive_buffer_maximum=32 * 1024,
    send_buffer_initial=32 * 1024,
    send_buffer_maximum=32 * 1024,
)
DATA = os.urandom(3_000_000)


async def connected(it: Rig, port: int = 80) -> tuple[TcpStream, TcpStream]:
    """Return a program's stream, and that of the far end."""
    acceptor = TcpAcceptor(it.outside.right.listen_tcp(port), it.outside)
    program = await it.program.connect(RIGHT, port)
    far = await acceptor.accept()
    acceptor.close()
    return program, far


async def read_all(stream: TcpStream) -> bytes:
    data = bytearray()
    while chunk := await stream.receive_some():
        data += chunk
    return bytes(data)


async def test_a_program_talks_to_the_target_and_each_end_is_passed_on_by_itself(clock: MockClock) -> None:
    async with rig() as it:
        program, far = await connected(it)
        await program.send_all(b"question")
        await program.send_eof()
        assert await read_all(far) == b"question"
        await far.send_all(b"answer")
        await far.send_eof()
        assert await read_all(program) == b"answer"


async def test_the_target_may_end_first_and_still_be_sent_to(clock: MockClock) -> None:
    async with rig() as it:
        program, far = await connected(it)
        await far.send_all(b"that is all")
        await far.send_eof()
        assert await read_all(program) == b"that is all"
        await program.send_all(b"thanks")
        await program.send_eof()
        assert await read_all(far) == b"thanks"


@pytest.mark.parametrize("config", [None, SMALL])
async def test_large_transfers_arrive_whole_in_both_directions_at_once(
    clock: MockClock, config: StackConfig | None
) -> None:
    async with rig(config=config) as it:
        program, far = await connected(it)
        received: dict[str, bytes] = {}

        async def send(stream: TcpStream, data: bytes) -> None:
            await stream.send_all(data)
            await stream.send_eof()

        async def receive(name: str, stream: TcpStream) -> None:
            received[name] = await read_all(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, program, DATA)
            nursery.start_soon(send, far, DATA[::-1])
            nursery.start_soon(receive, "up", far)
            nursery.start_soon(receive, "down", program)
    assert received["up"] == DATA
    assert received["down"] == DATA[::-1]


@pytest.mark.parametrize("reader", ["far", "program"])
async def test_who_does_not_read_stops_the_sender_at_the_other_end(clock: MockClock, reader: str) -> None:
    async with rig(config=SMALL) as it:
        program, far = await connected(it)
        sender, receiver = (program, far) if reader == "far" else (far, program)
        sent = 0
        with trio.move_on_after(5):
            while True:
                await sender.wait_send_all_might_not_block()
                sent += sender.send_nowait(bytes(10_000))
        # What fits the buffers on the way: of the program's stack, the gateway's and the tunnel's ends.
        assert sent < 2_000_000
        with trio.move_on_after(5):
            while True:
                await receiver.receive_some()
        before = sent
        sent += sender.send_nowait(bytes(10_000))
        assert sent == before + 10_000


async def test_the_program_connects_only_when_the_target_has(clock: MockClock) -> None:
    async with rig() as it:
        it.outside.slow = True
        it.outside.right.listen_tcp(80)
        begun = trio.current_time()
        await it.program.connect()
        assert trio.current_time() - begun >= 0.5


async def test_a_refused_connection_is_refused(clock: MockClock) -> None:
    async with rig() as it:
        with pytest.raises(ConnectionRefused):
            await it.program.connect(RIGHT, 81)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefused("x"), ConnectionRefused), (NetworkUnreachable("x"), NetworkUnreachable),
        (TunnelDown("x"), NetworkUnreachable), (HostUnreachable("x"), HostUnreachable),
        (DeniedByRule("x"), HostUnreachable), (ConnectTimedOut("x"), ConnectTimedOut),
    ],
)  # fmt: skip
async def test_the_program_is_told_why(clock: MockClock, slow: bool, error: DialError, told: type[DialError]) -> None:
    async with rig() as it:
        it.outside.slow, it.outside.refuse = slow, error
        with pytest.raises(told):
            await it.program.connect()


async def test_a_target_that_is_silent_is_dialled_again_with_the_next_syn(clock: MockClock) -> None:
    async with rig() as it:
        it.outside.refuse = ConnectTimedOut("nobody")
        with pytest.raises(ConnectTimedOut):
            await it.program.connect()
        assert len(it.outside.dialled) > 2


async def test_a_reset_of_either_end_is_a_reset_of_the_other(clock: MockClock) -> None:
    async with rig() as it:
        program, far = await connected(it)
        program.abort()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
        program, far = await connected(it)
        far.abort()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await program.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionLost)
        assert it.nat.connections == 0


async def test_a_reset_behind_an_end_is_passed_on_too(clock: MockClock) -> None:
    async with rig() as it:
        program, far = await connected(it)
        await program.send_eof()
        assert await far.receive_some() == b""
        far.abort()
        with pytest.raises(trio.BrokenResourceError):
            await program.receive_some()


async def test_what_was_sent_before_a_reset_is_not_mistaken_for_everything(clock: MockClock) -> None:
    async with rig() as it:
        program, far = await connected(it)
        await far.send_all(b"half of")
        assert await program.receive_some() == b"half of"
        far.abort()
        with pytest.raises(trio.BrokenResourceError):
            await read_all(program)


async def test_several_hundred_connections_at_once_keep_apart(clock: MockClock) -> None:
    async with rig() as it:
        acceptor = TcpAcceptor(it.outside.right.listen_tcp(80), it.outside)
        back: dict[int, bytes] = {}

        async def echo(stream: TcpStream) -> None:
            await stream.send_all((await read_all(stream))[::-1])
            await stream.send_eof()

        async def serve(nursery: trio.Nursery) -> None:
            for _ in range(300):
                nursery.start_soon(echo, await acceptor.accept())

        async def talk(number: int) -> None:
            stream = await it.program.connect()
            await stream.send_all(f"program {number} ".encode() * 50)
            await stream.send_eof()
            back[number] = await read_all(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, nursery)
            for number in range(300):
                nursery.start_soon(talk, number)
        assert back == {number: (f"program {number} ".encode() * 50)[::-1] for number in range(300)}
        await trio.sleep(10)
        assert it.nat.connections == 0
        assert it.nat.gateway.connections == {}


async def test_connections_beyond_the_bound_wait_for_room(clock: MockClock) -> None:
    async with rig(max_connections=3) as it:  # the name servers' listener is none of them
        it.outside.right.listen_tcp(80)
        streams = [await it.program.connect() for _ in range(3)]
        with trio.move_on_after(5) as patience:
            await it.program.connect()
        assert patience.cancelled_caught
        streams[0].abort()
        await it.program.connect()


async def test_ipv6_goes_the_same_way(clock: MockClock) -> None:
    async with rig() as it:
        TcpAcceptor(it.outside.right.listen_tcp(80), it.outside)
        program = await it.program.connect(TARGET6)
        assert it.outside.dialled == [(TARGET6, 80)]
        assert program.remote_address == (TARGET6, 80)


# Echo requests


@pytest.mark.parametrize(("target", "size"), [(RIGHT, 84), (RIGHT, 4000), (TARGET6, 104)])
async def test_an_echo_request_is_sent_outside_in_its_size_and_answered_here(
    clock: MockClock, target: IPv4Address | IPv6Address, size: int
) -> None:
    async with rig() as it:
        seconds = await ping(it.program.stack, it.program, target, size=size, limit=5.0)
    assert it.outside.pinged == [(target, size)]
    assert seconds >= 0.5


async def test_an_echo_request_without_a_reply_ends_as_outside(clock: MockClock) -> None:
    async with rig() as it:
        it.outside.refuse = HostUnreachable("gone")
        with pytest.raises(HostUnreachable):
            await ping(it.program.stack, it.program, RIGHT, size=84, limit=5.0)
        it.outside.refuse = ConnectTimedOut("silent")
        with pytest.raises(ConnectTimedOut):
            await ping(it.program.stack, it.program, RIGHT, size=84, limit=5.0)


# Names


@pytest.mark.parametrize("gateway", [GATEWAY, GATEWAY6])
async def test_names_are_answered_at_the_gateway_by_udp(clock: MockClock, gateway: IPv4Address | IPv6Address) -> None:
    query = dns.message.make_query("www.example.", "A")
    async with rig() as it:
        udp = it.program.udp()
        for _ in range(2):  # asked again while the first question is under way
            await udp.send_to(query.to_wire(), gateway, 53)
        payload, sender, port = await udp.receive_from()
        assert (sender, port) == (gateway, 53)
        response = dns.message.from_wire(payload)
        assert (response.id, response.answer[0][0].to_text()) == (query.id, ANSWER)
        with trio.move_on_after(5) as patience:
            await udp.receive_from()
        assert patience.cancelled_caught
    assert it.outside.ports == []


async def test_names_are_answered_by_tcp_as_well(clock: MockClock) -> None:
    query = dns.message.make_query("www.example.", "A").to_wire()
    async with rig() as it:
        stream = await it.program.connect(GATEWAY, 53)
        await stream.send_all(len(query).to_bytes(2, "big") + query)
        answer = await stream.receive_some()
        assert dns.message.from_wire(answer[2:]).answer[0][0].to_text() == ANSWER
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert it.outside.dialled == []


async def test_other_ports_of_the_gateway_are_closed(clock: MockClock) -> None:
    async with rig() as it:
        with pytest.raises(ConnectionRefused):
            await it.program.connect(GATEWAY, 80)
    assert it.outside.dialled == []


# The end


async def test_the_end_of_the_namespace_ends_everything_outside(clock: MockClock) -> None:
    async with rig() as it:
        _, far = await connected(it)
        await it.program.udp().send_to(b"x", RIGHT, 7)
        await trio.sleep(1)
        it.program.device.close()
        with pytest.raises(trio.BrokenResourceError):
            await far.receive_some()
        await it.served.wait()
        assert not is_open(it.descriptor)
        assert (it.nat.connections, it.outside.left.connections) == (0, {})
        with pytest.raises(trio.ClosedResourceError):
            it.outside.ports[0].receive_nowait()


async def test_what_was_sent_is_delivered_after_the_programs_end(clock: MockClock) -> None:
    async with rig(config=SMALL) as it:
        program, far = await connected(it)
        received = bytearray()

        async def read_slowly() -> None:
            while chunk := await far.receive_some(20_000):
                received.extend(chunk)
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly)
            await program.send_all(DATA[:300_000])
            await program.aclose()
            await it.nat.drain()
            delivered = len(received) + sum(map(len, far.readable_pieces()))
            assert delivered == 300_000


async def test_who_lives_on_and_says_nothing_is_not_waited_for(clock: MockClock) -> None:
    async with rig() as it:
        await connected(it)
        begun = trio.current_time()
        await it.nat.drain()
        assert trio.current_time() - begun < 2
