"""Our client against our server, in virtual time, through the loss or duplication of any single frame."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.eap.packet import EapCode
from sstpsocks.ppp.events import (
    AuthenticationRefused,
    AuthenticationSucceeded,
    Failed,
    Finished,
    Ipv4Opened,
    LcpOpened,
    PppEvent,
)
from sstpsocks.ppp.packet import PROTOCOL_EAP, build_frame
from sstpsocks.ppp.peer import PppConfig, PppPeer, Role
from tests.helpers.fake_tls import FakeTlsParameters

GATEWAY = IPv4Address("10.9.0.1")
ADDRESS = IPv4Address("10.9.0.2")
DNS = (IPv4Address("10.9.0.53"), IPv4Address("10.9.0.54"))
USERS = {"alice": "wonderland"}
LATENCY = 0.01
# RFC 3748 section 4.2: nothing answers it, so a loss cannot be noticed. SSTP loses nothing.
EAP_SUCCESS = build_frame(PROTOCOL_EAP, bytes((EapCode.SUCCESS,)))


class Pair:
    """A client and a server on a link whose n-th frame, counted over both directions, may be lost or doubled."""

    def __init__(
        self,
        client_methods: tuple[AuthMethod, ...],
        server_methods: tuple[AuthMethod, ...],
        *,
        password: str = "wonderland",
        dns: tuple[IPv4Address, ...] = DNS,
        lose: int = -1,
        duplicate: int = -1,
    ) -> None:
        tls = FakeTlsParameters(trusted=password == "wonderland")
        client = PppConfig(methods=client_methods, credentials=Credentials("alice", password), eap_tls=tls)
        server = PppConfig(
            role=Role.SERVER,
            methods=server_methods,
            lookup=USERS.get,
            local_address=GATEWAY,
            peer_address=ADDRESS,
            dns=dns,
            eap_tls_server=tls,
        )
        self.client = PppPeer(client, SeededEntropy("client"))
        self.server = PppPeer(server, SeededEntropy("server"))
        self.now = 0.0
        self.frames = 0
        self._lose = lose
        self._duplicate = duplicate
        self.events: dict[PppPeer, list[PppEvent]] = {self.client: [], self.server: []}
        self.client.open(0.0)
        self.server.open(0.0)

    def settle(self, until: float = 200.0) -> None:
        """Carry frames and let time pass until both ends are at rest or ``until`` has come."""
        while True:
            if self._carry():
                continue
            due = min((t for t in (self.client.poll_at(), self.server.poll_at()) if t is not None), default=None)
            if due is None or due > until:
                return
            self.now = max(self.now, due)
            self.client.handle_timer(self.now)
            self.server.handle_timer(self.now)

    def _carry(self) -> bool:
        moved = False
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            self._look(sender)
            frames = sender.frames_to_send(self.now)
            self.now += LATENCY if frames else 0.0
            for frame in frames:
                moved = True
                copies = {self._lose: 0, self._duplicate: 2}.get(self.frames, 1)
                if frame.startswith(EAP_SUCCESS):
                    copies = max(copies, 1)
                self.frames += 1
                for _ in range(copies):
                    receiver.receive_frame(frame, self.now)
            self._look(receiver)
        return moved

    def _look(self, peer: PppPeer) -> None:
        while (event := peer.next_event()) is not None:
            self.events[peer].append(event)
            if isinstance(event, AuthenticationSucceeded):
                # As SSTP does it: the client sends CALL_CONNECTED at once, and SSTP itself loses nothing.
                peer.start_network(self.now)

    def last(self, peer: PppPeer, kind: type[PppEvent]) -> PppEvent:
        found = [event for event in self.events[peer] if isinstance(event, kind)]
        assert found, self.events[peer]
        return found[-1]

    def check_open(self) -> None:
        assert self.client.ipv4_open, self.events[self.client]
        assert self.server.ipv4_open, self.events[self.server]
        opened = self.last(self.client, Ipv4Opened)
        assert isinstance(opened, Ipv4Opened)
        assert (opened.local, opened.peer, opened.dns) == (ADDRESS, GATEWAY, DNS)
        opened = self.last(self.server, Ipv4Opened)
        assert isinstance(opened, Ipv4Opened)
        assert (opened.local, opened.peer) == (GATEWAY, ADDRESS)
        hlaks = [self.last(peer, AuthenticationSucceeded) for peer in (self.client, self.server)]
        assert len({event.hlak for event in hlaks if isinstance(event, AuthenticationSucceeded)}) == 1


M = AuthMethod


@pytest.mark.parametrize("method", AuthMethod)
def test_each_method_opens_the_link(method: AuthMethod) -> None:
    pair = Pair((method,), (method,))
    pair.settle(until=20.0)
    pair.check_open()
    assert pair.now < 1.0


def test_a_server_without_authentication() -> None:
    pair = Pair((M.MSCHAPV2,), ())
    pair.settle(until=20.0)
    pair.check_open()


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        ((M.PAP,), (M.MSCHAPV2, M.CHAP_MD5, M.PAP), M.PAP),
        ((M.CHAP_MD5, M.PAP), (M.MSCHAPV2, M.PAP), M.PAP),
        ((M.MSCHAPV2, M.PAP), (M.PAP, M.MSCHAPV2), M.PAP),
        ((M.MSCHAPV2,), (M.PAP, M.MSCHAPV2), M.MSCHAPV2),
    ],
)
def test_the_ends_find_a_method_that_both_allow(
    client: tuple[AuthMethod, ...], server: tuple[AuthMethod, ...], agreed: AuthMethod
) -> None:
    pair = Pair(client, server)
    pair.settle(until=20.0)
    pair.check_open()
    opened = pair.last(pair.client, LcpOpened)
    assert isinstance(opened, LcpOpened)
    assert opened.method is agreed


def test_without_a_common_method_both_fail_and_nobody_gets_in() -> None:
    pair = Pair((M.MSCHAPV2,), (M.PAP,))
    pair.settle()
    failed = pair.last(pair.server, Failed)
    assert isinstance(failed, Failed)
    assert "accepts none of our" in str(failed.error)
    failed = pair.last(pair.client, Failed)
    assert isinstance(failed, Failed)
    assert "insists on pap" in str(failed.error)


@pytest.mark.parametrize("method", AuthMethod)
def test_a_wrong_password_ends_both_ends_in_order(method: AuthMethod) -> None:
    pair = Pair((method,), (method,), password="wrong")
    pair.settle(until=20.0)
    for peer in (pair.client, pair.server):
        refused = pair.last(peer, AuthenticationRefused)
        assert isinstance(refused, AuthenticationRefused)
        assert not refused.retry_allowed
        assert isinstance(pair.events[peer][-1], Finished), pair.events[peer]
    assert len([e for e in pair.events[pair.client] if isinstance(e, AuthenticationRefused)]) == 1


def test_a_server_without_name_servers_rejects_the_options() -> None:
    pair = Pair((M.PAP,), (M.PAP,), dns=())
    pair.settle(until=20.0)
    opened = pair.last(pair.client, Ipv4Opened)
    assert isinstance(opened, Ipv4Opened)
    assert (opened.dns, opened.nbns) == ((), ())


def frames_needed(method: AuthMethod) -> int:
    pair = Pair((method,), (method,))
    pair.settle(until=20.0)
    return pair.frames


CASES = [(method, number) for method in AuthMethod for number in range(frames_needed(method))]


@pytest.mark.parametrize(("method", "number"), CASES)
def test_the_loss_of_any_one_frame_is_survived(method: AuthMethod, number: int) -> None:
    pair = Pair((method,), (method,), lose=number)
    pair.settle()
    pair.check_open()


@pytest.mark.parametrize(("method", "number"), CASES)
def test_any_one_frame_may_come_twice(method: AuthMethod, number: int) -> None:
    pair = Pair((method,), (method,), duplicate=number)
    pair.settle()
    pair.check_open()


@pytest.mark.parametrize("fault", ["lose", "duplicate"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("closer", ["client", "server"])
def test_an_orderly_end_survives_a_fault(fault: str, number: int, closer: str) -> None:
    at = frames_needed(M.PAP) + number
    pair = Pair((M.PAP,), (M.PAP,), lose=at if fault == "lose" else -1, duplicate=at if fault == "duplicate" else -1)
    pair.settle(until=2.0)
    pair.check_open()
    (pair.client if closer == "client" else pair.server).close(pair.now)
    pair.settle()
    for peer in (pair.client, pair.server):
        assert isinstance(pair.events[peer][-1], Finished), pair.events[peer]
        assert not peer.ipv4_open
