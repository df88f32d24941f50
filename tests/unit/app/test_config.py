from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.configfile import config_folder
from sstpsocks.app.credentials import CommandPassword, FilePassword, FixedPassword, PromptPassword
from sstpsocks.app.keyring_password import KeyringPassword
from sstpsocks.app.new_password import NewPasswordFile, NewPasswordPrompt, NoNewPassword
from sstpsocks.app.options import OPTIONS, Place
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.errors import ConfigError
from sstpsocks.ppp.auth import AuthMethod
from sstpsocks.tunnel.settings import Timeouts
from tests.helpers.certificates import issue


def load(tmp_path: Path, *flags: str, file: str | None = None, **variables: str) -> Configuration:
    """Load with a configuration folder of our own and no terminal; variables are given without the prefix."""
    return load_with(tmp_path, flags, variables, file, terminal=False)


def load_with(
    tmp_path: Path, flags: Sequence[str], variables: Mapping[str, str], file: str | None, *, terminal: bool
) -> Configuration:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "APPDATA": str(tmp_path)}
    environ |= {f"SSTPSOCKS_{name}": value for name, value in variables.items()}
    if file is not None:
        (tmp_path / "sstpsocks").mkdir(exist_ok=True)
        path = tmp_path / "sstpsocks" / "config.toml"
        path.write_text(file)
        path.chmod(0o600)
    return load_configuration(parse_connect(flags, explicit=True), environ, has_terminal=terminal)


def fails(tmp_path: Path, *flags: str, file: str | None = None, **variables: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_with(tmp_path, flags, variables, file, terminal=False)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    configuration = load(tmp_path, "--listen", "1080", SERVER="vpn.example.org:4433", USER="alice", PASSWORD="hunter2")
    tunnel = configuration.tunnel
    assert (tunnel.host, tunnel.port, tunnel.username) == ("vpn.example.org", 4433, "alice")
    assert tunnel.trust.server_name == "vpn.example.org"
    assert tunnel.methods == (AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2)
    assert (tunnel.mtu, tunnel.reconnect, tunnel.timeouts) == (1400, "auto", Timeouts())
    assert configuration.listen.addresses == (TcpAddress("127.0.0.1", 1080),)
    assert isinstance(configuration.password, FixedPassword)
    assert configuration.warnings == ()
    assert "hunter2" not in repr(configuration)


def test_flags_beat_environment_beats_profile_beats_defaults(tmp_path: Path) -> None:
    file = """
        server = "file.example.org"
        user = "from-file"
        password = "x"
        mtu = 1000
        tls_timeout = 3
        lcp_timeout = 4
        default_profile = "work"

        [profiles.work]
        mtu = 1001
        tls_timeout = 5.5
        [profiles.home]
        mtu = 1300
    """
    assert load(tmp_path, file=file).tunnel.mtu == 1001
    assert load(tmp_path, "--profile", "home", file=file).tunnel.mtu == 1300
    assert load(tmp_path, file=file, PROFILE="home").tunnel.mtu == 1300
    assert load(tmp_path, file=file, MTU="1002").tunnel.mtu == 1002
    configuration = load(tmp_path, "--mtu", "1003", "--user", "bob", file=file, MTU="1002", USER="carol")
    assert configuration.tunnel.mtu == 1003
    assert configuration.tunnel.username == "bob"
    assert configuration.tunnel.host == "file.example.org"
    assert configuration.tunnel.timeouts.tls == 5.5
    assert configuration.tunnel.timeouts.lcp == 4.0


CERTIFICATE = issue([], subject="carol")
COMMON = {"SERVER": "h", "USER": "alice", "PASSWORD": "x"}


def test_the_default_methods_follow_from_what_there_is(tmp_path: Path) -> None:
    both = (AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2)
    assert load(tmp_path, **COMMON).tunnel.methods == both
    ca_file, client = tmp_path / "ca.pem", tmp_path / "client.pem"
    ca_file.write_bytes(CERTIFICATE.pem)
    client.write_bytes(CERTIFICATE.pem + CERTIFICATE.key_pem)
    client.chmod(0o600)
    assert load(tmp_path, "--eap-ca-file", str(ca_file), **COMMON).tunnel.methods == (*both, AuthMethod.PEAP)
    assert load(tmp_path, "--eap-cert", str(client), **COMMON).tunnel.methods == (AuthMethod.EAP_TLS, *both)


def test_a_certificate_needs_neither_user_nor_password(tmp_path: Path) -> None:
    client = tmp_path / "client.pem"
    client.write_bytes(CERTIFICATE.pem + CERTIFICATE.key_pem)
    client.chmod(0o600)
    tunnel = load(tmp_path, "--eap-cert", str(client), SERVER="h").tunnel
    assert tunnel.methods == (AuthMethod.EAP_TLS,)
    assert tunnel.username == "carol"
    assert tunnel.eap.certificate is not None
    assert load(tmp_path, "--eap-cert", str(client), SERVER="h", USER="bob").tunnel.username == "bob"


def test_a_key_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="of no use without --eap-cert"):
        load(tmp_path, "--eap-key", "x", **COMMON)


def test_an_encrypted_key_is_asked_for_at_a_terminal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tmp_path / "client.pem"
    protection = serialization.BestAvailableEncryption(b"letmein")
    key = CERTIFICATE.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    client.write_bytes(CERTIFICATE.pem + key)
    client.chmod(0o600)
    with pytest.raises(ConfigError, match="is encrypted"):
        load(tmp_path, "--eap-cert", str(client), SERVER="h")
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return "letmein"

    monkeypatch.setattr("getpass.getpass", answer)
    configuration = load_with(tmp_path, ["h", "--eap-cert", str(client)], {}, None, terminal=True)
    assert configuration.tunnel.eap.certificate is not None
    assert prompts == [f"Pass phrase of {client}: "]


def test_everything_can_be_given_everywhere(tmp_path: Path) -> None:
    """The same values by flags, by environment and by file give the same settings."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("-----BEGIN CERTIFICATE-----\n")
    socks = tmp_path / "socks"
    socks.write_text("open\n")
    socks.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    password.chmod(0o600)
    users = tmp_path / "users"
    users.write_text("another:secret\n")
    for path in (socks, password, users):
        path.chmod(0o600)
    client, key = tmp_path / "client.pem", tmp_path / "client.key"
    issued = issue([], subject="alice")
    client.write_bytes(issued.pem)
    key.write_bytes(issued.key_pem)
    key.chmod(0o600)
    given = {
        "server": "vpn.example.org",
        "server-name": "other.example.org",
        "connect-to": "192.0.2.7:444",
        "ca-file": str(ca_file),
        "pin-sha256": "ab" * 32 + "," + "cd" * 32,
        "trust-on-first-use": "true",
        "known-hosts": str(tmp_path / "hosts"),
        "sni": "front.example.org",
        "tls-min": "1.1",
        "tls-seclevel": "1",
        "certificate": str(client),
        "key": str(key),
        "passphrase-file": str(password),
        "tls-keylog": str(tmp_path / "keys"),
        "ecn": "active",
        "tenant-id": "blue",
        "proxy": "https://proxy.example.org:3129",
        "proxy-user": "bob",
        "proxy-password-file": str(password),
        "proxy-auth": "digest,ntlm",
        "proxy-ca-file": str(ca_file),
        "proxy-timeout": "7",
        "source-address": "192.0.2.9",
        "user": "alice",
        "password-file": str(password),
        "one-time-password": "true",
        "new-password-file": str(password),
        "auth": "pap,mschapv2",
        "eap-cert": str(client),
        "eap-key": str(key),
        "eap-passphrase-file": str(password),
        "eap-ca-file": str(ca_file),
        "eap-server-name": "radius.example.org,nps.example.org",
        "eap-pin-sha256": "ef" * 32,
        "outer-identity": "anonymous@example.org",
        "hlak": "zero",
        "listen": "0.0.0.0:0",
        "allow-remote": "true",
        "same-user": "true",
        "socks-user": "local",
        "socks-password-file": str(socks),
        "socks-users-file": str(users),
        "max-connections": "17",
        "mtu": "1280",
        "address": "10.8.0.77",
        "reconnect": "never",
        "reconnect-budget": "120",
        "hold": "5",
        "dead-after": "3",
        "on-demand": "true",
        "idle-timeout": "60",
        "search-domain": "corp.example,lab.example",
        "strict-routes": "true",
        "dhcp": "anonymous",
        "ipv6": "never",
        "dns-listen": "0.0.0.0:0",
        "dns-allow-remote": "true",
        "host": "nas.corp.example=10.0.0.9,nas.corp.example=fd00::9",
        "dns-suffix": "corp.example",
        "dns-server": "hq.example=10.1.0.53,ads.example=refuse",
        "dns-rest": "system",
        "rule": "10.0.0.0/8, .corp.example port 1-5 -> direct; all port 25 -> refuse",
        "local-forward": "*:8080:intranet.corp.example:80,/run/db.sock:[fd00::9]:5432",
        "remote-forward": "2222:localhost:22",
        "pcap": str(tmp_path / "x.pcapng"),
        "pcap-size": "5",
        "pcap-files": "3",
        "trace": "true",
        "trace-file": str(tmp_path / "trace"),
        "log-file": str(tmp_path / "log"),
        "log-level": "debug",
        "connect-timeout": "1",
        "tls-timeout": "2",
        "http-timeout": "3",
        "lcp-timeout": "4",
        "auth-timeout": "5.5",
        "address-timeout": "6s",
        "max-connections-per-client": "5",
        "max-flows": "100",
        "max-half-open": "20",
        "max-memory": "16",
        "max-dns-names": "64",
        "allow-loose-files": "true",
        "sandbox": "try",
        "status": "0.0.0.0:0",
        "status-user": "watcher",
        "status-password-file": str(socks),
        "status-name": "vpn.lan",
        "status-allow-remote": "true",
        "ready-file": str(tmp_path / "ready"),
        "log-format": "text",
        "verbose": "2",
    }
    left_out = {
        "crl-file",
        "password",
        "password-command",
        "proxy-password",
        "proxy-password-command",
        "keyring",
        "config",
        "profile",
        "quiet",
        "stdio-forward",
        "users",
    }
    assert set(given) | left_out == {option.name for option in OPTIONS}

    variables = {name.upper().replace("-", "_"): value for name, value in given.items()}
    switches = (
        "allow-remote",
        "same-user",
        "allow-loose-files",
        "status-allow-remote",
        "dns-allow-remote",
        "strict-routes",
        "on-demand",
        "one-time-password",
        "trace",
        "trust-on-first-use",
    )
    flags = [given["server"], "-vv", *(f"--{name}" for name in switches)]
    lines = []
    for option in OPTIONS:
        if option.name not in given:
            continue
        value = given[option.name]
        if option.name not in ("server", "verbose", *switches):
            flags += [option.flag, value]
        bare = option.kind.name in ("INTEGER", "SECONDS", "COUNT", "SWITCH")
        lines.append(f"{option.key} = {value.removesuffix('s')}" if bare else f"{option.key} = '{value}'")

    def comparable(configuration: Configuration) -> str:
        assert configuration.listen.all_users == (("local", "open"), ("another", "secret"))
        assert configuration.status.credentials == ("watcher", "open")
        parts = (configuration.tunnel, configuration.listen, configuration.status, configuration.rules)
        return repr((*parts, configuration.output))

    by_flags = comparable(load(tmp_path, *flags))
    assert "192.0.2.7" in by_flags
    assert comparable(load(tmp_path, **variables)) == by_flags
    assert comparable(load(tmp_path, file="\n".join(lines))) == by_flags


def test_every_option_but_the_password_has_a_flag() -> None:
    without = {option.name for option in OPTIONS if Place.FLAG not in option.places}
    assert without == {"password", "proxy-password", "users"}


def test_a_stronger_password_source_hides_a_weaker_one(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("x\n")
    password.chmod(0o600)
    file = 'password_command = "pass show vpn"'
    common = {"SERVER": "h", "USER": "u"}
    assert isinstance(load(tmp_path, file=file, **common).password, CommandPassword)
    assert isinstance(load(tmp_path, file=file, PASSWORD="x", **common).password, FixedPassword)
    both = load(tmp_path, "--password-file", str(password), file=file, PASSWORD="x", **common)
    assert isinstance(both.password, FilePassword)
    error = fails(tmp_path, PASSWORD="x", PASSWORD_COMMAND="y", **common)
    assert "SSTPSOCKS_PASSWORD" in str(error)
    assert "cannot be used together" in str(error)


def test_without_a_password_a_terminal_is_asked_and_nothing_else_is_an_error(tmp_path: Path) -> None:
    assert isinstance(load_with(tmp_path, ["h", "--user", "u"], {}, None, terminal=True).password, PromptPassword)
    error = fails(tmp_path, "h", "--user", "u")
    assert "no terminal" in str(error)
    for way in ("--password-file", "--password-command", "SSTPSOCKS_PASSWORD"):
        assert way in error.hint


def test_what_is_missing_is_said_with_the_ways_to_give_it(tmp_path: Path) -> None:
    error = fails(tmp_path)
    assert "no server" in str(error)
    assert "SSTPSOCKS_SERVER" in error.hint
    error = fails(tmp_path, "h")
    assert "no user name" in str(error)
    assert "SSTPSOCKS_USER" in error.hint


def test_the_user_may_stand_in_the_servers_address(tmp_path: Path) -> None:
    assert load(tmp_path, "sstp://bob@h", USER="alice", PASSWORD="x").tunnel.username == "bob"
    assert load(tmp_path, "h", "--user", "bob", SERVER="sstp://alice@h", PASSWORD="x").tunnel.username == "bob"
    assert load(tmp_path, "sstp://bob@h", "--user", "bob", PASSWORD="x").tunnel.username == "bob"
    assert "another user" in str(fails(tmp_path, "sstp://bob@h", "--user", "alice", PASSWORD="x"))
    assert "control characters" in str(fails(tmp_path, "sstp://bob%0a@h", PASSWORD="x"))


@pytest.mark.parametrize("flags", [["sstp://u:hunter2@h"], []])
def test_a_password_in_the_address_is_refused_with_the_reason(tmp_path: Path, flags: list[str]) -> None:
    error = fails(tmp_path, *flags, SERVER="sstp://u:hunter2@h")
    assert "refused" in str(error)
    assert "hunter2" not in str(error) + error.hint + repr(error)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--mtu", "575"], "--mtu: 575 is not from 576 to 4087"),
        (["--mtu", "4088"], "--mtu: 4088 is not from 576 to 4087"),
        (["--mtu", "big"], '--mtu: "big" is not a whole number'),
        (["--lcp-timeout", "nan"], "--lcp-timeout: nan is not from 0.1 to 3600"),
        (["--lcp-timeout", "0"], "--lcp-timeout: 0 is not from 0.1 to 3600"),
        (["--tls-timeout", "soon"], '--tls-timeout: "soon" is not a number of seconds'),
        (["--reconnect", "maybe"], '--reconnect: "maybe" is none of: auto, never'),
        (["--log-format", "xml"], '--log-format: "xml" is none of: text, json, journal'),
        (["--auth", "mschapv2,mschap"], '--auth: "mschap" is broken and not supported'),
        (["--auth", ","], "--auth: names no method"),
        (["--pin-sha256", "abcd"], '--pin-sha256: "abcd" is not a SHA-256 digest'),
        (["--listen", "localhost"], '--listen: "localhost" is not [HOST:]PORT'),
        (["--connect-to", "a b"], '--connect-to: "a b" is not a host name or address'),
        (["--ca-file", "/nonexistent"], "--ca-file: cannot read /nonexistent"),
        (["--ca-file", os.devnull], "holds no certificate in PEM form"),
        (["--ca-file", ""], "--ca-file: the file name is empty"),
        (["--password-file", "/nonexistent"], "--password-file: cannot read /nonexistent"),
        (["--password-command", "'"], "--password-command: No closing quotation"),
        (["--config", "/nonexistent"], "cannot read the configuration file /nonexistent"),
        (["--profile", "work"], 'cannot use profile "work"'),
        (["--socks-user", "x"], "need both"),
        (["-v", "-q"], "cannot be used together"),
    ],
)
def test_wrong_flags_are_named(tmp_path: Path, flags: list[str], said: str) -> None:
    assert said in str(fails(tmp_path, *flags, SERVER="h", USER="u", PASSWORD="x"))


def test_wrong_variables_are_named(tmp_path: Path) -> None:
    enough = {"SERVER": "h", "USER": "u", "PASSWORD": "x"}
    assert str(fails(tmp_path, MTU="5", **enough)).startswith("SSTPSOCKS_MTU: ")
    assert str(fails(tmp_path, ALLOW_REMOTE="maybe", **enough)).startswith("SSTPSOCKS_ALLOW_REMOTE: ")


def test_a_new_password_comes_from_its_file_or_from_the_terminal(tmp_path: Path) -> None:
    enough = {"SERVER": "h", "USER": "u", "PASSWORD": "x"}
    assert isinstance(load(tmp_path, **enough).password.new_password, NoNewPassword)
    path = tmp_path / "new"
    assert "cannot read" in str(fails(tmp_path, "--new-password-file", str(path), **enough))
    path.write_text("s3cret")
    path.chmod(0o600)
    configuration = load(tmp_path, "--new-password-file", str(path), **enough)
    assert isinstance(configuration.password.new_password, NewPasswordFile)
    assert configuration.tunnel.password_changed == configuration.password.changed
    at_terminal = load_with(tmp_path, [], enough, None, terminal=True)
    assert isinstance(at_terminal.password.new_password, NewPasswordPrompt)


def test_the_password_may_be_a_one_time_code_or_in_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = {"SERVER": "h", "USER": "u"}
    assert load(tmp_path, "--one-time-password", PASSWORD="x", **enough).password.one_time
    assert not load(tmp_path, PASSWORD="x", **enough).password.one_time
    monkeypatch.setattr("sstpsocks.app.keyring_password.load_keyring", lambda: None)
    assert isinstance(load(tmp_path, "--keyring", **enough).password, KeyringPassword)
    assert "cannot be used together" in str(fails(tmp_path, KEYRING="1", PASSWORD="x", **enough))
    assert isinstance(load(tmp_path, "--no-keyring", PASSWORD="x", **enough).password, FixedPassword)


def test_listening_for_other_machines_needs_credentials_or_a_word(tmp_path: Path) -> None:
    enough = {"SERVER": "h", "USER": "u", "PASSWORD": "x"}
    error = fails(tmp_path, "--listen", "0.0.0.0:1080", **enough)
    assert "--allow-remote" in error.hint
    fails(tmp_path, "--listen", "[::]:1080", "--no-allow-remote", ALLOW_REMOTE="1", **enough)
    assert load(tmp_path, "--listen", "0.0.0.0:1080", "--allow-remote", **enough).listen.open_to_all
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    configuration = load(
        tmp_path, "--listen", "*:1080", "--socks-user", "me", "--socks-password-file", str(secret), **enough
    )
    assert configuration.listen.credentials == ("me", "s3cret")
    assert "s3cret" not in repr(configuration)
    secret.write_text("x" * 256)
    secret.chmod(0o600)
    assert "255 octets" in str(fails(tmp_path, "--socks-user", "me", "--socks-password-file", str(secret), **enough))


def test_an_international_name_is_encoded_for_header_and_certificate(tmp_path: Path) -> None:
    tunnel = load(tmp_path, "büro.example", USER="u", PASSWORD="x").tunnel
    assert tunnel.host == tunnel.trust.server_name == "xn--bro-hoa.example"


def test_connect_to_takes_the_servers_port_unless_it_has_its_own(tmp_path: Path) -> None:
    enough = {"USER": "u", "PASSWORD": "x"}
    tunnel = load(tmp_path, "h:444", "--connect-to", "192.0.2.1", **enough).tunnel
    assert (tunnel.connect_to, tunnel.trust.server_name) == (("192.0.2.1", 444), "h")
    assert load(tmp_path, "h:444", "--connect-to", "[::1]:5", **enough).tunnel.connect_to == ("::1", 5)


@pytest.mark.parametrize(
    ("file", "line", "said", "hint"),
    [
        ('server = "h"\n\nusr = "u"\n', 3, 'unknown key "usr"', 'Did you mean "user"?'),
        ('[profiles.x]\nserver-name = "h"\n', 2, 'unknown key "server-name"', 'Did you mean "server_name"?'),
        ("[profiles.x]\nmtu = 1400\n[profiles.'y z']\nxyzzy = 1\n", 4, 'unknown key "xyzzy"', "configuration.md"),
        ('# mtu\nmtu = "1400"\n', 2, '"mtu" must be a whole number', ""),
        ("mtu = true\n", 1, '"mtu" must be a whole number', ""),
        ("allow_remote = 1\n", 1, '"allow_remote" must be true or false', ""),
        ("password = 12345\n", 1, '"password" must be a string', ""),
        ("pin_sha256 = [1]\n", 1, '"pin_sha256" must be a string or a list of strings', ""),
        ("tls_timeout = 9999\n", 1, "tls_timeout: 9999 is not from 0.1 to 3600", ""),
        ('reconnect = "sometimes"\n', 1, "is none of: auto, never", ""),
        ('server = "h"\nmtu = = 1\n', 2, "this is not TOML", ""),
        ('profiles = "x"\n', 1, '"profiles" must hold tables', ""),
        ("[profiles]\nx = 1\n", 2, '"profiles.x" must be a table', ""),
        ('default_profile = "b"\n[profiles.a]\n', 1, 'there is no profile "b"', "The profiles are: a"),
        ("default_profile = 1\n", 1, "must be a string", ""),
        ('config = "other.toml"\n', 1, 'unknown key "config"', ""),
        ('server = """\nmtu = 3\n"""\nfoo = 1\n', 4, 'unknown key "foo"', ""),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_line(
    tmp_path: Path, file: str, line: int, said: str, hint: str
) -> None:
    error = fails(tmp_path, file=file, SERVER="h", USER="u", PASSWORD="x")
    assert said in str(error)
    assert hint in error.hint
    assert error.line == line
    assert f"config.toml, line {line}: " in str(error)
    assert error.path == str(tmp_path / "sstpsocks" / "config.toml")
    assert "12345" not in str(error)


def test_an_unknown_profile_lists_the_known_ones(tmp_path: Path) -> None:
    error = fails(tmp_path, "--profile", "wrok", file="[profiles.work]\n[profiles.home]\n", SERVER="h")
    assert 'no profile "wrok"' in str(error)
    assert error.hint == 'Did you mean "work"? The profiles are: home, work'


def test_paths_in_the_file_are_relative_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "sstpsocks"
    folder.mkdir()
    (folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    configuration = load(tmp_path, file='ca_file = "ca.pem"\nlisten = 1085', SERVER="h", USER="u", PASSWORD="x")
    assert configuration.tunnel.trust.ca_file == str(folder / "ca.pem")
    assert configuration.listen.addresses == (TcpAddress("127.0.0.1", 1085),)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_a_home_that_cannot_be_looked_into_has_no_configuration() -> None:
    # The name is one that the system refuses to look up, as it does what lies in somebody else's home.
    variables = {"XDG_CONFIG_HOME": "/" + "x" * 5000, "SSTPSOCKS_SERVER": "vpn.example.com", "SSTPSOCKS_USER": "alice"}
    configuration = load_configuration({}, {**variables, "SSTPSOCKS_PASSWORD": "secret"}, has_terminal=False)
    assert configuration.tunnel.host == "vpn.example.com"


def test_a_file_with_a_password_must_not_be_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('server = "h"\nuser = "u"\n[profiles.other]\npassword = "hunter2"\n')
    path.chmod(0o644)
    error = fails(tmp_path, "--config", str(path), PASSWORD="x")
    assert "it holds a password, and" in str(error)
    assert "chmod 600" in error.hint
    path.chmod(0o640)
    assert "its mode is 0640" in str(fails(tmp_path, "--config", str(path), PASSWORD="x"))
    path.write_text('server = "h"\nuser = "u"\n')
    path.chmod(0o644)
    load(tmp_path, "--config", str(path), PASSWORD="x")
    path.chmod(0o666)
    assert "can be changed by every user" in str(fails(tmp_path, "--config", str(path), PASSWORD="x"))


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_password_file_that_others_can_get_at_is_refused_or_warned_of(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(mode)
    given = ("h", "--user", "u", "--password-file", str(path))
    error = fails(tmp_path, *given)
    assert f"{path} can be read or written by other users of this machine (its mode is {mode:04o})" in str(error)
    assert "hunter2" not in str(error)
    assert f"chmod 600 {path}" in error.hint
    (warning,) = load(tmp_path, *given, "--allow-loose-files").warnings
    assert str(path) in warning
    path.chmod(0o400)
    assert load(tmp_path, *given).warnings == ()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_a_file_of_an_administrator_s_may_be_read_by_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    monkeypatch.setattr("sstpsocks.app.private_files.os.geteuid", lambda: path.stat().st_uid + 1)
    path.chmod(0o640)
    assert load(tmp_path, "h", "--user", "u", "--password-file", str(path)).warnings == ()
    for mode in (0o644, 0o660):
        path.chmod(mode)
        assert "can be read or written" in str(fails(tmp_path, "h", "--user", "u", "--password-file", str(path)))


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_a_bare_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    client = tmp_path / "client.pem"
    client.write_bytes(CERTIFICATE.pem + CERTIFICATE.key_pem)
    client.chmod(0o644)
    assert "its mode is 0644" in str(fails(tmp_path, "h", "--eap-cert", str(client)))
    encrypted = CERTIFICATE.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    client.write_bytes(CERTIFICATE.pem + encrypted)
    phrase = tmp_path / "phrase"
    phrase.write_text("x\n")
    given = ("h", "--eap-cert", str(client), "--eap-passphrase-file", str(phrase))
    assert "phrase can be read or written" in str(fails(tmp_path, *given))
    phrase.chmod(0o600)
    load(tmp_path, *given)


def test_permissions_are_not_looked_at_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o666)
    monkeypatch.setattr("sstpsocks.app.private_files.os.name", "nt")
    assert load(tmp_path, "h", "--user", "u", "--password-file", str(path)).warnings == ()


def test_a_misspelt_variable_is_warned_of_and_strangers_are_not(tmp_path: Path) -> None:
    configuration = load(tmp_path, "h", USER="u", PASSWORD="x", PASWORD="y", TEST_USER="z", TEST_CA_FILE="z")
    assert len(configuration.warnings) == 1
    assert "SSTPSOCKS_PASWORD" in configuration.warnings[0]
    assert "SSTPSOCKS_PASSWORD?" in configuration.warnings[0]


@pytest.mark.skipif(os.name != "posix", reason="the paths are written as POSIX writes them")
def test_the_configuration_folder_of_each_platform() -> None:
    def folder(platform: str, home: str = "/home/a", **environ: str) -> str:
        return str(config_folder(environ, platform=platform, home=home))

    assert folder("linux") == "/home/a/.config/sstpsocks"
    assert folder("linux", XDG_CONFIG_HOME="/etc/x") == "/etc/x/sstpsocks"
    assert folder("linux", XDG_CONFIG_HOME="relative") == "/home/a/.config/sstpsocks"
    assert folder("darwin") == "/home/a/Library/Application Support/sstpsocks"
    assert folder("win32", APPDATA="/C/Users/a/AppData/Roaming") == "/C/Users/a/AppData/Roaming/sstpsocks"
    assert folder("win32") == "None"
    assert folder("linux", home="") == "None"


@pytest.mark.parametrize("domain", ["10.0.0.1", "::1", "a b/c", "-x.example", "127.1"])
def test_a_search_domain_is_a_domain(tmp_path: Path, domain: str) -> None:
    with pytest.raises(ConfigError, match="--search-domain"):
        load(tmp_path, "h", "--user", "u", "--search-domain", domain, PASSWORD="x")


def test_search_domains_keep_their_order(tmp_path: Path) -> None:
    flags = ("--search-domain", "B.example.", "--search-domain", "bücher.example b.example,a.example")
    assert load(tmp_path, "h", "--user", "u", *flags, PASSWORD="x").tunnel.search_domains == (
        "b.example",
        "xn--bcher-kva.example",
        "a.example",
    )


def test_ipv6_unless_it_is_not_wanted(tmp_path: Path) -> None:
    assert load(tmp_path, "h", "--user", "u", PASSWORD="x").tunnel.ipv6 == "auto"
    for wanted in ("auto", "always", "never"):
        assert load(tmp_path, "h", "--user", "u", "--ipv6", wanted, PASSWORD="x").tunnel.ipv6 == wanted


def test_what_is_asked_by_dhcp(tmp_path: Path) -> None:
    for value in ("auto", "anonymous", "never"):
        assert load(tmp_path, "h", "--user", "u", "--dhcp", value, PASSWORD="x").tunnel.dhcp == value
    plain = load(tmp_path, "h", "--user", "u", PASSWORD="x").tunnel
    assert (plain.dhcp, plain.strict_routes, plain.search_domains) == ("auto", False, ())
    with pytest.raises(ConfigError, match="is none of"):
        load(tmp_path, "h", "--user", "u", "--dhcp", "yes", PASSWORD="x")


def test_the_address_to_ask_for_is_one_that_a_host_can_have(tmp_path: Path) -> None:
    assert load(tmp_path, "h", "--user", "u", PASSWORD="x").tunnel.address is None
    assert str(load(tmp_path, "h", "--user", "u", "--address", "10.8.0.77", PASSWORD="x").tunnel.address) == "10.8.0.77"
    for wrong in ("fd00::1", "10.8.0", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):  # noqa: S104  # asked for
        with pytest.raises(ConfigError, match="--address"):
            load(tmp_path, "h", "--user", "u", "--address", wrong, PASSWORD="x")
