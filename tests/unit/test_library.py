"""The front door refuses what cannot be right before it dials."""

from __future__ import annotations

from typing import Any

import pytest

import sstpsocks
from sstpsocks.errors import ConfigError


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
        ({"search_domains": ("a b",)}, "search_domains"),
        ({"pin_sha256": ("abcd",)}, "SHA-256"),
    ],
)
async def test_unusable_arguments_are_refused(arguments: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"host": "vpn.invalid", "password": "x"} | arguments
    with pytest.raises(ConfigError, match=said):
        async with sstpsocks.open_tunnel(given.pop("host"), **given):
            pytest.fail("there is no such server")
