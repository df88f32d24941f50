"""TcpStream: trio's own conformance suite, and what the suite does not ask."""

from __future__ import annotations

import pytest
import trio
from trio.testing import check_half_closeable_stream

from sstpsocks.errors import ConnectionLost, ConnectionRefused
from sstpsocks.net.config import StackConfig
from sstpsocks.tunnel.streams import TcpAcceptor, TcpStream
from tests.helpers.stack_pair import RIGHT, StackPair, running_stack_pair


async def clog(stream: TcpStream) -> None:
    """Send until the peer's window and our buffer are full and every acknowledgement has come."""
    while stream.send_nowait(bytes(65536)):
        while stream.send_nowait(bytes(65536)):
            pass
        await trio.sleep(1)


async def test_passes_trios_conformance_suite(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:

        async def make_pair() -> tuple[TcpStream, TcpStream]:
            return await pair.connect()

        async def make_clogged_pair() -> tuple[TcpStream, TcpStream]:
            stream, peer = await pair.connect()
            for end in (stream, peer):
                await clog(end)
            return stream, peer

        await check_half_closeable_stream(make_pair, make_clogged_pair)


async def test_refused_connection_raises_its_dial_error() -> None:
    async with running_stack_pair() as pair:
        stream = TcpStream(pair.left.connect_tcp(RIGHT, 81, pair.now()), pair)
        pair.flush()
        with pytest.raises(ConnectionRefused):
            await stream.wait_connected()
        stream.abort()


async def test_half_close_keeps_the_other_direction(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        stream, peer = await pair.connect()
        await stream.send_all(b"question")
        await stream.send_eof()
        assert await peer.receive_some() == b"question"
        assert await peer.receive_some() == b""
        await peer.send_all(b"answer")
        assert await stream.receive_some() == b"answer"
        await peer.aclose()
        assert await stream.receive_some() == b""


async def test_reset_breaks_the_stream_and_says_why(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        stream, peer = await pair.connect()
        peer.abort()
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionLost)
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_slow_reader_stops_the_sender_and_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    config = StackConfig(
        receive_buffer_initial=64 * 1024,
        receive_buffer_maximum=64 * 1024,
        send_buffer_initial=64 * 1024,
        send_buffer_maximum=64 * 1024,
    )
    data = bytes(range(256)) * 4096
    async with running_stack_pair(config) as pair:
        stream, peer = await pair.connect()
        received = bytearray()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(data)
                await stream.send_eof()

            nursery.start_soon(send)
            await trio.sleep(30)
            assert peer.readable_pieces()
            assert sum(map(len, peer.readable_pieces())) <= 64 * 1024
            async for piece in peer:
                received += piece
                await trio.sleep(0.01)
        assert bytes(received) == data


async def test_readable_callback_comes_in_the_turn_without_a_task(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        stream, peer = await pair.connect()
        seen: list[bytes] = []

        def take() -> None:
            pieces = stream.readable_pieces()
            seen.append(b"".join(pieces))
            stream.consume(sum(map(len, pieces)))

        stream.set_readable_callback(take)
        peer.send_nowait(b"at once")
        assert seen == [b"at once"]
        await peer.aclose()
        assert stream.at_eof


async def test_acceptor_that_is_closed_wakes_its_waiter() -> None:
    pair = StackPair()
    acceptor = TcpAcceptor(pair.right.listen_tcp(80), pair)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await acceptor.accept()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        acceptor.close()


async def test_a_connection_that_was_begun_tells_when_it_stands(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        acceptor = TcpAcceptor(pair.right.listen_tcp(80), pair)
        for port, connected in ((80, True), (81, False)):
            stream = TcpStream(pair.left.connect_tcp(RIGHT, port, pair.now()), pair)
            called = trio.Event()
            stream.set_readable_callback(called.set)
            assert not stream.connected
            pair.flush()
            assert called.is_set()
            assert stream.connected is connected
            assert isinstance(stream.failure, ConnectionRefused) is not connected
            stream.abort()
        acceptor.close()


async def test_ends_without_a_checkpoint(autojump_clock: trio.testing.MockClock) -> None:
    async with running_stack_pair() as pair:
        stream, peer = await pair.connect()
        with trio.testing.assert_no_checkpoints():
            stream.send_nowait(b"last words")
            stream.send_eof_nowait()
            stream.send_eof_nowait()
        with pytest.raises(trio.ClosedResourceError):
            stream.send_nowait(b"more")
        assert await peer.receive_some() == b"last words"
        assert await peer.receive_some() == b""
        with trio.testing.assert_no_checkpoints():
            stream.close_nowait()
            stream.close_nowait()
        with pytest.raises(trio.ClosedResourceError):
            stream.send_eof_nowait()
        peer.abort()
