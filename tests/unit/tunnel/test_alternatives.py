"""Several servers: the next one is tried where one cannot be reached, and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sstpsocks.errors import (
    AuthenticationFailed,
    CallRejected,
    CertificateRejected,
    HttpRejected,
    ProxyFailed,
    ProxyLoginFailed,
    TlsFailed,
    TransportFailed,
    TunnelError,
)
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel.alternatives import KeptCredentials, moves_on
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest, TunnelSettings
from sstpsocks.tunnel.steps import StepReport
from tests.helpers.demo_site import DemoSite, demo_site


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (TransportFailed("x"), True),
        (ProxyFailed("x"), True),
        (TlsFailed("x"), True),
        (HttpRejected("x", status=503), True),
        (HttpRejected("x", status=404), False),
        (CertificateRejected("x", reason="x"), False),
        (AuthenticationFailed("x"), False),
        (ProxyLoginFailed("x"), False),
        (CallRejected("x"), False),
    ],
)
def test_which_failures_lead_to_the_next_server(error: TunnelError, goes_on: bool) -> None:
    assert moves_on(error) is goes_on


async def test_credentials_that_were_not_sent_are_not_asked_for_again() -> None:
    asked = 0

    async def source(request: CredentialRequest) -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials(request.username, str(asked))

    kept = KeptCredentials(source)
    login = CredentialRequest(CredentialReason.LOGIN, "alice", "h:443")
    assert (await kept(login)).password == "1"
    kept.keep()
    assert (await kept(login)).password == "1"
    assert (await kept(login)).password == "2", "they were sent, so the next log-in asks afresh"
    kept.keep()
    assert (await kept(replace(login, reason=CredentialReason.RETRY))).password == "3"
    kept.forget()
    assert (await kept(login)).password == "4"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


async def closed_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        assert isinstance(port, int)
        return port


def listed(*servers: TunnelSettings) -> TunnelSettings:
    return replace(servers[0], alternatives=servers[1:])


async def test_the_first_that_can_be_reached_is_used_and_the_others_are_told_of(site: DemoSite) -> None:
    reports: list[StepReport] = []
    good = site.settings()
    dead = replace(good, host="127.0.0.2", port=await closed_port(), connect_to=None)
    with trio.fail_after(20):
        async with Session(listed(dead, good), observe=reports.append) as session:
            assert session.info.server == good.server
    (told,) = [report for report in reports if report.failed]
    assert "refused the connection" in told.text
    assert told.text.endswith(f"; trying server {good.server}")


async def test_none_that_can_be_reached_is_one_error_that_names_them_all(site: DemoSite) -> None:
    servers = [
        replace(site.settings(), host=f"127.0.0.{number}", port=await closed_port(), connect_to=None)
        for number in (2, 3)
    ]
    with pytest.raises(TransportFailed, match="none of the 2 servers could be reached") as caught, trio.fail_after(20):
        async with Session(listed(*servers)):
            pytest.fail("nobody listens there")
    assert all(server.server in str(caught.value) for server in servers)
    assert caught.value.hint


async def test_a_refused_certificate_is_not_passed_over(site: DemoSite) -> None:
    good = site.settings()
    impostor = replace(good, trust=replace(good.trust, server_name="other.example.com"))
    reports: list[StepReport] = []
    with pytest.raises(CertificateRejected), trio.fail_after(20):
        async with Session(listed(impostor, good), observe=reports.append):
            pytest.fail("the certificate is another's")
    assert not any(report.failed for report in reports)
