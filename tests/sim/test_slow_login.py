"""Servers that take their time over a log-in: a slow RADIUS server, somebody who has to find their telephone."""

from __future__ import annotations

import dataclasses

import pytest
import trio

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import NegotiationFailed
from sstpsocks.link import Link, LinkDown, LinkPhase
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.peer import PppPeer
from sstpsocks.sstp.machine import SstpTimers
from sstpsocks.sstp.server import SstpServer
from sstpsocks.tunnel.connection import ServerConnection
from sstpsocks.tunnel.settings import CredentialRequest, Timeouts, TrustSettings, TunnelSettings
from sstpsocks.tunnel.steps import ignore_steps
from tests.helpers.link_pair import CERTIFICATE, LinkPair, make_server

ALICE = Credentials("alice", "secret")
CHALLENGE, RESPONSE, SUCCESS = 1, 2, 3
CODE = 8  # where an authentication packet's code is: behind 4 octets each of SSTP and PPP
AUTHENTICATION = {
    AuthMethod.MSCHAPV2: b"\xff\x03\xc2\x23",
    AuthMethod.CHAP_MD5: b"\xff\x03\xc2\x23",
    AuthMethod.PAP: b"\xff\x03\xc0\x23",
    AuthMethod.EAP_MSCHAPV2: b"\xff\x03\xc2\x27",
    AuthMethod.EAP_GTC: b"\xff\x03\xc2\x27",
}


async def alice(_request: CredentialRequest) -> Credentials:
    return ALICE


def client_link(method: AuthMethod, auth_timeout: float) -> Link:
    """The link as the tunnel makes it."""
    settings = TunnelSettings(
        host="vpn.example.com",
        trust=TrustSettings(server_name="vpn.example.com"),
        credentials=alice,
        methods=(method,),
        timeouts=dataclasses.replace(Timeouts(), authentication=auth_timeout),
    )

    async def make() -> Link:
        async with trio.open_nursery() as nursery:
            connection = ServerConnection(
                settings,
                entropy=SeededEntropy("client"),
                observe=ignore_steps,
                nursery=nursery,
                refused=set(),
                secret=bytes(16),
            )
            return connection._make_link(CERTIFICATE, ALICE)

    return trio.run(make)


def patient_server(method: AuthMethod) -> Link:
    """A server whose own timers allow for what it is waiting for."""
    ppp = make_server(methods=(method,)).ppp
    assert isinstance(ppp, PppPeer)
    ppp._config = dataclasses.replace(ppp._config, authentication_timeout=3600.0)
    return Link(SstpServer(CERTIFICATE, SeededEntropy("server"), timers=SstpTimers(negotiation=3600.0)), ppp)


class SlowPair(LinkPair):
    """Holds back the server's verdict, and counts what the client says meanwhile."""

    def __init__(self, method: AuthMethod, auth_timeout: float) -> None:
        super().__init__(client_link(method, auth_timeout), patient_server(method))
        self.method = method
        self._header = AUTHENTICATION[method]
        self.verdict: bytes | None = None
        self.log_ins: list[bytes] = []
        """What the client answered to the same question, packet by packet."""
        self.change = self._hold_back

    def _hold_back(self, sender: Link, data: bytes) -> bytes:
        if data[4:8] != self._header:
            return data
        if sender is self.client:
            self.log_ins.append(data)
            # The server thinks about the first one; it has nothing to say to the others. EAP asks several times.
            return data if len(self.log_ins) == 1 or self.method.is_eap else b""
        if data[CODE] in (2, 3) and self.verdict is None:
            self.verdict = data
            return b""
        return data

    def phase(self) -> LinkPhase:
        """How far the client has come."""
        return self.client.phase

    def decide(self) -> None:
        assert self.verdict is not None
        self.deliver(self.client, self.verdict)
        self.run(1)


@pytest.mark.parametrize("method", list(AUTHENTICATION))
def test_a_verdict_after_four_minutes_counts_when_the_user_allows_five(method: AuthMethod) -> None:
    """No timer of ours is shorter: not SSTP's negotiation timer, nor those of PPP."""
    pair = SlowPair(method, auth_timeout=300)
    pair.run(240)
    assert pair.phase() is LinkPhase.AUTHENTICATION
    pair.decide()
    assert pair.phase() is LinkPhase.UP


def test_a_repeated_response_is_the_same_so_that_nobody_is_asked_twice() -> None:
    """A server may show every new Response to RADIUS, and that rings somebody's telephone again."""
    pair = SlowPair(AuthMethod.MSCHAPV2, auth_timeout=300)
    pair.run(240)
    assert 1 < len(pair.log_ins) <= 4
    assert len(set(pair.log_ins)) == 1


def test_a_request_of_pap_is_repeated_rarely() -> None:
    pair = SlowPair(AuthMethod.PAP, auth_timeout=60)
    pair.run(19)
    assert len(pair.log_ins) == 1


def test_it_ends_when_the_users_patience_does() -> None:
    pair = SlowPair(AuthMethod.MSCHAPV2, auth_timeout=90)
    pair.run(89)
    assert pair.phase() is LinkPhase.AUTHENTICATION
    pair.run(10)
    (down,) = [event for event in pair.events[pair.client] if isinstance(event, LinkDown)]
    assert isinstance(down.error, NegotiationFailed)
    assert "did not finish the log-in within 90 s" in str(down.error)
