"""The driver over a transport in memory: backpressure, timers, ends. Virtual time."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
from dpkt import pcapng

from sstpsocks.errors import ConnectionLost, TunnelClosed
from sstpsocks.link import LinkPhase
from sstpsocks.tunnel.driver import MAX_EARLY_PACKETS, OUTPUT_BUDGET
from sstpsocks.tunnel.streams import TcpStream
from sstpsocks.tunnel.taps import PcapTap
from tests.helpers.certificates import Issued
from tests.helpers.driver_pair import DriverPair, running_drivers

Clock = trio.testing.MockClock
RESET = OSError(errno.ECONNRESET, "Connection reset by peer")


async def expect_lost(stream: TcpStream) -> None:
    """A program that waits for data learns that the tunnel is gone."""
    with pytest.raises(trio.BrokenResourceError) as caught:
        await stream.receive_some()
    assert isinstance(caught.value.__cause__, ConnectionLost)


async def read_until_lost(stream: TcpStream) -> bytes:
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        return received
    raise AssertionError("the stream ended in order")


async def receive_exactly(stream: TcpStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        data = await stream.receive_some()
        assert data
        received += data
    assert len(received) == count
    return bytes(received)


async def test_packets_that_come_before_the_stack_are_kept_for_it(
    autojump_clock: Clock, good: Issued, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv6 may open before IPv4, and a server advertises itself at once."""
    pair = DriverPair(good, ca_file)
    link = pair.client.link
    receive_data = link.receive_data
    batches = 0

    def with_early_packets(data: bytes, now: float) -> tuple[bytes, list[tuple[int, int]]]:
        nonlocal batches
        buffer, spans = receive_data(data, now)
        if link.phase is LinkPhase.UP:
            return buffer, spans
        batches += 1
        return buffer, [(0, 1)] * 3

    monkeypatch.setattr(link, "receive_data", with_early_packets)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.server.run)
        nursery.start_soon(pair.client.run)
        await pair.client.up.wait()
        await pair.server.up.wait()
        await pair.connect()
        nursery.cancel_scope.cancel()
    assert batches * 3 > MAX_EARLY_PACKETS
    assert pair.client.stack.counters.ip_in_truncated_pkts == MAX_EARLY_PACKETS


async def test_carries_data_both_ways(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    data = bytes(range(256)) * 2000
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        for sender, receiver in ((stream, peer), (peer, stream)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, data)
                assert await receive_exactly(receiver, len(data)) == data


async def test_builds_no_packets_while_the_socket_takes_none(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        # Some traffic first, so that TCP would send a lot at once.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, bytes(1_000_000))
            await receive_exactly(peer, 1_000_000)
        await trio.sleep(1)
        pair.client.transport.outgoing.resize(0)
        octets = pair.client.stack.counters.ip_out_octets
        accepted = stream.send_nowait(bytes(200_000))
        built = pair.client.stack.counters.ip_out_octets - octets
        assert 0 < built <= OUTPUT_BUDGET + 2 * 1400
        accepted += stream.send_nowait(bytes(50_000))
        pair.client.driver.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert accepted == 250_000
        assert pair.client.stack.counters.ip_out_octets - octets == built
        (connection,) = pair.client.stack.connections.values()
        assert connection.unsent_and_unacknowledged == accepted

        pair.client.transport.outgoing.resize(256 * 1024)
        await receive_exactly(peer, accepted)


async def test_a_socket_that_takes_little_at_a_time_loses_nothing(
    autojump_clock: Clock, good: Issued, ca_file: str
) -> None:
    data = bytes(range(251)) * 400
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        pair.client.transport.outgoing.resize(1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            assert await receive_exactly(peer, len(data)) == data


async def test_a_batch_notifies_a_flow_once(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        readable: list[int] = []
        stream.set_readable_callback(lambda: readable.append(sum(map(len, stream.readable_pieces()))))
        peer.send_nowait(bytes(9000))
        await trio.testing.wait_all_tasks_blocked()
        assert readable == [9000]


async def test_what_is_not_read_pins_no_batches(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    """A few octets of a stalled flow must not keep the decrypted batches alive that they came with."""
    async with running_drivers(good, ca_file) as pair:
        stalled, stalled_peer = await pair.connect(80)
        busy, busy_peer = await pair.connect(81)
        for _ in range(30):
            stalled_peer.send_nowait(bytes(100))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(busy_peer.send_all, bytes(300_000))
                await receive_exactly(busy, 300_000)
        pieces = stalled.readable_pieces()
        assert sum(map(len, pieces)) == 3000
        assert len(pieces) == 1
        assert sum(len(piece.obj) for piece in pieces if isinstance(piece.obj, bytes)) == 3000


async def test_data_queued_by_another_task_arms_the_timer(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, _ = await pair.connect()
        await trio.testing.wait_all_tasks_blocked()
        pair.server.transport.reads = False
        stream.send_nowait(b"unheard")
        await trio.sleep(5)
        # Long before the hello timer, which the driver waited for when the data was queued.
        assert pair.client.stack.counters.tcp_retrans_segs >= 1


async def test_timers_run_while_data_comes_without_end(
    mock_clock: Clock, good: Issued, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, _ = await pair.connect()
        await trio.testing.wait_all_tasks_blocked()
        pair.server.transport.reads = False
        retransmitted: list[int] = []

        def receive_nowait() -> bytes:
            mock_clock.jump(0.1)
            retransmitted.append(pair.client.stack.counters.tcp_retrans_segs)
            if len(retransmitted) > 100:
                return b""
            pair.server.engine.write(pair.server.link.frame_packets([bytes(40)]))
            return pair.server.engine.ciphertext_to_send()

        monkeypatch.setattr(pair.client.transport, "receive_nowait", receive_nowait)
        stream.send_nowait(b"unheard")
        pair.client.transport.incoming.changed.unpark_all()
        pair.client.transport.incoming.data += b"?"  # wakes the reader
        await pair.client.ended.wait()
    assert retransmitted[30] >= 1


async def test_end_of_the_stream_ends_the_tunnel_and_its_flows(
    autojump_clock: Clock, good: Issued, ca_file: str
) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, _ = await pair.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost, stream)
            await trio.testing.wait_all_tasks_blocked()
            pair.client.transport.incoming.ended = True
            pair.client.transport.incoming.changed.unpark_all()
        await pair.client.ended.wait()
        assert isinstance(pair.client.down.error, TunnelClosed)
        assert "closed the connection" in str(pair.client.down.error)
        assert pair.client.transport.closed


@pytest.mark.parametrize("direction", ["reading", "writing"])
async def test_a_socket_error_ends_the_tunnel_and_its_flows(
    autojump_clock: Clock, good: Issued, ca_file: str, direction: str
) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, _ = await pair.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_lost, stream)
            await trio.testing.wait_all_tasks_blocked()
            if direction == "reading":
                pair.client.transport.break_now(RESET)
            else:
                pair.client.transport.send_error = RESET
                stream.send_nowait(b"into the void")
        await pair.client.ended.wait()
        assert isinstance(pair.client.down.error, TunnelClosed)
        assert "Connection reset" in str(pair.client.down.error)


async def test_a_broken_tls_record_ends_the_tunnel(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with running_drivers(good, ca_file) as pair:
        pair.client.transport.incoming.data += b"\x17\x03\x03\x00\x20" + bytes(32)
        pair.client.transport.incoming.changed.unpark_all()
        await pair.client.ended.wait()
        assert isinstance(pair.client.down.error, TunnelClosed)
        assert "TLS" in str(pair.client.down.error)


async def test_a_broken_record_behind_good_data_does_not_escape(
    autojump_clock: Clock, good: Issued, ca_file: str
) -> None:
    """The data is taken and answered, and the answer is what finds TLS broken."""
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        pair.client.transport.reads = False
        peer.send_nowait(bytes(4000))
        pair.client.transport.incoming.data += b"\x17\x03\x03\x00\x20" + bytes(32)
        pair.client.transport.reads = True
        pair.client.transport.incoming.changed.unpark_all()
        assert len(await stream.receive_some(4000)) > 0
        await read_until_lost(stream)
        await pair.client.ended.wait()
        assert isinstance(pair.client.down.error, TunnelClosed)


async def test_packets_before_the_disconnect_of_their_batch_are_delivered(
    autojump_clock: Clock, good: Issued, ca_file: str
) -> None:
    async with running_drivers(good, ca_file) as pair:
        stream, peer = await pair.connect()
        pair.client.transport.reads = False
        peer.send_nowait(b"last words")
        peer.send_nowait(b".")
        await trio.testing.wait_all_tasks_blocked()
        pair.server.driver.act(lambda: pair.server.link.sstp.disconnect(pair.server.driver.now()))
        pair.client.transport.reads = True
        pair.client.transport.incoming.changed.unpark_all()
        assert await read_until_lost(stream) == b"last words."


async def test_close_says_goodbye_on_every_floor(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with running_drivers(good, ca_file) as pair:
        begin = trio.current_time()
        pair.client.driver.close()
        await pair.client.ended.wait()
        await pair.server.ended.wait()
        assert pair.client.down.error is None
        assert isinstance(pair.server.down.error, TunnelClosed)
        assert "ended PPP" in str(pair.server.down.error)
        assert pair.server.link.sstp.closed
        assert trio.current_time() - begin < 2
    pair.server.engine.feed(bytes(pair.server.transport.incoming.data))
    pair.server.engine.read_available()
    assert pair.server.engine.at_eof


@pytest.mark.parametrize("capacity", [256 * 1024, 0])
async def test_a_server_that_stops_reading_does_not_hold_up_the_end(
    autojump_clock: Clock, good: Issued, ca_file: str, capacity: int
) -> None:
    async with running_drivers(good, ca_file) as pair:
        pair.server.transport.reads = False
        pair.client.transport.outgoing.resize(capacity)
        begin = trio.current_time()
        pair.client.driver.close()
        await pair.client.ended.wait()
        assert pair.client.down.error is None
        assert trio.current_time() - begin < 8
    if capacity:
        # Both farewells were sent, although the first was never answered.
        pair.server.engine.feed(bytes(pair.server.transport.incoming.data))
        said = pair.server.engine.read_available()
        assert b"\xc0\x21\x05" in said  # LCP Terminate-Request
        assert bytes.fromhex("1001001400060001") in said  # CALL_DISCONNECT


async def test_cancelling_leaves_nothing_running(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    async with trio.open_nursery() as waiting:
        async with running_drivers(good, ca_file) as pair:
            stream, _ = await pair.connect()
            waiting.start_soon(expect_lost, stream)
            await trio.testing.wait_all_tasks_blocked()
    assert pair.client.transport.closed
    assert pair.server.transport.closed
    assert pair.client.link.phase is LinkPhase.CLOSED
    pair.client.driver.flush()
    pair.client.driver.close()
    pair.client.driver.act(lambda: pytest.fail("the driver is over"))


async def test_closed_before_it_began(autojump_clock: Clock, good: Issued, ca_file: str) -> None:
    pair = DriverPair(good, ca_file)
    pair.client.driver.close()
    await pair.client.driver.run()
    assert pair.client.down.error is None
    assert pair.client.transport.closed


async def test_a_driver_whose_timers_nobody_serves_is_behind(
    good: Issued, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = DriverPair(good, ca_file)
    driver = pair.client.driver
    monkeypatch.setattr(driver, "now", lambda: 100.0)
    assert driver.behind == 0.0, "nothing is due before it has begun"
    monkeypatch.setattr(pair.client.link, "poll_at", lambda: 70.0)
    assert driver.behind == 30.0
    monkeypatch.setattr(pair.client.link, "poll_at", lambda: 130.0)
    assert driver.behind == 0.0
    driver.close()
    await driver.run()
    monkeypatch.setattr(pair.client.link, "poll_at", lambda: 70.0)
    assert driver.behind == 0.0, "it is over"


async def test_the_tap_sees_both_directions(autojump_clock: Clock, good: Issued, ca_file: str, tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    tap = PcapTap(str(path))
    async with running_drivers(good, ca_file, tap=tap) as pair:
        stream, peer = await pair.connect()
        stream.send_nowait(b"out-bound")
        peer.send_nowait(b"in-bound")
        await trio.sleep(1)
    tap.close()
    with path.open("rb") as file:
        packets = [bytes(data) for _time, data in pcapng.Reader(file)]
    for payload in (b"out-bound", b"in-bound"):
        assert sum(packet.endswith(payload) for packet in packets) == 1
    counters = pair.client.stack.counters
    assert len(packets) == counters.ip_in_receives + counters.ip_out_transmits
