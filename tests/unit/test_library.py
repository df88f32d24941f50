"""The front door refuses what cannot be right before it dials."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import trio

import sstpsocks
from sstpsocks.errors import CertificateRejected, ConfigError, NegotiationFailed
from sstpsocks.library import FirstUse
from sstpsocks.tunnel.tls_settings import UnknownCertificate
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, demo_site

FIRST_ADDRESS = IPv4Address("10.99.0.10")
"""What the demo gives its first client."""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"host": ""}, "no server"),
        ({"port": 0}, "no TCP port"),
        ({"mtu": 100}, "MTU of 100"),
        ({"methods": ()}, "no authentication method"),
        ({"methods": ("ntlm",)}, "unknown authentication method"),
        ({"reconnect": "sometimes"}, "reconnect="),
        ({"dhcp": "sometimes"}, "dhcp="),
        ({"ecn": "always"}, "ecn='always': it must be 'off', 'passive' or 'active'"),
        ({"pin_sha256": ("00" * 32,), "first_use": FirstUse(known_hosts="known")}, "pin_sha256 alone decides"),
        ({"search_domains": ("a b",)}, "search_domains"),
        ({"pin_sha256": ("abcd",)}, "SHA-256"),
    ],
)
async def test_unusable_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"host": "vpn.invalid", "password": "x"} | arguments
    with pytest.raises(ConfigError, match=said):
        async with sstpsocks.open_tunnel(given.pop("host"), **given):
            pytest.fail("there is no such server")


async def test_a_key_is_confirmed_once_and_the_address_and_ecn_are_what_was_asked_for(tmp_path: Path) -> None:
    questions: list[UnknownCertificate] = []

    async def ask(question: UnknownCertificate) -> bool:
        await trio.lowlevel.checkpoint()
        questions.append(question)
        return True

    async def connect(first_use: FirstUse, address: IPv4Address | None = None) -> None:
        async with sstpsocks.open_tunnel(
            "127.0.0.1",
            port=site.port,
            username="alice",
            password=PASSWORD,
            server_name=SERVER_NAME,
            first_use=first_use,
            address=address,
            ecn="active",
            dhcp="never",
        ) as tunnel:
            assert address is None or tunnel.info.addresses == (address,)
            assert tunnel.network.settings.ecn == "active"

    known = str(tmp_path / "known")
    with trio.fail_after(20):
        async with demo_site(tmp_path) as site:
            with pytest.raises(CertificateRejected):
                await connect(FirstUse(known_hosts=known))
            await connect(FirstUse(known_hosts=known, ask=ask), FIRST_ADDRESS)
            await connect(FirstUse(known_hosts=known))
            with pytest.raises(NegotiationFailed, match="does not give us the address"):
                await connect(FirstUse(known_hosts=known), IPv4Address("10.77.0.1"))
    assert [question.server for question in questions] == [f"127.0.0.1:{site.port}"]
