"""Trust on first use, and the file that remembers it."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from cryptography.x509 import ocsp

from sstpsocks.errors import CertificateRejected, ConfigError
from sstpsocks.tunnel.first_use import verify_server
from sstpsocks.tunnel.known_hosts import KnownHost, read_known_hosts, remember_host
from sstpsocks.tunnel.pins import parse_pin, pin_text
from sstpsocks.tunnel.settings import FirstUse, TrustSettings
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.tls_settings import UnknownCertificate
from sstpsocks.tunnel.trust import server_context, verify_peer
from tests.helpers.certificates import Issued, authority, issue, ocsp_response, pem_of, revocation_list
from tests.helpers.tls import client_engine, server_engine, shake_hands

NAME = "vpn.example.com"
SERVER = "vpn.example.com:443"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")


class Person:
    """Answers questions."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[UnknownCertificate] = []

    async def __call__(self, question: UnknownCertificate) -> bool:
        await trio.lowlevel.checkpoint()
        self.asked.append(question)
        return self.answer


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "known_hosts"


def trust_with(known_hosts: Path, ca_file: str, person: Person | None = None) -> TrustSettings:
    return TrustSettings(
        server_name=NAME, ca_file=ca_file, first_use=FirstUse(known_hosts=str(known_hosts), ask=person)
    )


async def connect(issued: Issued, trust: TrustSettings, server: str = SERVER) -> str:
    client = client_engine(trust)
    shake_hands(client, server_engine(issued))
    return await verify_server(client, trust, server)


def pin_of_key(issued: Issued) -> str:
    return pin_text(hashlib.sha256(issued.public_key_der).digest())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def remembered(known_hosts: Path) -> tuple[KnownHost, ...]:
    return read_known_hosts(str(known_hosts))


async def test_a_confirmed_server_is_remembered_and_not_asked_about_again(known_hosts: Path, ca_file: str) -> None:
    person, issued = Person(True), issue([NAME])
    trust = trust_with(known_hosts, ca_file, person)
    assert await connect(issued, trust) == "its key, confirmed just now"
    (question,) = person.asked
    assert question.server == SERVER
    assert question.reason == "self-signed certificate"
    assert question.sha256 == hashlib.sha256(issued.der).hexdigest()
    assert question.pin == pin_of_key(issued)
    assert (mode_of(known_hosts), mode_of(known_hosts.parent)) == (0o600, 0o700)
    assert [(host.server, pin_text(host.digest)) for host in remembered(known_hosts)] == [(SERVER, question.pin)]
    assert (await connect(issued, trust, "VPN.example.com:443")).startswith("its key, known since 2")
    assert len(person.asked) == 1
    assert os.listdir(known_hosts.parent) == ["known_hosts"]


async def test_a_renewed_certificate_with_the_same_key_is_still_known(known_hosts: Path, ca_file: str) -> None:
    person, issued = Person(True), issue([NAME])
    trust = trust_with(known_hosts, ca_file, person)
    await connect(issued, trust)
    await connect(issue([NAME], key=issued.key), trust)
    assert len(person.asked) == 1


async def test_a_changed_key_is_refused_loudly_even_if_an_authority_signed_it(
    known_hosts: Path, ca_file: str, good: Issued
) -> None:
    person = Person(True)
    trust = trust_with(known_hosts, ca_file, person)
    await connect(issue([NAME]), trust)
    for other in (issue([NAME]), good):
        with pytest.raises(
            CertificateRejected, match="THE SERVER'S KEY HAS CHANGED since it was confirmed on 2"
        ) as caught:
            await connect(other, trust)
        assert pin_of_key(other) in caught.value.hint
        assert str(known_hosts) in caught.value.hint
        assert caught.value.exit_code == 4
    assert len(person.asked) == 1


async def test_another_port_is_another_server(known_hosts: Path, ca_file: str) -> None:
    person, issued = Person(True), issue([NAME])
    trust = trust_with(known_hosts, ca_file, person)
    await connect(issued, trust)
    await connect(issued, trust, "vpn.example.com:444")
    assert len(person.asked) == 2
    assert len(remembered(known_hosts)) == 2


async def test_a_server_that_passes_anyway_is_neither_asked_about_nor_remembered(
    known_hosts: Path, ca_file: str, good: Issued
) -> None:
    person = Person(False)
    assert await connect(good, trust_with(known_hosts, ca_file, person)) == NAME
    assert not person.asked
    assert not remembered(known_hosts)


async def test_a_wrong_name_and_an_expired_certificate_can_be_confirmed(
    known_hosts: Path, ca_file: str, root: Issued
) -> None:
    person = Person(True)
    trust = trust_with(known_hosts, ca_file, person)
    await connect(issue(["other.example.com"], root), trust, "a:443")
    await connect(issue([NAME], root, valid_from=-9, valid_until=-1), trust, "b:443")
    await connect(issue([NAME], authority("Stranger")), trust, "c:443")
    assert [question.reason for question in person.asked] == [
        f"certificate is not for {NAME}; it names other.example.com",
        "certificate has expired",
        "it was signed by an authority that is not trusted here",
    ]


async def test_without_anybody_to_ask_the_message_holds_the_option(known_hosts: Path, ca_file: str) -> None:
    issued = issue([NAME])
    with pytest.raises(CertificateRejected, match="self-signed certificate") as caught:
        await connect(issued, trust_with(known_hosts, ca_file))
    assert f"--pin-sha256 {pin_of_key(issued)} " in caught.value.hint
    assert caught.value.sha256 == hashlib.sha256(issued.der).hexdigest()
    assert not remembered(known_hosts)


async def test_who_says_no_does_not_connect(known_hosts: Path, ca_file: str) -> None:
    with pytest.raises(CertificateRejected, match="was not confirmed"):
        await connect(issue([NAME]), trust_with(known_hosts, ca_file, Person(False)))
    assert not remembered(known_hosts)


async def test_nobody_is_asked_about_what_was_revoked(
    known_hosts: Path, ca_file: str, root: Issued, tmp_path: Path
) -> None:
    person = Person(True)
    (tmp_path / "crl.pem").write_bytes(pem_of(revocation_list(root, [revoked := issue(["elsewhere"], root)])))
    trust = replace(trust_with(known_hosts, ca_file, person), crl_file=str(tmp_path / "crl.pem"))
    with pytest.raises(CertificateRejected, match="revoked"):
        await connect(revoked, trust)
    assert not person.asked

    staple = ocsp_response(revoked, root, ocsp.OCSPCertStatus.REVOKED)
    context = server_context(revoked.chain, revoked.key)
    context.set_ocsp_server_callback(lambda _connection, _data: staple)
    trust = trust_with(known_hosts, ca_file, person)
    client = client_engine(trust)
    shake_hands(client, TlsEngine(context, server_side=True))
    with pytest.raises(CertificateRejected, match="revoked"):
        await verify_server(client, trust, SERVER)
    assert not person.asked


def test_who_forgets_to_ask_does_not_connect(known_hosts: Path, ca_file: str) -> None:
    trust = trust_with(known_hosts, ca_file, Person(True))
    client = client_engine(trust)
    shake_hands(client, server_engine(issue([NAME])))
    with pytest.raises(CertificateRejected, match="self-signed"):
        verify_peer(client, trust)


# The file


def test_what_is_added_keeps_what_was_there_and_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("# mine\nother:443 " + "ab" * 32)  # no end of the line
    real.chmod(0o600)
    link.symlink_to(real)
    host = KnownHost(SERVER, bytes(range(32)), "2026-01-31")
    remember_host(str(link), host)
    assert link.is_symlink()
    assert real.read_text().startswith("# mine\nother:443 ")
    assert read_known_hosts(str(link)) == (KnownHost("other:443", b"\xab" * 32), host)


def test_a_file_that_others_can_change_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_text("")
    path.chmod(0o622)
    with pytest.raises(ConfigError, match="other users may change it"):
        read_known_hosts(str(path))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"vpn:443", "line 1"),
        (b"\nvpn:443 abcd", "line 2"),
        (b"vpn " + b"ab" * 32, "line 1"),
        (b"vpn:443 " + b"ab" * 32 + b" 2026-01-31 more", "line 1"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_line_that_is_not_understood_is_an_error_and_is_not_overwritten(
    tmp_path: Path, content: bytes, text: str
) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=text):
        read_known_hosts(str(path))
    with pytest.raises(ConfigError, match=text):
        remember_host(str(path), KnownHost(SERVER, bytes(32)))
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="known hosts"):
        remember_host(str(tmp_path / "file" / "known_hosts"), KnownHost(SERVER, bytes(32)))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "known_hosts"
    remember_host(str(path), KnownHost(SERVER, bytes(32)))
    before = path.read_bytes()

    def fail(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ConfigError, match="No space left"):
        remember_host(str(path), KnownHost("other:443", bytes(32)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["known_hosts"]


def test_pins_are_read_in_both_forms() -> None:
    digest = bytes(range(32))
    assert parse_pin(pin_text(digest)) == parse_pin(digest.hex(":").upper()) == digest
    for wrong in ("sha256//", "sha256//AAAA", "sha256//" + "=" * 44, "sha256//ü", "sha1//AAAA"):
        with pytest.raises(ValueError, match="SHA-256"):
            parse_pin(wrong)
