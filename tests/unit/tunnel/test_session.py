"""A session against the demo server on loopback: coming up, being lost, coming back, leaving."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from dpkt import pcapng

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY
from sstpsocks.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    LocalProtocolError,
    SstpsocksError,
    TransportFailed,
    TunnelClosed,
    TunnelDown,
)
from sstpsocks.link import CredentialsWanted
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel import connection as connection_module
from sstpsocks.tunnel import lifecycle as lifecycle_module
from sstpsocks.tunnel.connection import ServerConnection
from sstpsocks.tunnel.lifecycle import retry_delay
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from sstpsocks.tunnel.steps import LATER_STEPS, Step, StepReport
from tests.helpers.demo_site import (
    PASSWORD,
    DemoSite,
    demo_site,
    is_call_disconnect,
    is_terminate_request,
    record_server_links,
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle_module, "EAGER_DELAY", 0.02)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A socket that nobody closed is an error."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        yield
        gc.collect()


class States:
    """Remembers what a session reports and lets a test wait for it."""

    def __init__(self) -> None:
        self.seen: list[TunnelState] = []
        self._changed = trio.lowlevel.ParkingLot()

    def __call__(self, state: TunnelState) -> None:
        self.seen.append(state)
        self._changed.unpark_all()

    def count(self, status: TunnelStatus) -> int:
        return sum(state.status is status for state in self.seen)

    async def wait_for(self, status: TunnelStatus, times: int = 1) -> None:
        with trio.fail_after(10):
            while self.count(status) < times:
                await self._changed.park()


@asynccontextmanager
async def echo_stream(session: Session) -> AsyncIterator[trio.abc.HalfCloseableStream]:
    stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def carries_traffic(session: Session) -> bool:
    async with echo_stream(session) as stream:
        await stream.send_all(b"are you there?")
        return await stream.receive_some() == b"are you there?"


async def test_offers_the_network_while_it_is_entered(site: DemoSite) -> None:
    async with Session(site.settings(mtu=1300)) as session:
        assert session.up is True
        assert session.info.mtu == 1300
        assert session.info.tls_version == "TLSv1.3"
        assert session.dns_servers == (GATEWAY,)
        assert session.local_addresses == session.info.addresses != ()
        assert await carries_traffic(session)
    assert session.local_addresses == ()
    with pytest.raises(TunnelDown):
        await session.connect_tcp(GATEWAY, ECHO_PORT)


async def test_first_connect_that_fails_raises_at_once(site: DemoSite) -> None:
    await site.stop()
    states = States()
    with pytest.raises(TransportFailed):
        async with Session(site.settings(), on_state=states):
            pytest.fail("there is no server")
    assert [state.status for state in states.seen] == [TunnelStatus.CONNECTING]


async def test_refused_password_raises_at_once_and_was_sent_once(site: DemoSite) -> None:
    site.answers = ["wrong"]
    with pytest.raises(AuthenticationFailed) as caught:
        async with Session(site.settings()):
            pytest.fail("the password is wrong")
    assert caught.value.exit_code == 5
    assert len(site.asked) == 1


async def test_a_session_is_entered_once(site: DemoSite) -> None:
    async with Session(site.settings()) as session:
        pass
    with pytest.raises(LocalProtocolError):
        async with session:
            pytest.fail("it was entered again")


async def test_lost_tunnel_comes_back_and_asks_for_credentials_afresh(site: DemoSite) -> None:
    states = States()
    async with Session(site.settings(), on_state=states) as session, trio.open_nursery() as nursery:
        first = session.info
        await site.stop()
        await states.wait_for(TunnelStatus.RECONNECTING)
        assert session.local_addresses == ()
        with pytest.raises(TunnelDown):
            await session.connect_tcp(GATEWAY, ECHO_PORT)
        with pytest.raises(TunnelDown):
            session.open_udp(GATEWAY, 53)
        await site.start(nursery)
        await states.wait_for(TunnelStatus.UP, 2)
        assert await carries_traffic(session)
        assert session.info.correlation_id != first.correlation_id
        nursery.cancel_scope.cancel()
    assert len(site.asked) >= 2
    assert {request.reason for request in site.asked} == {CredentialReason.LOGIN}


async def test_flows_end_when_the_tunnel_is_lost(site: DemoSite) -> None:
    async def read_until_lost(stream: trio.abc.ReceiveStream) -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionLost)

    async with Session(site.settings(reconnect="never")) as session, echo_stream(session) as stream:
        udp = session.open_udp(GATEWAY, 9)

        async def receive_until_down() -> None:
            with pytest.raises(TunnelDown):
                await udp.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_until_lost, stream)
            nursery.start_soon(receive_until_down)
            await trio.testing.wait_all_tasks_blocked()
            await site.stop()
        with pytest.raises(TunnelDown):
            await udp.send(b"into the void")
        udp.close()


async def test_flows_end_when_the_session_is_left(site: DemoSite) -> None:
    async with trio.open_nursery() as nursery:
        async with Session(site.settings()) as session:
            stream = await session.connect_tcp(GATEWAY, ECHO_PORT)

            async def read() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
    await stream.aclose()


async def test_a_dial_that_the_loss_cuts_is_tunnel_down(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Session(site.settings()) as session:

        async def dial() -> None:
            with pytest.raises(TunnelDown):
                await session.connect_tcp(GATEWAY + 99, 80)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked()
            await site.stop()


async def test_reconnect_never_ends_with_the_reason(site: DemoSite) -> None:
    states = States()
    async with Session(site.settings(reconnect="never"), on_state=states) as session:
        await site.stop()
        with pytest.raises(TunnelClosed) as caught, trio.fail_after(10):
            await session.wait_closed()
        assert caught.value.exit_code == 7
        assert session.failure is caught.value
        assert states.seen[-1].status is TunnelStatus.STOPPED
        with pytest.raises(TunnelDown) as down:
            await session.connect_tcp(GATEWAY, ECHO_PORT)
        assert down.value.hint == ""


async def test_server_that_hangs_up_in_order_is_a_loss_too(site: DemoSite) -> None:
    states = States()
    async with Session(site.settings(), on_state=states) as session:
        site.server.disconnect_all()
        await states.wait_for(TunnelStatus.UP, 2)
        assert await carries_traffic(session)


async def test_password_refused_on_reconnect_ends_it_and_is_not_sent_again(site: DemoSite) -> None:
    site.answers = [PASSWORD, "expired"]
    async with Session(site.settings()) as session:
        site.server.disconnect_all()
        with pytest.raises(AuthenticationFailed) as caught, trio.fail_after(10):
            await session.wait_closed()
        assert caught.value.exit_code == 5
    assert len(site.asked) == 2


async def test_a_credential_source_that_fails_on_reconnect_ends_it(site: DemoSite) -> None:
    calls = 0

    async def source(request: CredentialRequest) -> Credentials:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ConfigError("the password command failed")
        return Credentials(request.username, PASSWORD)

    async with Session(site.settings(credentials=source)) as session:
        site.server.disconnect_all()
        with pytest.raises(ConfigError), trio.fail_after(10):
            await session.wait_closed()
    assert calls == 2


async def test_a_tunnel_that_falls_at_once_is_dialled_with_pauses(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends each tunnel right away must not be logged in to without a pause."""
    attempts: list[int] = []
    delay = retry_delay

    def counted(elapsed: float, attempt: int, entropy: SeededEntropy) -> float:
        attempts.append(attempt)
        return delay(elapsed, attempt, entropy)

    monkeypatch.setattr(lifecycle_module, "retry_delay", counted)
    states = States()
    async with Session(site.settings(), on_state=states):
        for number in range(1, 4):
            site.server.disconnect_all()
            await states.wait_for(TunnelStatus.UP, number + 1)
    assert attempts == [0, 1, 2]


@pytest.mark.parametrize("elapsed", [0.0, 299.9])
def test_tries_come_quickly_in_the_first_five_minutes(elapsed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    entropy = SeededEntropy("delays")
    assert retry_delay(elapsed, 0, entropy) == 0
    delays = {retry_delay(elapsed, attempt, entropy) for attempt in range(1, 50)}
    assert min(delays) >= 0.5
    assert max(delays) <= 1
    assert len(delays) > 20


def test_tries_come_gently_later() -> None:
    entropy = SeededEntropy("delays")
    delays = {retry_delay(300.0, attempt, entropy) for attempt in range(1, 50)}
    assert min(delays) >= 15
    assert max(delays) <= 30
    assert len(delays) > 20


# Credentials


class Refusing:
    """A server that refuses once and allows another try (R=1): CredentialsWanted for a live connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    def refuse(self) -> None:
        self.connection._on_event(CredentialsWanted(691, "the server refused the password", ""))


async def test_an_unchanged_credential_is_never_sent_after_a_refusal(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Session(site.settings(reconnect="never")) as session:
        connection = session._connection
        assert connection is not None
        assert connection.driver is not None
        sent: list[Credentials] = []
        monkeypatch.setattr(connection.driver.link, "retry_authentication", lambda given, _now: sent.append(given))
        Refusing(connection).refuse()
        with pytest.raises(AuthenticationFailed) as caught, trio.fail_after(10):
            await session.wait_closed()
        assert "same one" in caught.value.hint
        assert sent == []
        assert site.asked[-1].reason is CredentialReason.RETRY


async def test_another_credential_is_sent_after_a_refusal(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.answers = [PASSWORD, "another"]
    async with Session(site.settings()) as session:
        connection = session._connection
        assert connection is not None
        assert connection.driver is not None
        sent: list[Credentials] = []
        monkeypatch.setattr(connection.driver.link, "retry_authentication", lambda given, _now: sent.append(given))
        Refusing(connection).refuse()
        await trio.testing.wait_all_tasks_blocked()
        assert sent == [Credentials("alice", "another")]


async def test_refused_credentials_are_not_sent_by_a_later_connection(site: DemoSite) -> None:
    """Refused with R=1, then the connection breaks before another try: dialling again must not send them again."""
    answered = trio.Event()

    async def source(request: CredentialRequest) -> Credentials:
        site.asked.append(request)
        if request.reason is CredentialReason.RETRY:
            await answered.wait()
        return Credentials(request.username, PASSWORD)

    async with Session(site.settings(credentials=source)) as session:
        connection = session._connection
        assert connection is not None
        Refusing(connection).refuse()
        await trio.testing.wait_all_tasks_blocked()
        site.server.disconnect_all()
        with pytest.raises(AuthenticationFailed) as caught, trio.fail_after(10):
            await session.wait_closed()
        assert "before" in str(caught.value)
    assert [request.reason for request in site.asked] == [
        CredentialReason.LOGIN,
        CredentialReason.RETRY,
        CredentialReason.LOGIN,
    ]


@pytest.mark.parametrize("error", [ConfigError("no terminal"), LocalProtocolError("not now")])
async def test_without_other_credentials_the_refusal_stands(site: DemoSite, error: SstpsocksError) -> None:
    async def source(request: CredentialRequest) -> Credentials:
        if request.reason is CredentialReason.RETRY:
            raise error
        return Credentials(request.username, PASSWORD)

    async with Session(site.settings(credentials=source)) as session:
        connection = session._connection
        assert connection is not None
        Refusing(connection).refuse()
        with pytest.raises(AuthenticationFailed) as caught, trio.fail_after(10):
            await session.wait_closed()
        assert caught.value.code == 691


# Leaving


def check_farewells(heard: list[list[bytes]]) -> None:
    (packets,) = heard
    kinds = [(is_terminate_request(packet), is_call_disconnect(packet)) for packet in packets]
    assert (True, False) in kinds
    # Either side may be the first to end SSTP after PPP; both answers are an orderly end.
    assert (False, True) in kinds or packets[-1][4:6] == b"\x00\x07"


async def test_leaving_says_goodbye(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = record_server_links(monkeypatch)
    async with Session(site.settings()):
        pass
    await trio.testing.wait_all_tasks_blocked()
    check_farewells(heard)


async def test_leaving_by_cancellation_says_goodbye_within_the_grace_period(
    site: DemoSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = record_server_links(monkeypatch)
    with trio.move_on_after(connection_module.GRACE_PERIOD + 1):
        with trio.CancelScope() as scope:
            async with Session(site.settings()):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        check_farewells(heard)
        return
    pytest.fail("leaving took longer than the grace period")


async def test_leaving_while_it_dials_again(site: DemoSite) -> None:
    states = States()
    async with Session(site.settings(), on_state=states):
        await site.stop()
        await states.wait_for(TunnelStatus.RECONNECTING)


async def test_an_exception_of_the_program_comes_out_as_it_is(site: DemoSite) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Session(site.settings()):
            raise ZeroDivisionError


async def test_a_broken_credential_source_comes_out_and_hangs_nothing(site: DemoSite) -> None:
    async def source(request: CredentialRequest) -> Credentials:
        site.asked.append(request)
        if len(site.asked) > 1:
            raise KeyError("a bug in the program")
        return Credentials(request.username, PASSWORD)

    with pytest.RaisesGroup(KeyError), trio.fail_after(10):
        async with Session(site.settings(credentials=source)):
            site.server.disconnect_all()
            await trio.sleep_forever()


async def test_a_broken_step_observer_comes_out_and_hangs_nothing(site: DemoSite) -> None:
    def observe(report: StepReport) -> None:
        if report.step is Step.LCP:
            raise KeyError("a bug in the program")

    with pytest.RaisesGroup(KeyError, flatten_subgroups=True), trio.fail_after(10):
        async with Session(site.settings(), observe=observe):
            pytest.fail("the observer broke")


@pytest.mark.parametrize("step", [step for step in Step if step not in {Step.PROXY, *LATER_STEPS}])
async def test_a_connect_that_is_cancelled_leaves_nothing_open(site: DemoSite, step: Step) -> None:
    await trio.testing.wait_all_tasks_blocked()
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    with trio.CancelScope() as scope:

        def observe(report: StepReport) -> None:
            if report.step is step:
                scope.cancel()

        async with Session(site.settings(), observe=observe):
            # The last step can end in the very turn in which it began.
            await trio.sleep_forever()
    assert scope.cancelled_caught
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert site.server.connected_users == {}


async def test_the_capture_holds_packets_of_both_directions(site: DemoSite, tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    async with Session(site.settings(pcap_file=str(path))) as session:
        assert await carries_traffic(session)
        (own,) = session.local_addresses
    with path.open("rb") as file:
        sources = [bytes(data)[12:16] for _time, data in pcapng.Reader(file)]
    assert own.packed in sources
    assert GATEWAY.packed in sources
