"""Echo requests through a session."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import GATEWAY
from sstpsocks.errors import ConnectTimedOut, LocalProtocolError, SstpsocksError, TunnelDown
from sstpsocks.net.echo import EchoRequests
from sstpsocks.tunnel.session import Session
from tests.helpers.demo_site import demo_site


async def test_ping_measures_and_nothing_waits_afterwards(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with demo_site(tmp_path) as site, Session(site.settings(dhcp="never")) as session:
            assert session.info.peer == GATEWAY
            for size in (28, 84, 1400):
                assert 0 < await session.ping(GATEWAY, size, df=True) < 5
            with pytest.raises(LocalProtocolError, match="MTU of 1400"):
                await session.ping(GATEWAY, 1401, df=True)
            assert await session.ping(GATEWAY, 3000) > 0
            for size in (27, 65536):
                with pytest.raises(LocalProtocolError, match=f"an echo request of {size} octets"):
                    await session.ping(GATEWAY, size)
            # Nobody else is in the demo's network.
            with pytest.raises(SstpsocksError) as caught:
                await session.ping(IPv4Address("10.98.0.1"), limit=0.2)
            assert not isinstance(caught.value, TunnelDown)
            assert session._connection is not None
            assert session._connection.stack is not None
            assert len(session._connection.stack._echoes) == 0
        with pytest.raises(TunnelDown):
            await session.ping(GATEWAY)


async def test_a_peer_that_is_silent_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trio.fail_after(20):
        async with demo_site(tmp_path) as site, Session(site.settings(dhcp="never")) as session:
            monkeypatch.setattr(EchoRequests, "receive_reply", lambda *_: False)
            with pytest.raises(ConnectTimedOut, match=r"within 0\.1 s"):
                await session.ping(GATEWAY, limit=0.1)
