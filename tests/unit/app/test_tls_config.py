"""What the options say about TLS and trust, and the question about an unknown server."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sstpsocks.app.config import Configuration
from sstpsocks.app.first_use_prompt import FirstUsePrompt
from sstpsocks.tunnel.settings import FirstUse, TlsSettings
from sstpsocks.tunnel.tls_settings import UnknownCertificate
from tests.helpers.certificates import issue
from tests.unit.app.test_config import fails, load_with

PIN = "sha256//" + "A" * 43 + "="


def load(tmp_path: Path, *flags: str, terminal: bool = False) -> Configuration:
    variables = {"PASSWORD": "x"}
    return load_with(tmp_path, ["vpn.example.org", "--user", "u", *flags], variables, None, terminal=terminal)


def error(tmp_path: Path, *flags: str) -> str:
    caught = fails(tmp_path, "vpn.example.org", "--user", "u", *flags, PASSWORD="x")
    return f"{caught} {caught.hint}"


def test_the_defaults_are_strict_and_warn_of_nothing(tmp_path: Path) -> None:
    configuration = load(tmp_path)
    trust, tls = configuration.tunnel.trust, configuration.tunnel.tls
    assert (trust.sni, trust.crl_file, trust.first_use) == (None, None, None)
    assert tls == TlsSettings(min_version="1.2")
    assert tls.level is None
    assert configuration.tunnel.ecn == "passive"
    assert configuration.warnings == ()


def test_sni_is_a_name_or_none(tmp_path: Path) -> None:
    assert load(tmp_path, "--sni", "Front.Example.org.").tunnel.trust.sni == "front.example.org"
    assert load(tmp_path, "--sni", "none").tunnel.trust.sni == ""
    assert "--sni" in error(tmp_path, "--sni", "192.0.2.1")
    assert "--sni" in error(tmp_path, "--sni", "a b")


def test_address_sni_name_and_pin_are_four_settings(tmp_path: Path) -> None:
    tunnel = load(
        tmp_path, "--connect-to", "192.0.2.7", "--sni", "a.example", "--server-name", "b.example", "--pin-sha256", PIN
    ).tunnel
    assert tunnel.host == "vpn.example.org"
    assert tunnel.connect_to == ("192.0.2.7", 443)
    assert (tunnel.trust.sni, tunnel.trust.server_name, tunnel.trust.pins) == ("a.example", "b.example", (bytes(32),))


@pytest.mark.parametrize(
    ("flags", "level", "words"),
    [
        (["--tls-min", "1.0"], 0, ["--tls-min 1.0 lets versions", "everything, however weak"]),
        (["--tls-min", "1.1", "--tls-seclevel", "1"], 1, ["--tls-min 1.1", "80 bits"]),
        (["--tls-seclevel", "0"], 0, ["everything, however weak"]),
        (["--tls-seclevel", "4"], 4, []),
        (["--tls-min", "1.3"], None, []),
        (["--tls-keylog", "keys"], None, ["--tls-keylog writes the keys"]),
    ],
)
def test_what_is_weak_is_warned_of(tmp_path: Path, flags: list[str], level: int | None, words: list[str]) -> None:
    configuration = load(tmp_path, *flags)
    assert configuration.tunnel.tls.level == level
    assert len(configuration.warnings) == len(words)
    for word, warning in zip(words, configuration.warnings, strict=True):
        assert word in warning


def test_the_key_log_of_other_programs_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert load(tmp_path).tunnel.tls.keylog_file is None


@pytest.mark.parametrize("flags", [["--tls-min", "0.9"], ["--tls-seclevel", "6"], ["--tls-seclevel", "-1"]])
def test_what_openssl_does_not_know_is_refused(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises((SystemExit, Exception)) as caught:
        load(tmp_path, *flags)
    assert "tls" in str(caught.value)


def test_trust_on_first_use_asks_only_where_somebody_is(tmp_path: Path) -> None:
    trust = load(tmp_path, "--trust-on-first-use").tunnel.trust
    assert trust.first_use == FirstUse(known_hosts=str(tmp_path / "sstpsocks" / "known_hosts"), ask=None)
    configuration = load(tmp_path, "--trust-on-first-use", "--known-hosts", str(tmp_path / "here"), terminal=True)
    first_use = configuration.tunnel.trust.first_use
    assert first_use is not None
    assert first_use.known_hosts == str(tmp_path / "here")
    assert first_use.ask is configuration.first_use_prompt is not None


def test_a_list_that_would_not_be_looked_at_is_refused(tmp_path: Path) -> None:
    assert load(tmp_path, "--crl-file", "x.crl").tunnel.trust.crl_file == "x.crl"
    assert "--pin-sha256" in error(tmp_path, "--crl-file", "x.crl", "--pin-sha256", PIN)


def test_a_client_certificate_comes_with_its_key_and_pass_phrase(tmp_path: Path) -> None:
    issued = issue([], subject="alice")
    encrypted = issued.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"open sesame"),
    )
    certificate, key, phrase = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "phrase"
    certificate.write_bytes(issued.pem)
    key.write_bytes(encrypted)
    phrase.write_text("open sesame\n")
    phrase.chmod(0o600)
    given = ["--certificate", str(certificate), "--key", str(key)]
    loaded = load(tmp_path, *given, "--passphrase-file", str(phrase)).tunnel
    assert loaded.tls.certificate is not None
    assert loaded.tls.certificate.user == "alice"
    assert loaded.eap.certificate is None
    assert "--passphrase-file gives" in error(tmp_path, *given)
    assert "--key" in error(tmp_path, "--certificate", str(certificate))
    assert "of no use without --certificate" in error(tmp_path, "--key", str(key))


@pytest.mark.parametrize(
    ("typed", "confirmed"), [("yes\n", True), (" YES \n", True), ("y\n", False), ("no\n", False), ("", False)]
)
async def test_only_a_whole_yes_confirms(typed: str, confirmed: bool) -> None:
    output = io.StringIO()
    interrupted = []
    prompt = FirstUsePrompt(output=output, source=io.StringIO(typed))
    prompt.before_prompt = lambda: interrupted.append(output.getvalue())
    question = UnknownCertificate(
        server="vpn.example.org:443", reason="self-signed\x1b[2J certificate", sha256="ab" * 32, pin=PIN
    )
    assert await prompt(question) is confirmed
    assert interrupted == [""]
    shown = output.getvalue()
    assert "vpn.example.org:443" in shown
    assert PIN in shown
    assert ":".join(["AB"] * 32) in shown
    assert "\x1b" not in shown
