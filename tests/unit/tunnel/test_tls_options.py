"""Old and new versions of TLS, client certificates, the key log, and what a server may send in mid-stream."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from sstpsocks.errors import CertificateRejected, ConfigError, TlsFailed
from sstpsocks.tunnel.client_certificate import ClientCertificate
from sstpsocks.tunnel.roots import Roots
from sstpsocks.tunnel.settings import TlsSettings, TrustSettings
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.tls_settings import TlsVersion
from sstpsocks.tunnel.trust import client_context, server_context, server_name_indication, verify_peer
from tests.helpers.certificates import Issued, authority, issue, weak_key
from tests.helpers.tls import carry, client_engine, server_engine, shake_hands
from tests.helpers.tls13 import APPLICATION_DATA, HANDSHAKE, Direction, key_update, new_session_ticket

NAME = "vpn.example.com"
SHA1 = Path(__file__).parents[2] / "data" / "sha1_certificate.pem"
VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@pytest.fixture
def trust(ca_file: str) -> TrustSettings:
    return TrustSettings(server_name=NAME, ca_file=ca_file)


def server_of(version: str, issued: Issued) -> TlsEngine:
    """A server that speaks one version only, whatever its ciphers and keys."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_min_proto_version(VERSIONS[version])
    context.set_max_proto_version(VERSIONS[version])
    context.use_certificate(issued.certificate)
    context.use_privatekey(issued.key)
    return TlsEngine(context, server_side=True, peer="client")


def finish(client: TlsEngine, server: TlsEngine) -> None:
    """Shake hands and read what the server says behind that: the alert of its refusal, for one."""
    shake_hands(client, server)
    client.feed(server.ciphertext_to_send())
    if not client.handshake_complete:
        client.handshake()
    client.read_available()


# Versions and levels


@pytest.mark.parametrize("offered", list(VERSIONS))
@pytest.mark.parametrize("minimum", list(VERSIONS))
def test_the_oldest_version_is_what_was_asked_for(
    good: Issued, trust: TrustSettings, offered: str, minimum: TlsVersion
) -> None:
    client, server = client_engine(trust, TlsSettings(min_version=minimum)), server_of(offered, good)
    if offered >= minimum:
        shake_hands(client, server)
        verify_peer(client, trust)
        assert client.version == ("TLSv1" if offered == "1.0" else f"TLSv{offered}")
        client.write(b"hello")
        assert carry(client, server) == b"hello"
    else:
        with pytest.raises(TlsFailed, match="older than allowed") as caught:
            finish(client, server)
        assert "--tls-min" in caught.value.hint


def test_an_old_routers_cipher_passes_at_a_lower_level(good: Issued, root: Issued, trust: TrustSettings) -> None:
    issued = issue([NAME], root, key=rsa.generate_private_key(65537, 2048))

    def server() -> TlsEngine:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"AES128-SHA:@SECLEVEL=0")  # no forward secrecy, CBC, SHA-1: RouterOS 6
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate(issued.certificate)
        context.use_privatekey(issued.key)
        return TlsEngine(context, server_side=True)

    client = client_engine(trust)
    shake_hands(client, server())
    assert client.cipher == "AES128-SHA"
    client = client_engine(trust, TlsSettings(security_level=5))
    with pytest.raises(TlsFailed, match=r"no key exchange in common") as caught:
        finish(client, server())
    assert "--tls-seclevel" in caught.value.hint


def test_a_key_that_is_too_short_is_refused_with_the_way_out(root: Issued, trust: TrustSettings) -> None:
    issued = issue([NAME], root, key=weak_key())
    with pytest.raises(CertificateRejected, match="the certificate's key is too short to be safe") as caught:
        shake_hands(client_engine(trust), server_of("1.3", issued))
    assert "--tls-seclevel 1" in caught.value.hint
    client = client_engine(trust, TlsSettings(security_level=1))
    shake_hands(client, server_of("1.3", issued))
    assert verify_peer(client, trust) == NAME


def test_a_hash_that_is_broken_is_refused_with_the_way_out() -> None:
    pem = SHA1.read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    trust = TrustSettings(server_name=NAME)
    # The leaf is in the file, too; what is trusted as it is needs no signature. So only its authority counts here.
    above = x509.load_pem_x509_certificates(pem)[1].public_bytes(serialization.Encoding.DER)
    roots = Roots(source="test", certificates=(above,))
    with pytest.raises(CertificateRejected, match="hash that is not safe any more") as caught:
        shake_hands(TlsEngine(client_context(trust, roots)), server_of("1.3", Issued(certificate, key)))
    assert "--tls-seclevel 0" in caught.value.hint
    client = TlsEngine(client_context(trust, roots, TlsSettings(security_level=0)))
    shake_hands(client, server_of("1.3", Issued(certificate, key)))
    assert verify_peer(client, trust) == NAME


def test_an_authority_with_a_weak_key_is_told_from_a_weak_server(root: Issued, trust: TrustSettings) -> None:
    middle = issue([], root, subject="Weak", is_authority=True, key=weak_key())
    issued = issue([NAME], middle, send_above=True)
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_certificate(issued.certificate)
    context.add_extra_chain_cert(middle.certificate)
    context.use_privatekey(issued.key)
    with pytest.raises(CertificateRejected, match="the key of an authority in the chain is too short"):
        shake_hands(client_engine(trust), TlsEngine(context, server_side=True))


# Names


@pytest.mark.parametrize(
    ("name", "sni", "seen"),
    [
        (NAME, None, NAME),
        (NAME, "front.example.com", "front.example.com"),
        (NAME, "", None),
        ("192.0.2.1", None, None),
        ("192.0.2.1", NAME, NAME),
    ],
)
def test_the_name_to_verify_and_the_name_that_is_shown_are_apart(
    good: Issued, ca_file: str, name: str, sni: str | None, seen: str | None
) -> None:
    trust = TrustSettings(server_name=name, sni=sni, ca_file=ca_file)
    client = TlsEngine(client_context(trust), server_hostname=server_name_indication(trust))
    server = server_engine(good)
    shake_hands(client, server)
    assert verify_peer(client, trust) == name
    assert server.requested_hostname == seen


# Client certificates


def demanding(good: Issued, version: str, client_authority: Issued) -> TlsEngine:
    context = server_context(good.chain, good.key)
    context.set_max_proto_version(VERSIONS[version])
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(crypto.X509.from_cryptography(client_authority.certificate))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return TlsEngine(context, server_side=True, peer="client")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_client_certificate_is_shown_to_who_asks(good: Issued, trust: TrustSettings, version: str) -> None:
    people = authority("People")
    alice = issue([], authority_below := authority("Department", people), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = ClientCertificate(alice.certificate, alice.key, (authority_below.certificate,))
    client, server = (
        client_engine(trust, TlsSettings(certificate=certificate)),
        demanding(good, version, people),
    )
    finish(client, server)
    assert server.peer_certificate_der() == alice.der


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_without_one_or_with_the_wrong_one_the_message_says_so(
    good: Issued, trust: TrustSettings, version: str
) -> None:
    people = authority("People")
    with pytest.raises(TlsFailed, match=r"wants a client certificate|wants another server name or a client") as caught:
        finish(client_engine(trust), demanding(good, version, people))
    assert "--certificate" in caught.value.hint
    mallory = issue([], authority("Stranger"), usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
    tls = TlsSettings(certificate=ClientCertificate(mallory.certificate, mallory.key))
    with pytest.raises(TlsFailed, match="does not accept our client certificate"):
        finish(client_engine(trust, tls), demanding(good, version, people))


def test_a_certificate_that_openssl_does_not_take_is_a_configuration_error(trust: TrustSettings) -> None:
    weak = issue([], key=weak_key())
    with pytest.raises(ConfigError, match="does not take the client certificate"):
        client_engine(trust, TlsSettings(certificate=ClientCertificate(weak.certificate, weak.key)))


# The key log


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_the_key_log_is_appended_to_and_nobody_else_reads_it(
    good: Issued, trust: TrustSettings, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    for count in (1, 2):
        shake_hands(client_engine(trust, TlsSettings(keylog_file=str(path))), server_engine(good))
        lines = path.read_text().splitlines()
        assert sum(line.startswith("CLIENT_TRAFFIC_SECRET_0 ") for line in lines) == count
        assert all(len(line.split(" ")) == 3 for line in lines)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_a_key_log_that_others_read_or_that_is_a_link_is_refused(trust: TrustSettings, tmp_path: Path) -> None:
    path, link = tmp_path / "keys", tmp_path / "link"
    path.write_text("")
    path.chmod(0o644)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="other users may open it"):
        client_engine(trust, TlsSettings(keylog_file=str(path)))
    with pytest.raises(ConfigError, match="key log"):
        client_engine(trust, TlsSettings(keylog_file=str(link)))
    with pytest.raises(ConfigError, match="No such file"):
        client_engine(trust, TlsSettings(keylog_file=str(tmp_path / "missing" / "keys")))


def test_a_key_log_that_breaks_later_does_not_break_the_connection(
    good: Issued, trust: TrustSettings, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    client = client_engine(trust, TlsSettings(keylog_file=str(folder / "keys")))
    (folder / "keys").unlink()
    folder.rmdir()
    shake_hands(client, server_engine(good))
    assert client.handshake_complete


# In mid-stream


class Server13:
    """A server whose records are made by hand once the handshake is over."""

    def __init__(self, good: Issued, trust: TrustSettings) -> None:
        secrets: dict[str, bytes] = {}
        context = server_context(good.chain, good.key)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_tls13_ciphersuites(b"TLS_AES_256_GCM_SHA384")
        context.set_options(SSL.OP_NO_TICKET)

        def note(_connection: SSL.Connection, line: bytes) -> None:
            label, _random, secret = line.decode("ascii").split()
            secrets[label] = bytes.fromhex(secret)

        context.set_keylog_callback(note)
        self.client = client_engine(trust)
        server = TlsEngine(context, server_side=True)
        shake_hands(self.client, server)
        server.write(b"by OpenSSL")
        sent = server.ciphertext_to_send()
        self.client.feed(sent)
        assert self.client.read_available() == b"by OpenSSL"
        records = 0
        while sent:
            sent = sent[5 + int.from_bytes(sent[3:5], "big") :]
            records += 1
        # OpenSSL sends two tickets in spite of the option, only stateful ones; the handshake carried them over.
        self.outgoing = Direction(secrets["SERVER_TRAFFIC_SECRET_0"], records + 2)
        self.incoming = Direction(secrets["CLIENT_TRAFFIC_SECRET_0"])

    def send(self, kind: int, content: bytes) -> None:
        self.client.feed(self.outgoing.seal(kind, content))

    def update_keys(self, *, requested: bool) -> None:
        self.send(HANDSHAKE, key_update(requested=requested))
        self.outgoing.new_keys()

    def answers(self) -> list[tuple[int, bytes]]:
        return self.incoming.open(self.client.ciphertext_to_send())


@pytest.fixture
def server13(good: Issued, trust: TrustSettings) -> Server13:
    return Server13(good, trust)


def test_new_keys_of_the_server_do_not_upset_the_reader(server13: Server13) -> None:
    for number in range(50):
        server13.send(APPLICATION_DATA, b"before %d." % number)
        server13.update_keys(requested=False)
        server13.send(APPLICATION_DATA, b"after %d." % number)
        assert server13.client.read_available() == b"before %d.after %d." % (number, number)
    assert server13.answers() == []  # nothing was asked of us


def test_a_request_for_new_keys_is_answered_before_our_next_data(server13: Server13) -> None:
    for number in range(20):
        server13.send(APPLICATION_DATA, b"data")
        server13.update_keys(requested=True)
        assert server13.client.read_available() == b"data"
        server13.client.write(b"ours %d" % number)
        # RFC 8446 section 4.6.3: "prior to sending its next Application Data record"
        assert server13.answers() == [
            (HANDSHAKE, key_update(requested=False)),
            (APPLICATION_DATA, b"ours %d" % number),
        ]
    assert not server13.client.at_eof


def test_any_number_of_tickets_between_the_data_is_neither_data_nor_an_end(server13: Server13) -> None:
    received = b""
    for number in range(300):
        server13.send(HANDSHAKE, new_session_ticket(number))
        if number % 3 == 0:
            server13.send(APPLICATION_DATA, b"x%d " % number)
            server13.send(HANDSHAKE, new_session_ticket(1000 + number) + new_session_ticket(2000 + number))
        received += server13.client.read_available()
    assert received == b"".join(b"x%d " % number for number in range(0, 300, 3))
    assert server13.answers() == []
    server13.client.write(b"still here")
    assert server13.answers() == [(APPLICATION_DATA, b"still here")]


def test_a_key_update_in_the_middle_of_a_batch_loses_nothing(server13: Server13) -> None:
    seal = server13.outgoing.seal
    batch = [seal(APPLICATION_DATA, b"a" * 1404), seal(HANDSHAKE, key_update(requested=True))]
    server13.outgoing.new_keys()
    batch += [seal(HANDSHAKE, new_session_ticket(1)), seal(APPLICATION_DATA, b"b" * 16384)]
    for piece in batch:
        for start in range(0, len(piece), 1000):
            server13.client.feed(piece[start : start + 1000])
    assert server13.client.read_available() == b"a" * 1404 + b"b" * 16384
    assert server13.answers() == [(HANDSHAKE, key_update(requested=False))]
