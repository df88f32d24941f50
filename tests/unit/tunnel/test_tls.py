"""The TLS engine in memory and the stream around it."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from OpenSSL import SSL

from sstpsocks.errors import CertificateRejected, LocalProtocolError, TlsFailed
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.tls import RECORD_SIZE, TlsEngine, TlsStream
from sstpsocks.tunnel.trust import server_context
from tests.helpers.certificates import Issued, issue
from tests.helpers.tls import carry, client_engine, server_engine, shake_hands


@pytest.fixture
def trust(ca_file: str) -> TrustSettings:
    return TrustSettings(server_name="vpn.example.com", ca_file=ca_file)


@pytest.fixture
def engines(trust: TrustSettings, good: Issued) -> tuple[TlsEngine, TlsEngine]:
    client, server = client_engine(trust), server_engine(good)
    shake_hands(client, server)
    return client, server


def test_both_ends_agree_on_what_was_negotiated(engines: tuple[TlsEngine, TlsEngine], good: Issued) -> None:
    client, server = engines
    assert client.version == server.version == "TLSv1.3"
    assert client.cipher == server.cipher != ""
    assert client.peer_certificate_der() == good.der
    assert server.requested_hostname == "vpn.example.com"
    with pytest.raises(TlsFailed, match="no certificate"):
        server.peer_certificate_der()


@pytest.mark.parametrize("size", [1, 1404, RECORD_SIZE, RECORD_SIZE + 1, 1_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_buffer_of_any_size_arrives_whole(
    engines: tuple[TlsEngine, TlsEngine], size: int, kind: type[bytes | bytearray | memoryview]
) -> None:
    client, server = engines
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    client.write(kind(data))
    assert carry(client, server) == data
    server.write(kind(data))
    assert carry(server, client) == data


def test_records_of_a_batch_come_in_one_piece_and_in_order(engines: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = engines
    packets = [bytes([number]) * 1404 for number in range(100)]
    for packet in packets:
        server.write(packet)
    assert carry(server, client) == b"".join(packets)
    assert client.read_available() == b""


def test_ciphertext_cut_anywhere_is_put_together(engines: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = engines
    server.write(b"one")
    server.write(b"two")
    received = b""
    for byte in server.ciphertext_to_send():
        client.feed(bytes([byte]))
        received += client.read_available()
    assert received == b"onetwo"


def test_empty_input_and_output_do_nothing(engines: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = engines
    carry(server, client)  # the session tickets
    client.feed(b"")
    client.write(b"")
    assert client.ciphertext_to_send() == b""
    assert client.read_available() == b""
    assert not client.at_eof


def test_session_tickets_are_no_data_and_no_end(trust: TrustSettings, good: Issued) -> None:
    client, server = client_engine(trust), server_engine(good)
    shake_hands(client, server)
    # TLS 1.3 sends tickets behind the handshake (RFC 8446 section 4.6.1); they are still in the client's input.
    assert client.version == "TLSv1.3"
    assert client.read_available() == b""
    assert not client.at_eof


def test_close_notify_is_the_end_behind_the_last_data(engines: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = engines
    server.write(b"last words")
    server.close_notify()
    assert carry(server, client) == b"last words"
    assert client.at_eof
    assert client.read_available() == b""
    client.close_notify()
    client.close_notify()
    assert carry(client, server) == b""
    assert server.at_eof


def test_a_forged_record_fails_behind_what_came_before_it_and_for_good(engines: tuple[TlsEngine, TlsEngine]) -> None:
    client, server = engines
    server.write(b"genuine")
    genuine = server.ciphertext_to_send()
    server.write(b"forged")
    forged = bytearray(server.ciphertext_to_send())
    forged[-1] ^= 1
    client.feed(genuine + forged)
    assert client.read_available() == b"genuine"
    for _ in range(2):
        with pytest.raises(TlsFailed, match="the connection failed"):
            client.read_available()
    assert "failed" in repr(client)


def test_no_data_passes_before_the_handshake(trust: TrustSettings) -> None:
    client = client_engine(trust)
    with pytest.raises(LocalProtocolError):
        client.write(b"early")
    with pytest.raises(LocalProtocolError):
        client.read_available()
    client.close_notify()
    assert client.ciphertext_to_send() == b""


@pytest.mark.parametrize(
    "banner",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail ESMTP\r\n", b"\x05\x00" + bytes(20)],
)
def test_another_protocol_is_called_so(trust: TrustSettings, banner: bytes) -> None:
    client = client_engine(trust)
    assert not client.handshake()
    client.feed(banner)
    with pytest.raises(TlsFailed, match="the server does not speak TLS on this port") as caught:
        client.handshake()
    assert str(caught.value).startswith("server vpn.example.com:443, TLS: ")
    assert caught.value.hint
    assert caught.value.exit_code == 6


def test_nonsense_that_looks_like_tls_is_a_failed_handshake(trust: TrustSettings) -> None:
    client = client_engine(trust)
    assert not client.handshake()
    client.feed(b"\x16\x03\x03\x00\x04abcd")
    with pytest.raises(TlsFailed, match="handshake failed"):
        client.handshake()


def test_no_common_cipher_is_explained(trust: TrustSettings, good: Issued) -> None:
    context = server_context(good.chain, good.key)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")  # of no use with the server's ECDSA key
    client, server = client_engine(trust), TlsEngine(context, server_side=True)
    assert not client.handshake()
    server.feed(client.ciphertext_to_send())
    with pytest.raises(TlsFailed, match="no TLS cipher suite in common"):
        server.handshake()
    client.feed(server.ciphertext_to_send())
    with pytest.raises(TlsFailed, match="refused the handshake"):
        client.handshake()


# The stream


def make_streams(
    trust: TrustSettings, good: Issued, transports: tuple[trio.abc.Stream, trio.abc.Stream]
) -> tuple[TlsStream, TlsStream]:
    left, right = transports
    return TlsStream(left, client_engine(trust)), TlsStream(right, server_engine(good))


async def lockstep_streams(trust: TrustSettings, good: Issued) -> tuple[TlsStream, TlsStream]:
    """Streams over a transport that holds nothing. TLS 1.2, whose tickets are part of the handshake: those of 1.3 would
    be stuck in the transport until somebody reads."""
    left, right = trio.testing.lockstep_stream_pair()
    context = server_context(good.chain, good.key)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = TlsStream(left, client_engine(trust)), TlsStream(right, TlsEngine(context, server_side=True))
    await shake(client, server)
    return client, server


async def shake(client: TlsStream, server: TlsStream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)


async def test_the_stream_behaves_like_a_stream(
    trust: TrustSettings, good: Issued, autojump_clock: trio.testing.MockClock
) -> None:
    async def make() -> tuple[TlsStream, TlsStream]:
        streams = make_streams(trust, good, trio.testing.memory_stream_pair())
        await shake(*streams)
        return streams

    async def make_clogged() -> tuple[TlsStream, TlsStream]:
        return await lockstep_streams(trust, good)

    await trio.testing.check_two_way_stream(make, make_clogged)


async def test_the_end_of_the_transport_without_close_notify_is_the_end_of_the_stream(
    trust: TrustSettings, good: Issued
) -> None:
    client, server = make_streams(trust, good, trio.testing.memory_stream_pair())
    await shake(client, server)
    await server.send_all(b"last words")
    await trio.aclose_forcefully(server.transport)
    assert await client.receive_some() == b"last words"
    assert await client.receive_some() == b""
    assert await client.receive_some() == b""


async def test_a_limit_hands_out_the_rest_later_and_none_hands_out_all(trust: TrustSettings, good: Issued) -> None:
    client, server = make_streams(trust, good, trio.testing.memory_stream_pair())
    await shake(client, server)
    await server.send_all(b"abcdefgh")
    assert await client.receive_some(3) == b"abc"
    assert await client.receive_some(3) == b"def"
    assert await client.receive_some() == b"gh"


async def test_a_driver_can_take_engine_and_transport_over(trust: TrustSettings, good: Issued) -> None:
    client, server = make_streams(trust, good, trio.testing.memory_stream_pair())
    await shake(client, server)
    await server.send_all(b"HTTP and ")
    await server.send_all(b"SSTP")
    received = await client.receive_some()
    while len(received) < 13:
        received += await client.receive_some()
    assert received == b"HTTP and SSTP"
    client.engine.write(b"from the driver")
    await client.transport.send_all(client.engine.ciphertext_to_send())
    assert await server.receive_some() == b"from the driver"


async def test_data_before_the_handshake_is_refused(trust: TrustSettings, good: Issued) -> None:
    client, _ = make_streams(trust, good, trio.testing.memory_stream_pair())
    with pytest.raises(trio.NeedHandshakeError):
        await client.send_all(b"early")
    with pytest.raises(trio.NeedHandshakeError):
        await client.receive_some()


async def test_a_peer_that_hangs_up_during_the_handshake_is_named(trust: TrustSettings, good: Issued) -> None:
    left, right = trio.testing.memory_stream_pair()
    client = TlsStream(left, client_engine(trust))
    await right.send_stream.aclose()
    with pytest.raises(TlsFailed, match="closed the connection during the handshake"):
        await client.do_handshake()


async def test_the_peer_hears_the_alert_of_a_refusal(trust: TrustSettings) -> None:
    client, server = make_streams(trust, issue(["vpn.example.com"]), trio.testing.memory_stream_pair())
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def refuse() -> None:
            with pytest.raises(CertificateRejected):
                await client.do_handshake()

        with pytest.raises(TlsFailed, match="alert"):
            await server.do_handshake()


async def test_a_reader_is_not_held_up_by_a_blocked_writer(trust: TrustSettings, good: Issued) -> None:
    """Both ends send more than the transport holds; neither would read if reading waited for the writer."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    left = await trio.open_tcp_stream("127.0.0.1", port)
    right = await listeners[0].accept()
    client, server = make_streams(trust, good, (left, right))
    await shake(client, server)
    size = 20_000_000

    async def drain(stream: TlsStream) -> None:
        received = 0
        while received < size:
            received += len(await stream.receive_some())

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for stream in (client, server):
                nursery.start_soon(stream.send_all, bytes(size))
                nursery.start_soon(drain, stream)
    await client.aclose()
    assert await server.receive_some() == b""
    await server.aclose()
    await listeners[0].aclose()


async def test_after_a_send_that_was_cut_short_nothing_more_is_sent(trust: TrustSettings, good: Issued) -> None:
    client, _ = await lockstep_streams(trust, good)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"half a record")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"more")
