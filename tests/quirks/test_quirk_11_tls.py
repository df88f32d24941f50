"""Quirk 11, the spread of TLS: one server for each kind of it, with a whole tunnel through each.

tests/unit/tunnel/test_tls_options.py has the same and more without a tunnel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from OpenSSL import SSL, crypto

from sstpsocks.demo.intranet import ECHO_PORT, GATEWAY
from sstpsocks.errors import CertificateRejected, TlsFailed
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.settings import TlsSettings, TrustSettings, TunnelSettings
from sstpsocks.tunnel.tls_settings import TlsVersion
from tests.helpers.certificates import Issued, authority, issue, weak_key
from tests.helpers.demo_site import SERVER_NAME, DemoSite

VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@asynccontextmanager
async def server_with(
    context: SSL.Context, issued: Issued | None, root: Issued, folder: Path
) -> AsyncIterator[DemoSite]:
    """A server that speaks TLS as ``context`` says, with a certificate of ``root``'s unless it has none."""
    site = DemoSite(folder)
    site.ca_file.write_bytes(root.pem)
    site.server._context = context
    if issued is not None:
        context.use_certificate(issued.certificate)
        context.use_privatekey(issued.key)
        site.server._certificate_der = crypto.dump_certificate(
            crypto.FILETYPE_ASN1, crypto.X509.from_cryptography(issued.certificate)
        )
    async with trio.open_nursery() as nursery:
        await site.start(nursery)
        yield site
        nursery.cancel_scope.cancel()


def old_router(version: str, ciphers: bytes = b"ALL:@SECLEVEL=0") -> SSL.Context:
    """One version of TLS, and what it likes of ciphers."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.set_cipher_list(ciphers)
    return context


async def passes(settings: TunnelSettings) -> str:
    """Have a tunnel carry data both ways; return the version of TLS."""
    with trio.fail_after(20):
        async with Session(settings) as session:
            stream = await session.connect_tcp(GATEWAY, ECHO_PORT)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
            await trio.aclose_forcefully(stream)
            return session.info.tls_version


@pytest.mark.parametrize("version", list(VERSIONS))
async def test_quirk_11_any_version_that_is_allowed(tmp_path: Path, version: TlsVersion) -> None:
    root = authority()
    async with server_with(old_router(version), issue([SERVER_NAME], root), root, tmp_path) as site:
        settings = site.settings(dhcp="never", tls=TlsSettings(min_version=version))
        assert await passes(settings) == ("TLSv1" if version == "1.0" else f"TLSv{version}")
        if version in ("1.0", "1.1"):
            with pytest.raises(TlsFailed) as caught:
                await passes(site.settings(dhcp="never"))
            assert "--tls-min" in caught.value.hint


async def test_quirk_11_routeros_with_aes_cbc_and_sha1_and_nothing_else(tmp_path: Path) -> None:
    root = authority()
    context = old_router("1.2", b"AES128-SHA:AES256-SHA:@SECLEVEL=0")
    async with server_with(context, issue([SERVER_NAME], root, key=weak_key()), root, tmp_path) as site:
        settings = site.settings(dhcp="never", tls=TlsSettings(security_level=0))
        assert await passes(settings) == "TLSv1.2"
        with pytest.raises((TlsFailed, CertificateRejected)) as caught:
            await passes(site.settings(dhcp="never", tls=TlsSettings(security_level=2)))
        assert "--tls-seclevel" in caught.value.hint


async def test_quirk_11_no_certificate_at_all_is_refused(tmp_path: Path) -> None:
    """RouterOS to RouterOS by anonymous Diffie-Hellman: nobody would be who it is."""
    root = authority()
    context = old_router("1.2", b"aNULL:@SECLEVEL=0")
    async with server_with(context, None, root, tmp_path) as site:
        with pytest.raises(TlsFailed):
            await passes(site.settings(dhcp="never", tls=TlsSettings(security_level=0)))
        assert not site.server._drivers, "nothing was said to it"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        pytest.param(["127.0.0.1"], "127.0.0.1", id="an address as alternative name"),
        pytest.param(["gw.azure.test"], "gw.azure.test", id="another name than was dialled (Azure)"),
    ],
)
async def test_quirk_11_names_of_certificates(tmp_path: Path, names: list[str], name: str) -> None:
    root = authority()
    async with server_with(old_router("1.3"), issue(names, root), root, tmp_path) as site:
        trust = TrustSettings(server_name=name, ca_file=str(site.ca_file))
        assert await passes(TunnelSettings(host="127.0.0.1", port=site.port, trust=trust, username="alice",
                                           credentials=site._give, dhcp="never")) == "TLSv1.3"  # fmt: skip


async def test_quirk_11_a_name_in_the_subject_only_is_refused_with_the_pin_that_accepts_it(tmp_path: Path) -> None:
    """Old certificates of RRAS and RouterOS. RFC 9525 section 6.3: the common name is not looked at."""
    root = authority()
    issued = issue([], root, subject=SERVER_NAME)
    async with server_with(old_router("1.2"), issued, root, tmp_path) as site:
        with pytest.raises(CertificateRejected) as caught:
            await passes(site.settings(dhcp="never"))
        assert "--pin-sha256" in caught.value.hint


@pytest.mark.parametrize("sni", [None, "relay.test", ""])
async def test_quirk_11_sni_picks_the_server_or_must_not_be_there(tmp_path: Path, sni: str | None) -> None:
    """VPN Azure finds the host by it, accel-ppp compares it, and some old routers want none."""
    root = authority()
    context = old_router("1.2")
    shown: list[bytes | None] = []
    context.set_tlsext_servername_callback(lambda connection: shown.append(connection.get_servername()))
    async with server_with(context, issue([SERVER_NAME], root), root, tmp_path) as site:
        trust = TrustSettings(server_name=SERVER_NAME, ca_file=str(site.ca_file), sni=sni)
        await passes(TunnelSettings(host="127.0.0.1", port=site.port, trust=trust, username="alice",
                                    credentials=site._give, dhcp="never"))  # fmt: skip
    assert shown == [SERVER_NAME.encode() if sni is None else sni.encode() or None]
