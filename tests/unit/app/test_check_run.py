"""``sstpsocks check`` in one process with a server that has something to hide, or that breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import trio

from sstpsocks.app.check.report import Finding, Report, Verdict
from sstpsocks.app.check.run import Check, hide_user
from sstpsocks.demo.ca import make_certificate
from sstpsocks.tunnel.pins import parse_pin
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


def test_a_user_is_hidden_also_without_domain_or_realm() -> None:
    report = Report("vpn:443", "sstpsocks")
    hide_user(report, "CORP\\alice")
    hide_user(report, "bobby@example.com")
    assert report.hidden.clean("CORP\\alice alice bobby bobby@example.com") == "<user> <user> <user> <user>"
