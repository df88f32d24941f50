"""The relay between a real loopback socket and a stream of our own stack."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from sstpsocks.errors import ConnectionLost
from sstpsocks.net.config import StackConfig
from sstpsocks.proxy import relay as relay_module
from sstpsocks.proxy.relay import Relay, reset_on_close
from sstpsocks.tunnel.streams import TcpStream
from tests.helpers.stack_pair import StackPair, running_stack_pair

SMALL = StackConfig(
    receive_buffer_initial=64 * 1024,
    receive_buffer_maximum=64 * 1024,
    send_buffer_initial=64 * 1024,
    send_buffer_maximum=64 * 1024,
)
DATA = bytes(range(251)) * 8000  # 2 MB, more than all buffers on the way


class Relayed:
    """A local program, a relay, and the far end in the tunnel."""

    def __init__(self, pair: StackPair, program: trio.SocketStream, stream: TcpStream, peer: TcpStream) -> None:
        self.pair = pair
        self.program = program
        self.stream = stream
        self.peer = peer
        self.ended = trio.Event()
        self.scope = trio.CancelScope()

    async def run(self, local: trio.SocketStream, early_data: bytes) -> None:
        with self.scope:
            await relay(local, self.stream, early_data)
        self.ended.set()


async def relay(local: trio.SocketStream, stream: TcpStream, early_data: bytes = b"") -> None:
    """Relay until it is over."""
    raw = socket.socket(fileno=local.socket.detach())
    raw.setblocking(False)
    async with trio.open_nursery() as nursery:
        it = Relay(raw, stream, nursery)
        it.start()
        await it.run(early_data)


async def loopback_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two connected TCP sockets with small buffers; a socketpair() could not be reset."""
    program = trio.socket.socket()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for sock in (program, listener):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, 32 * 1024)
        await program.connect(listener.getsockname())
        accepted, _address = listener.accept()
    accepted.setblocking(False)
    return trio.SocketStream(program), trio.SocketStream(trio.socket.from_stdlib_socket(accepted))


@asynccontextmanager
async def relayed(early_data: bytes = b"", config: StackConfig = SMALL) -> AsyncIterator[Relayed]:
    async with running_stack_pair(config) as pair, trio.open_nursery() as nursery:
        stream, peer = await pair.connect()
        program, local = await loopback_pair()
        it = Relayed(pair, program, stream, peer)
        nursery.start_soon(it.run, local, early_data)
        try:
            with trio.fail_after(20):
                yield it
        finally:
            program.socket.close()
        nursery.cancel_scope.cancel()


async def settle() -> None:
    """Wait until nothing happens any more, the kernel included."""
    await trio.testing.wait_all_tasks_blocked(0.02)


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = bytearray()
    while data := await stream.receive_some():
        received += data
    return bytes(received)


async def receive_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += await stream.receive_some(count - len(received))
    return bytes(received)


def all_tasks(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from all_tasks(child)


async def expect_reset(program: trio.SocketStream) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await read_all(program)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def expect_tunnel_reset(peer: TcpStream) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await read_all(peer)
    assert isinstance(caught.value.__cause__, ConnectionLost)


def vectors_or_not() -> list[str]:
    """Windows has no sendmsg(); what replaces it is tested wherever there is one."""
    return ["sendmsg", "send"] if hasattr(socket.socket, "sendmsg") else ["send"]


@pytest.fixture(params=vectors_or_not())
def way_of_sending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "send":
        monkeypatch.setattr(relay_module, "_send_pieces", relay_module._send_first)
    return str(request.param)


def test_a_platform_without_sendmsg_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", type("SocketOfWindows", (), {}))
    spec = importlib.util.find_spec(relay_module.__name__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert fresh._send_pieces is fresh._send_first


async def test_both_directions_at_once(way_of_sending: str) -> None:
    async with relayed(b"early ") as it:
        results: dict[str, bytes] = {}

        async def send(stream: trio.abc.HalfCloseableStream) -> None:
            await stream.send_all(DATA)
            await stream.send_eof()

        async def read(name: str, stream: trio.abc.ReceiveStream) -> None:
            results[name] = await read_all(stream)

        async with trio.open_nursery() as nursery:
            for end in (it.program, it.peer):
                nursery.start_soon(send, end)
            nursery.start_soon(read, "program", it.program)
            nursery.start_soon(read, "peer", it.peer)
        await it.ended.wait()
        assert results["program"] == DATA
        assert results["peer"] == b"early " + DATA
        assert it.stream.failure is None


async def test_end_of_the_upload_leaves_the_download_open() -> None:
    async with relayed() as it:
        await it.program.send_all(b"question")
        await it.program.send_eof()
        assert await read_all(it.peer) == b"question"
        await settle()
        await it.peer.send_all(b"answer")
        assert await it.program.receive_some() == b"answer"
        await it.peer.send_eof()
        assert await it.program.receive_some() == b""
        await it.ended.wait()


async def test_end_of_the_download_leaves_the_upload_open() -> None:
    async with relayed() as it:
        await it.peer.send_all(b"greeting")
        await it.peer.send_eof()
        assert await read_all(it.program) == b"greeting"
        await settle()
        await it.program.send_all(b"thanks")
        assert await it.peer.receive_some() == b"thanks"
        await it.program.send_eof()
        assert await it.peer.receive_some() == b""
        await it.ended.wait()


async def test_data_that_came_before_the_relay_is_not_forgotten() -> None:
    async with running_stack_pair(SMALL) as pair, trio.open_nursery() as nursery:
        stream, peer = await pair.connect()
        peer.send_nowait(b"220 ready\r\n")
        await peer.send_eof()
        program, local = await loopback_pair()
        async with program:
            nursery.start_soon(relay, local, stream)
            with trio.fail_after(20):
                assert await read_all(program) == b"220 ready\r\n"


async def test_a_slow_program_closes_the_window_and_loses_nothing(way_of_sending: str) -> None:
    async with relayed() as it:
        sent = trio.Event()

        async def send() -> None:
            await it.peer.send_all(DATA)
            await it.peer.send_eof()
            sent.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            previous = -1
            while (held := it.stream._connection.readable) != previous or not held:
                previous = held
                await settle()
            assert not sent.is_set()
            assert held <= 64 * 1024
            # The window is closed: the far end holds what it still has.
            assert it.peer._connection.send_room() == 0
            assert await read_all(it.program) == DATA
        await it.program.send_eof()
        await it.ended.wait()


async def test_what_a_slow_program_leaves_pins_little_memory() -> None:
    """Unread pieces are copied out of the decrypted batches, and are few."""
    async with relayed() as it:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.peer.send_all, DATA)
            await settle()
            for _ in range(5):
                await settle()
            pieces = it.stream.readable_pieces()
            assert sum(map(len, pieces)) > 30_000
            pinned = {id(piece.obj): len(piece.obj) for piece in pieces if isinstance(piece.obj, bytes)}
            assert sum(pinned.values()) <= 2 * 64 * 1024
            assert len(pieces) <= 64
            nursery.cancel_scope.cancel()


async def test_only_a_slow_program_has_a_second_task() -> None:
    def waiting() -> int:
        return sum(task.name.endswith("_wait_for_program") for task in all_tasks(trio.lowlevel.current_root_task()))

    async with relayed() as it:
        it.peer.send_nowait(b"little")
        await settle()
        assert waiting() == 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.peer.send_all, DATA)
            await settle()
            assert waiting() == 1
            assert len(await receive_exactly(it.program, 6 + len(DATA))) == 6 + len(DATA)
        await settle()
        assert waiting() == 0


async def test_the_program_is_not_read_while_the_tunnel_is_full() -> None:
    async with relayed() as it:
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                await it.program.send_all(bytes(10_000))
                sent += 10_000

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            previous = -1
            while sent != previous:
                previous = sent
                await settle()
            # What the relay and both stacks hold; the rest waits in the kernel and in the program.
            held = it.stream._connection.unsent_and_unacknowledged + it.peer._connection.readable
            assert it.stream._connection.send_room() == 0
            assert held <= 2 * 64 * 1024 + 1
            raw_queue = sent - held
            assert raw_queue > 0
            nursery.cancel_scope.cancel()


async def test_reset_in_the_tunnel_is_a_reset_for_the_program() -> None:
    async with relayed() as it:
        await it.peer.send_all(b"half of it")
        assert await it.program.receive_some() == b"half of it"
        it.peer.abort()
        await expect_reset(it.program)
        await it.ended.wait()


async def test_reset_after_the_end_of_the_download_still_reaches_an_idle_program() -> None:
    async with relayed() as it:
        await it.peer.send_eof()
        assert await it.program.receive_some() == b""
        await settle()
        it.peer.abort()
        await it.ended.wait()
        # The reset came after the end of the stream, so it is the next thing the program hears of.
        with pytest.raises(trio.BrokenResourceError):
            await it.program.send_all(b"is anybody there?")


async def test_reset_by_the_program_is_a_reset_in_the_tunnel() -> None:
    async with relayed() as it:
        await it.program.send_all(b"stop this")
        assert await it.peer.receive_some() == b"stop this"
        raw = socket.socket(fileno=it.program.socket.detach())
        reset_on_close(raw)
        raw.close()
        await expect_tunnel_reset(it.peer)
        await it.ended.wait()


async def test_a_program_that_goes_away_in_a_download_resets_the_tunnel() -> None:
    async with relayed() as it:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await it.peer.send_all(DATA * 10)

            nursery.start_soon(send)
            await it.program.receive_some(1000)
            await it.program.aclose()
        await it.ended.wait()


async def test_cancelling_resets_both_sides() -> None:
    async with relayed() as it:
        await settle()
        it.scope.cancel()
        await it.ended.wait()
        await expect_reset(it.program)
        await expect_tunnel_reset(it.peer)


async def test_early_data_larger_than_the_buffers_arrives() -> None:
    async with relayed(DATA) as it:
        await it.program.send_eof()
        assert await read_all(it.peer) == DATA


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
async def test_no_open_file_is_left() -> None:
    async def once() -> None:
        async with relayed() as it:
            await it.program.send_eof()
            assert await read_all(it.peer) == b""
            await it.peer.send_eof()
            await it.ended.wait()

    await once()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await once()
    assert len(os.listdir("/proc/self/fd")) == before
