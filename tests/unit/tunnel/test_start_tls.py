"""The TLS step of a tunnel with the settings that are not the usual ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import trio
import trio.testing
from OpenSSL import SSL

from sstpsocks.errors import CertificateRejected
from sstpsocks.tunnel.settings import FirstUse, TlsSettings, TrustSettings
from sstpsocks.tunnel.steps import StepReport
from sstpsocks.tunnel.tls import TlsEngine, TlsStream
from sstpsocks.tunnel.tls_settings import UnknownCertificate
from sstpsocks.tunnel.trust import server_context
from sstpsocks.tunnel.upstream import start_tls
from tests.helpers.certificates import Issued, issue, ocsp_response
from tests.unit.tunnel.test_upstream import settings_for

NAME = "vpn.example.com"


async def reports_of(
    issued: Issued, trust: TrustSettings, *, tls: TlsSettings | None = None, staple: bytes = b"", newest: int = 0
) -> tuple[Sequence[str], TlsEngine]:
    """Run the step against a server; return what it reported and the server's engine."""
    context = server_context(issued.chain, issued.key)
    context.set_ocsp_server_callback(lambda _connection, _data: staple)
    if newest:
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(SSL.TLS1_VERSION)
        context.set_max_proto_version(newest)
    left, right = trio.testing.memory_stream_pair()
    server = TlsStream(right, TlsEngine(context, server_side=True))
    reports: list[StepReport] = []
    settings = replace(settings_for(trust=trust), tls=tls or TlsSettings())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await start_tls(left, settings, reports.append)
    return [report.text for report in reports], server.engine


async def test_sni_is_what_was_asked_for_and_the_name_to_verify_is_another(good: Issued, ca_file: str) -> None:
    trust = TrustSettings(server_name=NAME, ca_file=ca_file, sni="front.example.com")
    texts, server = await reports_of(good, trust)
    assert server.requested_hostname == "front.example.com"
    assert texts[0] == f"as {NAME} (with SNI front.example.com)"
    assert texts[-1].endswith(f"certificate verified for {NAME}")
    texts, server = await reports_of(good, replace(trust, sni=""))
    assert server.requested_hostname is None
    assert texts[0] == f"as {NAME} (without SNI)"


async def test_a_stapled_good_is_shown(good: Issued, root: Issued, ca_file: str) -> None:
    trust = TrustSettings(server_name=NAME, ca_file=ca_file)
    texts, _ = await reports_of(good, trust, staple=ocsp_response(good, root))
    assert "not revoked as of 2" in texts[-1]


async def test_an_old_router_is_reached_when_that_is_allowed(good: Issued, ca_file: str) -> None:
    trust = TrustSettings(server_name=NAME, ca_file=ca_file)
    texts, _ = await reports_of(good, trust, tls=TlsSettings(min_version="1.0"), newest=SSL.TLS1_VERSION)
    assert texts[-1].startswith("TLSv1, ")


async def test_the_server_waits_for_a_person_longer_than_for_a_handshake(
    ca_file: str, tmp_path: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def think(_question: UnknownCertificate) -> bool:
        await trio.sleep(100)
        return True

    first_use = FirstUse(known_hosts=f"{tmp_path}/known_hosts", ask=think)
    texts, _ = await reports_of(issue([NAME]), TrustSettings(server_name=NAME, ca_file=ca_file, first_use=first_use))
    assert "its key, confirmed just now" in texts[-1]
    assert trio.current_time() >= 100


async def test_a_server_that_is_not_confirmed_is_left(ca_file: str, tmp_path: str) -> None:
    async def refuse(_question: UnknownCertificate) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    first_use = FirstUse(known_hosts=f"{tmp_path}/known_hosts", ask=refuse)
    trust = TrustSettings(server_name=NAME, ca_file=ca_file, first_use=first_use)
    with pytest.RaisesGroup(CertificateRejected):
        await reports_of(issue([NAME]), trust)
