"""Our EAP client against independent servers, hostapd's and FreeRADIUS', behind RADIUS as in the field.

They give the keys that they derived to the access server: MS-MPPE-Recv-Key is MSK[0:32], MS-MPPE-Send-Key MSK[32:64].
Ours must be the same. hostapd demands, signs and checks PEAP's crypto binding; FreeRADIUS knows none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from OpenSSL import SSL

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.ppp.auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.eap.client import EapClient
from sstpsocks.ppp.eap.keys import hlak_of_msk
from sstpsocks.ppp.eap.methods import make_eap_client
from sstpsocks.ppp.eap.packet import MSCHAPV2, PEAP
from sstpsocks.ppp.eap.tls_engine import EapTlsEngine, TlsUse
from sstpsocks.tunnel.eap_tls import EapTrust, OpenSslEapClient
from tests.helpers.radius import Outcome
from tests.radius.servers import PASSWORD, SERVER_NAME, EapServer, missing, running

M = AuthMethod
PROGRAMS = ["hostapd", "freeradius"]
VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])


@pytest.fixture(scope="module", params=PROGRAMS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EapServer]:
    reason = missing(request.param)
    if reason is not None and "SSTPSOCKS_TEST_RADIUS" in os.environ:
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    with running(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


class Tls(OpenSslEapClient):
    """The product's TLS, held to one version, that remembers its connections."""

    def __init__(self, server: EapServer, version: int, *, certificate: bool = False, name: str = SERVER_NAME) -> None:
        trust = EapTrust(ca_file=server.ca_file, names=(name,))
        super().__init__(trust, server.certificate if certificate else None)
        self._version = version
        self.engines: list[EapTlsEngine] = []

    def connect(self, use: TlsUse) -> EapTlsEngine:
        self.engines.append(super().connect(use))
        return self.engines[-1]

    def _context(self, use: TlsUse) -> SSL.Context:
        context = super()._context(use)
        context.set_min_proto_version(self._version)
        context.set_max_proto_version(self._version)
        return context


def log_in(
    server: EapServer,
    user: str,
    *methods: AuthMethod,
    tls: OpenSslEapClient | None = None,
    password: str = PASSWORD,
    outer: str = "",
) -> Outcome:
    credentials = Credentials(user, password, outer_identity=outer)
    machine: EapClient = make_eap_client(methods, credentials, SeededEntropy(7), tls=tls)
    client = server.connect()
    try:
        return client.log_in(machine)
    finally:
        client.close()


def assert_keys(outcome: Outcome, method: AuthMethod) -> AuthSucceeded:
    """The server has let us in, and its keys are ours."""
    assert outcome.accepted
    (event,) = outcome.events
    assert isinstance(event, AuthSucceeded), event
    assert event.method is method
    assert len(outcome.msk) == (32 if method is M.EAP_MSCHAPV2 else 64)
    assert event.hlak == hlak_of_msk(outcome.msk)
    return event


def refusal(outcome: Outcome) -> AuthRefused:
    assert not outcome.accepted
    (event,) = outcome.events
    assert isinstance(event, AuthRefused), event
    return event


@pytest.mark.parametrize(("user", "method"), [("md5", M.EAP_MD5), ("gtc", M.EAP_GTC)])
def test_methods_without_keys(server: EapServer, user: str, method: AuthMethod) -> None:
    outcome = log_in(server, user, method)
    assert outcome.accepted
    assert outcome.msk == b""
    (event,) = outcome.events
    assert isinstance(event, AuthSucceeded)
    assert event.hlak == bytes(32)
    assert refusal(log_in(server, user, method, password="open barley")).method is method


def test_mschapv2(server: EapServer) -> None:
    assert_keys(log_in(server, "alice", M.EAP_MSCHAPV2), M.EAP_MSCHAPV2)
    assert refusal(log_in(server, "alice", M.EAP_MSCHAPV2, password="open barley")).method is M.EAP_MSCHAPV2


@VERSIONS
def test_tls(server: EapServer, version: int) -> None:
    tls = Tls(server, version, certificate=True)
    for _ in range(2):  # the second time hostapd resumes the session of TLS 1.2
        assert_keys(log_in(server, "tls-user", M.EAP_TLS, tls=tls), M.EAP_TLS)
    assert {engine.is_tls13 for engine in tls.engines} == {version == SSL.TLS1_3_VERSION}


@VERSIONS
@pytest.mark.parametrize("inner", ["mschapv2", "gtc", "tls"])
def test_peap(server: EapServer, version: int, inner: str) -> None:
    user, more = {"mschapv2": ("alice", ()), "gtc": ("gtc", (M.EAP_GTC,)), "tls": ("tls-user", ())}[inner]
    if server.name == "freeradius" and inner != "mschapv2":
        pytest.skip("FreeRADIUS has one method inside PEAP here, MS-CHAPv2, and its users have passwords")
    tls = Tls(server, version, certificate=inner == "tls")
    event = assert_keys(log_in(server, user, M.PEAP, *more, tls=tls, outer="anonymous"), M.PEAP)
    assert event.username == user
    assert tls.engines[0].is_tls13 == (version == SSL.TLS1_3_VERSION)


def test_peap_again_is_a_fast_reconnect(server: EapServer) -> None:
    if server.name == "freeradius":
        pytest.skip("FreeRADIUS is set up without a cache of sessions")
    tls = Tls(server, SSL.TLS1_2_VERSION)
    outcomes = [log_in(server, "alice", M.PEAP, tls=tls, outer="anonymous") for _ in range(3)]
    for outcome in outcomes:
        assert_keys(outcome, M.PEAP)
    assert [engine.session_resumed for engine in tls.engines] == [False, True, True]
    assert len(outcomes[1].requests) < len(outcomes[0].requests)
    assert len({outcome.msk for outcome in outcomes}) == 3


@VERSIONS
def test_a_wrong_password_inside_peap(server: EapServer, version: int) -> None:
    tls = Tls(server, version)
    event = refusal(log_in(server, "alice", M.PEAP, tls=tls, password="open barley", outer="anonymous"))
    assert event.method is M.PEAP


@VERSIONS
def test_a_server_whose_name_is_another_gets_no_password(server: EapServer, version: int) -> None:
    tls = Tls(server, version, name="other.corp.example")
    event = refusal(log_in(server, "alice", M.PEAP, tls=tls, outer="anonymous"))
    assert "is not for other.corp.example" in event.message


def test_a_nak_finds_a_method_that_both_have(server: EapServer) -> None:
    if server.name == "hostapd":
        pytest.skip("hostapd's users have one method each here")
    tls = Tls(server, SSL.TLS1_3_VERSION)
    # FreeRADIUS proposes MS-CHAPv2 first.
    outcome = log_in(server, "alice", M.PEAP, tls=tls)
    assert [packet.kind for packet in outcome.requests[:2]] == [MSCHAPV2, PEAP]
    assert_keys(outcome, M.PEAP)


def test_a_server_without_a_method_that_is_allowed_says_which_to_allow(server: EapServer) -> None:
    if server.name == "freeradius":
        pytest.skip("FreeRADIUS has all of them")
    event = refusal(log_in(server, "tls-user", M.EAP_MSCHAPV2))
    assert "offers only EAP-TLS" in event.message
    assert event.hint.startswith("Allow it with --auth eap-mschapv2,eap-tls.")
