"""The TLS inside EAP over OpenSSL: both machines meet over every method and version; whom the client trusts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.errors import ConfigError
from sstpsocks.ppp.auth import AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.eap.method import Users
from sstpsocks.ppp.eap.methods import make_eap_client, make_eap_server
from sstpsocks.ppp.eap.tls_engine import TlsUse
from sstpsocks.tunnel.client_certificate import ClientCertificate
from sstpsocks.tunnel.eap_tls import EapTrust, OpenSslEapClient, OpenSslEapServer
from tests.helpers.auth import ALICE, PASSWORDS, Pair
from tests.helpers.certificates import Issued, authority, issue

M = AuthMethod
NAME = "radius.corp.example"
VERSIONS = pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])


class Site:
    """An authority, its RADIUS server and its client."""

    def __init__(self, folder: Path) -> None:
        self.authority = authority("Corp Authority")
        self.server = issue([NAME], self.authority)
        client = issue([], self.authority, subject="alice", usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
        self.client = ClientCertificate(client.certificate, client.key)
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self.authority.pem)

    def engines(self, server: Issued | None = None) -> OpenSslEapServer:
        issued = server or self.server
        return OpenSslEapServer(issued.chain, issued.key, [self.authority.certificate])

    def trust(self, **more: tuple[str, ...] | tuple[bytes, ...] | None) -> EapTrust:
        return EapTrust(**{"ca_file": str(self.ca_file), **more})  # type: ignore[arg-type] # from the tests' tables

    def pair(
        self,
        methods: tuple[AuthMethod, ...],
        *,
        version: int = SSL.TLS1_3_VERSION,
        client: OpenSslEapClient | None = None,
        server: OpenSslEapServer | None = None,
        credentials: Credentials = ALICE,
        inside: tuple[AuthMethod, ...] = (M.EAP_MSCHAPV2,),
    ) -> Pair:
        ours = client or OpenSslEapClient(self.trust(), self.client)
        theirs = server or self.engines()
        theirs.limit_version(version)
        peer = make_eap_client(methods, credentials, SeededEntropy(1), tls=ours)
        users = Users(PASSWORDS.get)
        pair = Pair(peer, make_eap_server(methods[:1], users, SeededEntropy(2), tls=theirs, inside_peap=inside))
        pair.start()
        pair.run()
        return pair


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


def assert_success(pair: Pair) -> AuthSucceeded:
    (ours,), (theirs,) = pair.client_events, pair.server_events
    assert isinstance(ours, AuthSucceeded), ours
    assert isinstance(theirs, AuthSucceeded), theirs
    assert ours.hlak == theirs.hlak != bytes(32)
    assert theirs.username == "alice"
    return ours


def refusal(pair: Pair) -> AuthRefused:
    (ours,) = pair.client_events
    assert isinstance(ours, AuthRefused), ours
    assert not any(isinstance(event, AuthSucceeded) for event in pair.server_events)
    return ours


@VERSIONS
def test_eap_tls(site: Site, version: int) -> None:
    assert assert_success(site.pair((M.EAP_TLS,), version=version)).method is M.EAP_TLS


@VERSIONS
@pytest.mark.parametrize("inside", [M.EAP_MSCHAPV2, M.EAP_GTC, M.EAP_TLS])
def test_peap(site: Site, version: int, inside: AuthMethod) -> None:
    pair = site.pair((M.PEAP, M.EAP_GTC), version=version, inside=(inside,))
    assert assert_success(pair).method is M.PEAP


@VERSIONS
def test_the_password_is_never_in_the_open(site: Site, version: int) -> None:
    pair = site.pair((M.PEAP, M.EAP_GTC), version=version, inside=(M.EAP_GTC,))
    assert_success(pair)
    assert not any(b"open sesame" in packet for _, packet in pair.wire)


@VERSIONS
@pytest.mark.parametrize("method", [M.EAP_TLS, M.PEAP])
def test_an_unknown_authority(site: Site, version: int, method: AuthMethod) -> None:
    stranger = issue([NAME], authority("Somebody"))
    event = refusal(site.pair((method,), version=version, server=site.engines(stranger)))
    assert "authentication server (EAP): certificate not trusted" in event.message
    assert hashlib.sha256(stranger.der).hexdigest() in event.message
    assert "--eap-ca-file" in event.hint


def test_a_name_of_its_own(site: Site) -> None:
    wrong = OpenSslEapClient(site.trust(names=("vpn.corp.example",)))
    event = refusal(site.pair((M.PEAP,), client=wrong))
    assert "is not for vpn.corp.example" in event.message
    assert "--eap-server-name" in event.hint
    either = OpenSslEapClient(site.trust(names=("vpn.corp.example", NAME)))
    assert_success(site.pair((M.PEAP,), client=either))


def test_an_expired_certificate(site: Site) -> None:
    old = issue([NAME], site.authority, valid_from=-30, valid_until=-1)
    event = refusal(site.pair((M.PEAP,), server=site.engines(old)))
    assert "has expired" in event.message


def test_a_pin_replaces_the_authority(site: Site) -> None:
    stranger = issue([NAME], authority("Somebody"))
    right = OpenSslEapClient(EapTrust(pins=(hashlib.sha256(stranger.der).digest(),)))
    assert_success(site.pair((M.PEAP,), client=right, server=site.engines(stranger)))
    wrong = OpenSslEapClient(EapTrust(pins=(bytes(32),)))
    assert "pinned" in refusal(site.pair((M.PEAP,), client=wrong, server=site.engines(stranger))).message


def test_a_missing_file_of_authorities(tmp_path: Path) -> None:
    client = OpenSslEapClient(EapTrust(ca_file=str(tmp_path / "missing.pem")))
    with pytest.raises(ConfigError):
        client.connect(TlsUse.PEAP)


@VERSIONS
def test_a_client_certificate_that_the_server_does_not_know(site: Site, version: int) -> None:
    foreign = issue([], authority("Elsewhere"), subject="alice", usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    client = OpenSslEapClient(site.trust(), ClientCertificate(foreign.certificate, foreign.key))
    event = refusal(site.pair((M.EAP_TLS,), version=version, client=client))
    assert "alert" in event.message
    assert "may not know the client certificate" in event.hint


def test_no_certificate_is_shown_in_peap(site: Site) -> None:
    engine = OpenSslEapClient(site.trust(), site.client).connect(TlsUse.PEAP)
    server = OpenSslEapServer(site.server.chain, site.server.key, [site.authority.certificate])
    other = server.accept(TlsUse.EAP_TLS)  # which demands one
    engine.start()
    for _ in range(4):
        other.receive_data(engine.data_to_send())
        engine.receive_data(other.data_to_send())
    assert other.problem is not None
    assert other.peer_name == ""


def test_garbage_is_a_problem_and_no_exception(site: Site) -> None:
    engine = OpenSslEapClient(site.trust()).connect(TlsUse.PEAP)
    engine.start()
    engine.receive_data(b"\x16\x03\x03\x00\x04nope")
    assert engine.problem is not None
    engine.receive_data(b"more")
    assert engine.read() == b""


def test_keys_are_exported_alike_and_the_context_matters(site: Site) -> None:
    ours = OpenSslEapClient(site.trust()).connect(TlsUse.PEAP)
    theirs = site.engines().accept(TlsUse.PEAP)
    ours.start()
    for _ in range(4):
        theirs.receive_data(ours.data_to_send())
        ours.receive_data(theirs.data_to_send())
    assert ours.handshake_complete
    assert ours.export_keying_material("label", 64, b"\x19") == theirs.export_keying_material("label", 64, b"\x19")
    assert ours.export_keying_material("label", 64, b"\x19") != ours.export_keying_material("label", 64, b"\x0d")
    assert not ours.session_resumed
