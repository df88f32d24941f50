"""The way to the server, step by step, over memory streams and loopback sockets."""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from sstpsocks.errors import (
    CertificateRejected,
    HttpRejected,
    SstpsocksError,
    TlsFailed,
    TransportFailed,
    TunnelError,
)
from sstpsocks.ppp.auth import Credentials
from sstpsocks.sstp.http import ServerPrelude
from sstpsocks.tunnel import reach, upstream
from sstpsocks.tunnel.reach import connect_transport, set_low_water
from sstpsocks.tunnel.settings import CredentialRequest, Timeouts, TrustSettings, TunnelSettings
from sstpsocks.tunnel.steps import Step, StepReport, ignore_steps
from sstpsocks.tunnel.tls import TlsEngine, TlsStream
from sstpsocks.tunnel.trust import choose_roots, server_context
from sstpsocks.tunnel.upstream import open_sstp, start_tls
from tests.helpers.certificates import Issued, authority, issue

NAME = "vpn.example.com"
CORRELATION_ID = "{00000000-0000-4000-8000-000000000000}"


async def no_credentials(_request: CredentialRequest) -> Credentials:
    raise AssertionError("nobody should ask for credentials here")


def settings_for(
    *, host: str = NAME, port: int = 443, connect_to: tuple[str, int] | None = None, trust: TrustSettings | None = None
) -> TunnelSettings:
    return TunnelSettings(
        host=host,
        port=port,
        connect_to=connect_to,
        trust=trust or TrustSettings(server_name=host),
        credentials=no_credentials,
        timeouts=Timeouts(connect=15, tls=15, http=60),
    )


class Resolver(trio.abc.HostnameResolver):
    """Answers with fixed addresses, or not at all."""

    def __init__(self, addresses: list[str] | Exception | None) -> None:
        self.addresses = addresses

    async def getaddrinfo(  # type: ignore[override]  # the shape of the answer is the same
        self,
        host: bytes | None,
        port: int,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        if self.addresses is None:
            await trio.sleep_forever()
            raise AssertionError
        if isinstance(self.addresses, Exception):
            raise self.addresses
        return [
            (socket.AF_INET6, type, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, type, 6, "", (address, port))
            for address in self.addresses
        ]

    async def getnameinfo(self, sockaddr: object, flags: int) -> tuple[str, str]:
        raise AssertionError("nobody asks")


class FakeSocket(trio.socket.SocketType):
    """A socket whose connect() does what a plan says."""

    def __init__(self, plan: Callable[[str], Awaitable[None]]) -> None:
        self._plan = plan
        self.target = ""
        self.options: list[tuple[int, int]] = []

    async def connect(self, address: object) -> None:
        assert isinstance(address, tuple)
        self.target = address[0]
        await self._plan(self.target)

    def setsockopt(self, level: int, option: int, *_value: object) -> None:
        self.options.append((level, option))

    def close(self) -> None:
        closed.append(self.target)


closed: list[str] = []


@pytest.fixture(autouse=True)
def forget_closed() -> None:
    closed.clear()
    reach.reached_before.clear()


class Factory(trio.abc.SocketFactory):
    def __init__(self, plan: Callable[[str], Awaitable[None]]) -> None:
        self.plan = plan

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> trio.socket.SocketType:  # noqa: A002
        return FakeSocket(self.plan)


# Name and TCP


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, trio.SocketListener]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    try:
        yield listener.socket.getsockname()[1], listener
    finally:
        await listener.aclose()


async def test_a_connection_reports_its_steps_and_sets_its_options() -> None:
    reports: list[StepReport] = []
    async with listening() as (port, _):
        stream = await connect_transport(settings_for(host="127.0.0.1", port=port), reports.append)
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, option) == reach.NOT_SENT_LOW_WATER
        await stream.aclose()
    assert [(report.step, report.done) for report in reports] == [
        (Step.RESOLVE, False),
        (Step.RESOLVE, True),
        (Step.TCP, False),
        (Step.TCP, True),
    ]
    assert reports[1].text == "127.0.0.1"
    assert reports[3].text == f"connected to 127.0.0.1:{port}"


async def test_connect_to_replaces_the_address_only() -> None:
    async with listening() as (port, _):
        stream = await connect_transport(settings_for(connect_to=("127.0.0.1", port)), ignore_steps)
        await stream.aclose()


async def test_a_platform_without_a_low_water_mark_connects_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    async with listening() as (port, _):
        stream = await connect_transport(settings_for(host="127.0.0.1", port=port), ignore_steps)
        assert isinstance(stream, trio.SocketStream)
        assert not set_low_water(stream.socket)
        await stream.aclose()


async def test_a_refused_port_is_named() -> None:
    async with listening() as (port, listener):
        await listener.aclose()
        with pytest.raises(TransportFailed) as caught:
            await connect_transport(settings_for(host="127.0.0.1", port=port), ignore_steps)
    error = caught.value
    assert str(error) == f"could not reach server 127.0.0.1:{port}: TCP port {port} refused the connection"
    assert error.hint
    assert error.exit_code == 3


async def test_a_refusal_names_the_address_that_stands_in_for_the_servers() -> None:
    async with listening() as (port, listener):
        await listener.aclose()
        with pytest.raises(TransportFailed) as caught:
            await connect_transport(settings_for(connect_to=("127.0.0.1", port)), ignore_steps)
    assert str(caught.value) == (
        f"could not reach server {NAME}:443 at 127.0.0.1: TCP port {port} refused the connection"
    )


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with listening() as (port, _):
        trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.2", "127.0.0.1"]))
        stream = await connect_transport(settings_for(port=port), ignore_steps)
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getpeername()[0] == "127.0.0.1"
        await stream.aclose()


@pytest.mark.parametrize("silence", [None, socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")])
async def test_a_server_that_was_reached_before_is_found_without_the_name_server(silence: Exception | None) -> None:
    reports: list[StepReport] = []
    async with listening() as (port, _):
        resolver = Resolver(["127.0.0.1"])
        trio.socket.set_custom_hostname_resolver(resolver)
        await (await connect_transport(settings_for(port=port), ignore_steps)).aclose()
        resolver.addresses = silence
        with trio.fail_after(5):
            await (await connect_transport(settings_for(port=port), reports.append)).aclose()
    assert reports[1].text == "127.0.0.1 (as before: the name server does not answer)"


async def test_a_name_that_is_gone_is_not_remembered() -> None:
    async with listening() as (port, _):
        resolver = Resolver(["127.0.0.1"])
        trio.socket.set_custom_hostname_resolver(resolver)
        await (await connect_transport(settings_for(port=port), ignore_steps)).aclose()
        resolver.addresses = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        with pytest.raises(TransportFailed, match="was not found"):
            await connect_transport(settings_for(port=port), ignore_steps)


async def test_what_is_remembered_in_vain_for_minutes_is_forgotten(autojump_clock: trio.testing.MockClock) -> None:
    async def plan(_address: str) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ECONNREFUSED, "refused")

    trio.socket.set_custom_hostname_resolver(Resolver(None))
    trio.socket.set_custom_socket_factory(Factory(plan))
    reach.reached_before[NAME, 443] = reach._Reached([reach.Target(socket.AF_INET, ("192.0.2.1", 443))])
    begin = trio.current_time()
    failure = ""
    while "no answer about the name" not in failure:
        with pytest.raises(TransportFailed) as caught:
            await connect_transport(settings_for(), ignore_steps)
        failure = str(caught.value)
    assert trio.current_time() - begin == pytest.approx(reach.MEMORY_HELPS, abs=20)


async def test_a_connection_that_is_reset_before_we_look_at_it_is_a_failure() -> None:
    async def plan(_address: str) -> None:
        await trio.lowlevel.checkpoint()

    class Reset(FakeSocket):
        def getpeername(self) -> tuple[str, int]:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    class ResetFactory(Factory):
        def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> trio.socket.SocketType:  # noqa: A002
            return Reset(self.plan)

    trio.socket.set_custom_hostname_resolver(Resolver(["192.0.2.1"]))
    trio.socket.set_custom_socket_factory(ResetFactory(plan))
    with pytest.raises(TransportFailed, match="TCP port 443 reset the connection"):
        await connect_transport(settings_for(), ignore_steps)
    assert closed == ["192.0.2.1"]


async def test_a_silent_address_is_overtaken_and_families_take_turns(autojump_clock: trio.testing.MockClock) -> None:
    started: list[tuple[str, float]] = []

    async def plan(address: str) -> None:
        started.append((address, trio.current_time() - begin))
        if address != "192.0.2.2":
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Resolver(["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"]))
    trio.socket.set_custom_socket_factory(Factory(plan))
    begin = trio.current_time()
    targets = await reach.resolve("server", NAME, 443)
    sock = await reach.connect_any("server", 443, targets)
    assert isinstance(sock, FakeSocket)
    assert sock.target == "192.0.2.2"
    assert [address for address, _ in started] == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]
    assert [time for _, time in started] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert sorted(closed) == ["192.0.2.1", "2001:db8::1", "2001:db8::2"]  # the losers


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ([errno.EHOSTUNREACH], "TCP port 443 cannot be reached: no route to the host"),
        ([errno.ENETUNREACH], "TCP port 443 cannot be reached: no route to its network"),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], "TCP port 443 refused the connection"),
        ([errno.ETIMEDOUT, errno.EPERM], "TCP port 443 is forbidden by this machine's firewall or policy"),
        ([errno.EIO], "TCP port 443 cannot be reached: Input/output error"),
    ],
)
async def test_of_several_failures_the_most_telling_is_reported(codes: list[int], text: str) -> None:
    answers = {f"192.0.2.{number}": code for number, code in enumerate(codes)}

    async def plan(address: str) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(answers[address], "Input/output error")

    trio.socket.set_custom_hostname_resolver(Resolver(list(answers)))
    trio.socket.set_custom_socket_factory(Factory(plan))
    with pytest.raises(TransportFailed) as caught:
        await connect_transport(settings_for(), ignore_steps)
    assert str(caught.value) == f"could not reach server vpn.example.com:443: {text}"
    assert caught.value.hint
    assert sorted(closed) == sorted(answers)


async def test_a_silent_server_is_reached_soon_after_it_is_back(autojump_clock: trio.testing.MockClock) -> None:
    begin = trio.current_time()

    async def plan(_address: str) -> None:
        # As a system does it: a SYN now, after 1, 3, 7 and 15 s.
        for pause in (0, 1, 2, 4, 8):
            await trio.sleep(pause)
            if trio.current_time() - begin > 8:
                return
        await trio.sleep_forever()

    trio.socket.set_custom_socket_factory(Factory(plan))
    sock = await reach.connect_any("server", 443, [reach.Target(socket.AF_INET, ("192.0.2.1", 443))])
    assert isinstance(sock, FakeSocket)
    assert trio.current_time() - begin < 8 + 2.1
    assert len(closed) == 4  # the other tries


async def test_an_answer_ends_all_tries_of_an_address(autojump_clock: trio.testing.MockClock) -> None:
    begin = trio.current_time()
    tried = 0

    async def plan(_address: str) -> None:
        nonlocal tried
        tried += 1
        if tried < 3:
            await trio.sleep_forever()
        raise OSError(errno.ECONNREFUSED, "refused")

    trio.socket.set_custom_socket_factory(Factory(plan))
    with pytest.raises(TransportFailed, match="refused"):
        await reach.connect_any("server", 443, [reach.Target(socket.AF_INET, ("192.0.2.1", 443))])
    assert trio.current_time() - begin == pytest.approx(2 * reach.RENEWAL)
    assert len(closed) == 3


async def test_a_server_that_never_answers_is_given_up_within_the_limit(autojump_clock: trio.testing.MockClock) -> None:
    async def plan(_address: str) -> None:
        await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Resolver(["192.0.2.1"]))
    trio.socket.set_custom_socket_factory(Factory(plan))
    begin = trio.current_time()
    with pytest.raises(TransportFailed, match="TCP port 443 did not answer within 15 s"):
        await connect_transport(settings_for(), ignore_steps)
    assert trio.current_time() - begin == pytest.approx(15)
    assert set(closed) == {"192.0.2.1"}


async def test_a_name_server_that_never_answers_is_given_up_within_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(None))
    with pytest.raises(TransportFailed, match=r"no answer about the name vpn\.example\.com within 15 s"):
        await connect_transport(settings_for(), ignore_steps)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the name vpn.example.com was not found"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "could not be looked up (Temporary failure)"),
        (UnicodeError("label too long"), "'vpn.example.com' is not a usable host name"),
    ],
)
async def test_a_name_that_is_not_found_is_named(error: Exception, text: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(error))
    with pytest.raises(TransportFailed) as caught:
        await connect_transport(settings_for(), ignore_steps)
    assert text in str(caught.value)
    assert caught.value.hint


# TLS


class Server:
    """The far end: shakes hands, then notes every byte of application data."""

    def __init__(self, issued: Issued, transport: trio.abc.Stream) -> None:
        engine = TlsEngine(server_context(issued.chain, issued.key), server_side=True, peer="client")
        self.stream = TlsStream(transport, engine)
        self.received = b""
        self.handshake_failed = False

    async def run(self) -> None:
        try:
            await self.stream.do_handshake()
            while data := await self.stream.receive_some():
                self.received += data
        except (TlsFailed, trio.BrokenResourceError):
            self.handshake_failed = True


async def try_tls(issued: Issued, settings: TunnelSettings) -> tuple[Server, TlsStream | SstpsocksError]:
    """Run start_tls() and, if it succeeds, send something; return what each end has of it."""
    left, right = trio.testing.memory_stream_pair()
    server = Server(issued, right)
    outcome: TlsStream | SstpsocksError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        try:
            outcome = await start_tls(left, settings, ignore_steps)
            await outcome.send_all(b"application data")
        except SstpsocksError as error:
            outcome = error
        await trio.testing.wait_all_tasks_blocked()
        await trio.aclose_forcefully(left)
    return server, outcome


async def test_a_good_server_receives_data_after_its_certificate_was_verified(good: Issued, ca_file: str) -> None:
    server, outcome = await try_tls(good, settings_for(trust=TrustSettings(server_name=NAME, ca_file=ca_file)))
    assert isinstance(outcome, TlsStream)
    assert server.received == b"application data"
    assert server.stream.engine.requested_hostname == NAME


async def test_an_address_is_verified_and_not_sent_as_sni(good: Issued, ca_file: str) -> None:
    trust = TrustSettings(server_name="192.0.2.1", ca_file=ca_file)
    server, outcome = await try_tls(good, settings_for(host="192.0.2.1", trust=trust))
    assert isinstance(outcome, TlsStream)
    assert server.stream.engine.requested_hostname is None


def wrong_name(_root: Issued) -> Issued:
    return issue(["other.example.com"], _root)


def wrong_address(_root: Issued) -> Issued:
    return issue(["192.0.2.9"], _root)


def unknown_authority(_root: Issued) -> Issued:
    return issue([NAME], authority("Stranger"))


def self_signed(_root: Issued) -> Issued:
    return issue([NAME])


def expired(_root: Issued) -> Issued:
    return issue([NAME], _root, valid_from=-10, valid_until=-1)


def common_name_only(_root: Issued) -> Issued:
    return issue([], _root, subject=NAME)


@pytest.mark.parametrize("make", [wrong_name, wrong_address, unknown_authority, self_signed, expired, common_name_only])
@pytest.mark.parametrize("pinned", [False, True])
async def test_a_refused_server_receives_not_one_byte(
    root: Issued, ca_file: str, make: Callable[[Issued], Issued], pinned: bool
) -> None:
    issued = make(root)
    pins = (bytes(32),) if pinned else ()
    trust = TrustSettings(server_name=NAME, ca_file=ca_file, pins=pins)
    server, outcome = await try_tls(issued, settings_for(trust=trust))
    assert isinstance(outcome, CertificateRejected)
    assert server.received == b""
    assert outcome.sha256 == hashlib.sha256(issued.der).hexdigest()
    assert outcome.exit_code == 4
    assert not outcome.may_retry


@pytest.mark.parametrize("make", [wrong_name, unknown_authority, self_signed, expired, common_name_only])
async def test_a_pinned_server_is_trusted_whatever_its_certificate_says(
    root: Issued, make: Callable[[Issued], Issued]
) -> None:
    issued = make(root)
    for der in (issued.der, issued.public_key_der):
        trust = TrustSettings(server_name=NAME, pins=(hashlib.sha256(der).digest(),))
        server, outcome = await try_tls(issued, settings_for(trust=trust))
        assert isinstance(outcome, TlsStream)
        assert server.received == b"application data"


async def test_falling_back_to_certifi_is_reported(
    good: Issued, ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fallback = choose_roots(TrustSettings(server_name=NAME, ca_file=ca_file))
    assert fallback is not None
    monkeypatch.setattr(upstream, "choose_roots", lambda _trust: replace(fallback, is_fallback=True, source="certifi"))
    reports: list[StepReport] = []
    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(good, right).run)
        await start_tls(left, settings_for(), reports.append)
        await trio.aclose_forcefully(left)
    assert "no certificate authorities found on this system, using certifi" in [report.text for report in reports]
    assert reports[-1].done
    assert reports[-1].text.endswith("certificate verified for vpn.example.com")


async def test_a_server_that_says_nothing_is_unreachable(ca_file: str, autojump_clock: trio.testing.MockClock) -> None:
    left, _right = trio.testing.memory_stream_pair()
    begin = trio.current_time()
    with pytest.raises(TransportFailed, match="nothing came back within 15 s"):
        await start_tls(left, settings_for(trust=TrustSettings(server_name=NAME, ca_file=ca_file)), ignore_steps)
    assert trio.current_time() - begin == pytest.approx(15)


async def test_a_server_that_stops_in_the_middle_of_the_handshake_failed_at_tls(
    ca_file: str, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = trio.testing.memory_stream_pair()
    await right.send_all(b"\x16\x03\x03\x40\x00")
    with pytest.raises(TlsFailed, match="not finished within 15 s"):
        await start_tls(left, settings_for(trust=TrustSettings(server_name=NAME, ca_file=ca_file)), ignore_steps)


async def test_a_server_that_speaks_plain_http_is_told_from_a_tls_server(ca_file: str) -> None:
    settings = settings_for(host="127.0.0.1", trust=TrustSettings(server_name=NAME, ca_file=ca_file))

    async def answer_http(listener: trio.SocketListener) -> None:
        async with await listener.accept() as stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    async with listening() as (port, listener), trio.open_nursery() as nursery:
        nursery.start_soon(answer_http, listener)
        transport = await connect_transport(replace(settings, port=port), ignore_steps)
        with pytest.raises(TlsFailed, match="the server does not speak TLS on this port"):
            await start_tls(transport, settings, ignore_steps)
        await trio.aclose_forcefully(transport)


# HTTP


async def try_http(
    good: Issued, ca_file: str, serve: Callable[[TlsStream], Awaitable[None]], observe: list[StepReport] | None = None
) -> bytes:
    """Connect by TLS, let ``serve`` play the server, and return what open_sstp() returns."""
    settings = settings_for(trust=TrustSettings(server_name=NAME, ca_file=ca_file))
    left, right = trio.testing.memory_stream_pair()
    engine = TlsEngine(server_context(good.chain, good.key), server_side=True, peer="client")
    server = TlsStream(right, engine)

    async def run_server() -> None:
        await server.do_handshake()
        await serve(server)

    result: bytes | TunnelError
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_server)
        stream = await start_tls(left, settings, ignore_steps)
        try:
            result = await open_sstp(
                stream, settings, observe.append if observe is not None else ignore_steps, CORRELATION_ID
            )
        except TunnelError as error:
            result = error
        nursery.cancel_scope.cancel()
    if isinstance(result, TunnelError):
        raise result
    return result


async def test_an_sstp_server_answers_200_and_what_follows_is_returned(good: Issued, ca_file: str) -> None:
    reports: list[StepReport] = []
    seen: list[str] = []

    async def serve(stream: TlsStream) -> None:
        prelude = ServerPrelude()
        while prelude.receive_data(await stream.receive_some()) is None:
            pass
        seen.extend((prelude.host, prelude.correlation_id))
        await stream.send_all(prelude.data_to_send() + b"\x10\x01early")
        await trio.sleep_forever()

    assert await try_http(good, ca_file, serve, reports) == b"\x10\x01early"
    assert seen[0].startswith(NAME)
    assert seen[1] == CORRELATION_ID
    assert [(report.step, report.done) for report in reports] == [(Step.HTTP, False), (Step.HTTP, True)]


async def test_another_status_is_rejected(good: Issued, ca_file: str) -> None:
    async def serve(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await trio.sleep_forever()

    with pytest.raises(HttpRejected) as caught:
        await try_http(good, ca_file, serve)
    assert caught.value.status == 404


async def test_a_server_that_hangs_up_instead_of_answering_is_named(good: Issued, ca_file: str) -> None:
    async def serve(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    with pytest.raises(TunnelError, match="HTTP: it closed the connection instead of answering") as caught:
        await try_http(good, ca_file, serve)
    assert caught.value.exit_code == 6


async def test_an_answer_that_is_no_http_is_a_tunnel_error(good: Issued, ca_file: str) -> None:
    async def serve(stream: TlsStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x00\x01\x02 what is this?\r\n\r\n")
        await trio.sleep_forever()

    with pytest.raises(TunnelError, match="HTTP: the answer is not one of an SSTP server"):
        await try_http(good, ca_file, serve)


async def test_a_server_that_never_answers_the_request_is_given_up(
    good: Issued, ca_file: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def serve(_stream: TlsStream) -> None:
        await trio.sleep_forever()

    begin = trio.current_time()
    with pytest.raises(TunnelError, match="no answer to the SSTP request within 60 s"):
        await try_http(good, ca_file, serve)
    assert trio.current_time() - begin == pytest.approx(60)
