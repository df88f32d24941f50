"""Where trusted authorities are found on each platform, with the platform handed in."""

from __future__ import annotations

import ctypes
import ssl
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sstpsocks.errors import CertificateRejected, ConfigError
from sstpsocks.tunnel.roots import (
    Roots,
    certifi_roots,
    macos_roots,
    system_roots,
    unix_roots,
    windows_roots,
)
from sstpsocks.tunnel.settings import TrustSettings
from sstpsocks.tunnel.tls import TlsEngine
from sstpsocks.tunnel.trust import client_context
from tests.helpers.certificates import Issued, authority
from tests.helpers.tls import server_engine, shake_hands

NOWHERE = ssl.DefaultVerifyPaths(None, None, "", "", "", "")  # type: ignore[arg-type]  # what an interpreter without any returns
TRUST = TrustSettings(server_name="vpn.example.com")


def trusts(roots: Roots | None, issued: Issued) -> bool:
    """Whether a client with these roots completes a handshake with a server that has this certificate."""
    assert roots is not None
    client = TlsEngine(client_context(TRUST, roots))
    try:
        shake_hands(client, server_engine(issued))
    except CertificateRejected:
        return False
    return client.handshake_complete


def no_interpreter_paths() -> ssl.DefaultVerifyPaths:
    return NOWHERE


def test_unix_takes_the_first_bundle_that_exists(root: Issued, good: Issued, ca_file: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    bundles = (str(tmp_path / "missing.pem"), str(tmp_path / "empty.pem"), ca_file)
    roots = unix_roots({}, bundles, no_interpreter_paths)
    assert roots == Roots(source=ca_file, file=ca_file)
    assert trusts(roots, good)


def test_unix_asks_where_the_interpreter_looks(good: Issued, ca_file: str, tmp_path: Path) -> None:
    by_file = unix_roots({}, (), lambda: NOWHERE._replace(cafile=ca_file))
    assert trusts(by_file, good)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert unix_roots({}, (), lambda: NOWHERE._replace(capath=str(empty))) is None
    by_directory = unix_roots({}, (), lambda: NOWHERE._replace(capath=str(tmp_path)))
    assert by_directory == Roots(source=str(tmp_path), directory=str(tmp_path))


def test_unix_lets_the_environment_replace_the_system(good: Issued, ca_file: str, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(authority("Stranger").pem)
    assert not trusts(unix_roots({}, (str(stranger),), no_interpreter_paths), good)
    assert trusts(unix_roots({"SSL_CERT_FILE": ca_file}, (str(stranger),), no_interpreter_paths), good)
    with pytest.raises(ConfigError, match="/does/not/exist"):
        unix_roots({"SSL_CERT_FILE": "/does/not/exist"}, (ca_file,), no_interpreter_paths)


def test_unix_without_any_says_so() -> None:
    assert unix_roots({}, (), no_interpreter_paths) is None


def test_windows_certificates_are_loaded_and_a_damaged_one_is_skipped(root: Issued, good: Issued) -> None:
    roots = windows_roots(lambda: [b"damaged", root.der])
    assert trusts(roots, good)
    assert not trusts(windows_roots(lambda: [authority("Stranger").der]), good)
    assert windows_roots(list) is None


def nothing() -> list[bytes]:
    return []


def test_macos_is_asked_first_and_apples_keychain_is_read_when_it_does_not_answer(root: Issued, good: Issued) -> None:
    other = authority("Other")
    asked = macos_roots(lambda: [root.der], lambda: other.pem)
    assert asked == Roots(source="the trust settings of macOS", certificates=(root.der,))
    assert trusts(asked, good)
    exported = macos_roots(nothing, lambda: other.pem + root.pem)
    assert exported is not None
    assert exported.certificates == (other.der, root.der)
    assert macos_roots(nothing, lambda: b"") is None


def test_a_platform_that_is_no_mac_has_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError("security")

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert macos_roots(nothing) is None


@pytest.mark.parametrize(
    ("platform", "expected"), [("win32", "W"), ("darwin", "M"), ("linux", "U"), ("freebsd14", "U")]
)
def test_each_platform_is_asked_its_own_way(platform: str, expected: str) -> None:
    found = system_roots(
        platform,
        windows=lambda: Roots(source="W"),
        macos=lambda: Roots(source="M"),
        unix=lambda: Roots(source="U"),
        fallback=lambda: Roots(source="F"),
    )
    assert found.source == expected


def test_without_a_system_store_certifi_is_used_and_marked(monkeypatch: pytest.MonkeyPatch, ca_file: str) -> None:
    certifi = ModuleType("certifi")
    monkeypatch.setattr(certifi, "where", lambda: ca_file, raising=False)
    monkeypatch.setitem(sys.modules, "certifi", certifi)
    found = system_roots("linux", unix=lambda: None)
    assert found.file == ca_file
    assert found.is_fallback


def test_without_any_authorities_the_hint_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "certifi", None)
    assert certifi_roots() is None
    with pytest.raises(ConfigError, match="no list of trusted") as caught:
        system_roots("linux", unix=lambda: None)
    assert "--ca-file" in caught.value.hint
    assert "--pin-sha256" in caught.value.hint
