"""``sstpsocks check`` in one process with a server that has something to hide, or that breaks."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import trio

from sstpsocks.app.check.report import Finding, Report, Verdict
from sstpsocks.app.check.run import Check, CheckOptions, hide_user, run_check
from sstpsocks.app.config import Configuration, ListenSettings, OutputSettings
from sstpsocks.app.credentials import PasswordSource
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.demo.ca import make_certificate
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel.pins import parse_pin
from sstpsocks.tunnel.settings import (
    CredentialReason,
    CredentialRequest,
    ProxyKind,
    ProxySettings,
    TrustSettings,
    TunnelSettings,
)
from tests.helpers.demo_site import DemoSite


def finding(report: Report, name: str) -> Finding:
    return next(each for each in report.findings if each.name == name)


async def test_a_certificate_that_is_not_the_servers_own_is_explained_by_a_load_balancer(tmp_path: Path) -> None:
    site = DemoSite(tmp_path)
    # TLS ends in front of the server, which hashes another certificate than the client has seen.
    site.server._certificate_der = make_certificate(("inner.test",)).certificate_pem
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        report = await Check(site.settings()).run()
        nursery.cancel_scope.cancel()
    login = finding(report, "authentication")
    assert login.verdict is Verdict.FAILED
    assert str(login.facts["crypto binding"]).startswith("probably refused")
    assert "load balancer" in login.hint
    assert report.exit_code != 0


async def test_a_pin_that_does_not_match_is_named_beside_the_rules_that_accept(tmp_path: Path) -> None:
    site = DemoSite(tmp_path)
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        settings = site.settings()
        pinned = replace(settings, trust=replace(settings.trust, pins=(parse_pin("00" * 32),)))
        report = await Check(pinned).run()
        nursery.cancel_scope.cancel()
    facts = finding(report, "TLS").facts
    assert facts["rule: pins"] == "no pinned fingerprint matches"
    assert str(facts["rule: authorities"]).startswith("accepts")
    assert report.exit_code == 4
    assert site.asked == []


async def test_of_several_servers_the_report_says_which_were_not_checked(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        site = DemoSite(tmp_path)
        site.port = reserved.getsockname()[1]
        settings = site.settings()
        report = await Check(replace(settings, alternatives=(replace(settings, host="second.test"),))).run()
    others = report.findings[0]
    assert others.verdict is Verdict.SKIPPED
    assert others.facts == {"not checked": [f"second.test:{site.port}"]}
    assert f"only {settings.server} is checked" in others.problem
    assert finding(report, "TCP").verdict is Verdict.FAILED


async def test_what_a_proxy_repeats_of_its_log_in_is_hidden() -> None:
    async def source(request: CredentialRequest) -> Credentials:
        return Credentials("proxyuser", "hunter22")

    proxy = ProxySettings(kind=ProxyKind.HTTP, host="proxy", port=3128, username="proxyuser", credentials=source)
    check = Check(
        TunnelSettings(
            host="vpn", port=443, trust=TrustSettings(server_name="vpn"), username="", credentials=source, proxy=proxy
        )
    )
    wrapped = check._settings.proxy
    assert wrapped is not None
    assert wrapped.credentials is not None
    await wrapped.credentials(CredentialRequest(CredentialReason.LOGIN, "proxyuser", "proxy:3128"))
    assert check.report.hidden.clean("hunter22 is wrong") == "<password> is wrong"


async def test_users_and_passwords_are_hidden_in_warnings_and_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Source(PasswordSource):
        async def _obtain(self, request: CredentialRequest) -> str:
            return "hunter22"

    source = Source()
    proxy = ProxySettings(kind=ProxyKind.HTTP, host="proxy", port=3128, username="proxyuser", credentials=source)
    tunnel = TunnelSettings(
        host="vpn", port=443, trust=TrustSettings(server_name="vpn"), username="alice", credentials=source, proxy=proxy
    )

    async def look(check: Check) -> Report:
        assert check._settings.proxy is not None
        assert check._settings.proxy.credentials is not None
        await check._settings.proxy.credentials(CredentialRequest(CredentialReason.LOGIN, "proxyuser", "proxy:3128"))
        source.tell("alice, proxyuser, hunter22")
        check.report.findings.append(Finding("proxy", problem="alice, proxyuser, hunter22"))
        return check.report

    monkeypatch.setattr(Check, "run", look)
    display = Mock()
    configuration = Configuration(
        tunnel=tunnel,
        password=source,
        listen=ListenSettings(addresses=(TcpAddress("127.0.0.1", 0),)),
        output=OutputSettings(),
        warnings=("of proxyuser",),
    )
    await run_check(configuration, CheckOptions(), display)
    said = [call.args[0] for call in display.warning.call_args_list]
    assert said == ["of <user>", "<user>, <user>, <password>"]
    assert "<user>, <user>, <password>" in capsys.readouterr().out


def test_a_user_is_hidden_also_without_domain_or_realm() -> None:
    report = Report("vpn:443", "sstpsocks")
    hide_user(report, "CORP\\alice")
    hide_user(report, "bobby@example.com")
    assert report.hidden.clean("CORP\\alice alice bobby bobby@example.com") == "<user> <user> <user> <user>"
