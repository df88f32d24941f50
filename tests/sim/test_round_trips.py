"""How many round trips lie between TCP's SYN and a tunnel that is ready, counted in virtual time.

Our client and our server talk TLS, HTTP, SSTP and PPP over a path of 100 ms there and back, on which nothing but the
distance takes time. The client is made as ServerConnection makes it.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest
import trio
from OpenSSL import SSL

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.link import Link
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.ipcp import IpcpOption
from sstpsocks.ppp.peer import PppConfig, PppPeer, Role
from sstpsocks.sstp.http import ClientPrelude, ServerPrelude
from sstpsocks.sstp.server import SstpServer
from sstpsocks.tunnel.connection import ServerConnection
from sstpsocks.tunnel.settings import CredentialRequest, TrustSettings, TunnelSettings
from sstpsocks.tunnel.steps import ignore_steps
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.trust import client_context, server_context, sni_name
from tests.helpers.certificates import Issued, issue

ROUND_TRIP = 0.1
ALICE = Credentials("alice", "secret")
ADDRESSES = (IPv4Address("10.0.0.53"), IPv4Address("10.0.0.54"))


class End:
    """One end: TLS first, then HTTP, then the link. ``begin`` makes the link once HTTP is through."""

    def __init__(self, engine: TlsEngine, prelude: ClientPrelude | ServerPrelude, begin: Callable[[], Link]) -> None:
        self.engine = engine
        self.link: Link | None = None
        self._prelude = prelude
        self._begin = begin
        self._shaken = False

    def turn(self, ciphertext: bytes, now: float) -> bytes:
        """Take what has arrived and return the flight that answers it."""
        self.engine.feed(ciphertext)
        if not self._shaken and self.engine.handshake():
            self._shaken = True
        if self._shaken:
            self._take(self.engine.read_available(), now)
            self._send(self._prelude.data_to_send())
            for packet in self.link.data_to_send(now) if self.link is not None else ():
                self._send(packet)
        return self.engine.ciphertext_to_send()

    def _take(self, data: bytes, now: float) -> None:
        if self.link is None:
            rest = self._prelude.receive_data(data) if data else None
            if rest is None:
                return
            self.link, data = self._begin(), rest
            self.link.start(now)
        self.link.receive_data(data, now)

    def _send(self, data: bytes) -> None:
        self.engine.write(data)


def begin_client(certificate: bytes, settings: TunnelSettings, unasked: frozenset[int]) -> Link:
    async def make() -> Link:
        async with trio.open_nursery() as nursery:
            connection = ServerConnection(
                settings,
                entropy=SeededEntropy("client"),
                observe=ignore_steps,
                nursery=nursery,
                refused=set(),
                secret=bytes(16),
                unasked=unasked,
            )
            return connection._make_link(certificate, ALICE)

    return trio.run(make)


async def alice(_request: CredentialRequest) -> Credentials:
    return ALICE


def connect(
    issued: Issued,
    *,
    method: AuthMethod = AuthMethod.MSCHAPV2,
    name_servers: int = 1,
    unasked: frozenset[int] = frozenset(),
    ipv6: bool = False,
    tls_1_2: bool = False,
) -> tuple[int, Link]:
    """Return after how many round trips the client was ready, and its link."""
    trust = TrustSettings(server_name="vpn.example.com", pins=(hashlib.sha256(issued.der).digest(),))
    settings = TunnelSettings(
        host="vpn.example.com",
        trust=trust,
        credentials=alice,
        methods=(method,),
        ipv6="auto" if ipv6 else "never",
    )
    config = PppConfig(
        role=Role.SERVER,
        methods=(method,),
        lookup={ALICE.username: ALICE.password}.get,
        local_address=IPv4Address("10.0.0.1"),
        peer_address=IPv4Address("10.0.0.2"),
        dns=ADDRESSES[:name_servers],
        ipv6=ipv6,
    )
    context = server_context(issued.chain, issued.key)
    if tls_1_2:
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = End(
        TlsEngine(client_context(trust), server_hostname=sni_name(trust.server_name), peer="server"),
        ClientPrelude("vpn.example.com", 443, "{}"),
        lambda: begin_client(issued.der, settings, unasked),
    )
    server = End(
        TlsEngine(context, server_side=True, peer="client"),
        ServerPrelude(),
        lambda: Link(SstpServer(issued.der, SeededEntropy("nonce")), PppPeer(config, SeededEntropy("server"))),
    )
    ready = ready_at(client, server)
    assert client.link is not None
    return round(ready / ROUND_TRIP), client.link


def ready_at(client: End, server: End) -> float:
    """Carry flights to and fro until the client's link is up; return when that is."""
    # TCP first: when SYN-ACK is here, the ClientHello may leave.
    flights = deque([(ROUND_TRIP, client, b"")])
    while flights:
        now, end, data = flights.popleft()
        answer = end.turn(data, now)
        if end is client and end.link is not None and end.link.carries_ip:
            return now
        if answer:
            flights.append((now + ROUND_TRIP / 2, server if end is client else client, answer))
    raise AssertionError(f"the talk ended before the tunnel was up: {client.link!r} {server.link!r}")


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue(["vpn.example.com"])


def test_nine_round_trips_to_a_server_with_one_name_server(issued: Issued) -> None:
    """TCP, TLS, HTTP, the call, LCP, CHAP; then IPCP: what the server has not, what it has, and that it is so."""
    round_trips, link = connect(issued)
    assert round_trips == 9
    assert link.ppp.network.rejected == {IpcpOption.SECONDARY_DNS}


def test_eight_to_a_server_that_rejects_nothing(issued: Issued) -> None:
    assert connect(issued, name_servers=2)[0] == 8


def test_eight_on_a_reconnect(issued: Issued) -> None:
    _, first = connect(issued)
    assert connect(issued, unasked=first.ppp.network.rejected)[0] == 8


@pytest.mark.parametrize("method", [AuthMethod.PAP, AuthMethod.CHAP_MD5])
def test_older_methods_take_as_many(issued: Issued, method: AuthMethod) -> None:
    """PAP's client speaks first, but not before LCP has opened; CHAP's Challenge comes with the Configure-Ack."""
    assert connect(issued, method=method)[0] == 9


def test_tls_1_2_takes_one_more(issued: Issued) -> None:
    assert connect(issued, tls_1_2=True)[0] == 10


def test_ipv6_does_not_delay_what_is_ready_without_it(issued: Issued) -> None:
    assert connect(issued, ipv6=True)[0] == 9
