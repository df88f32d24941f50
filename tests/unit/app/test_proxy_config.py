"""Which proxy leads to a server, and several servers: from options and the environment to settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.proxy_url import ProxyUrl, environment_proxy, excluded, parse_proxy
from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest, ProxyKind, ProxyMethod


def load(*servers: str, environ: dict[str, str] | None = None, **options: object) -> Configuration:
    """Load what flags and variables say, without a terminal and without a file."""
    variables = {
        "SSTPSOCKS_PASSWORD": "x",
        "XDG_CONFIG_HOME": "/nonexistent",
        "APPDATA": "/nonexistent",
        **(environ or {}),
    }
    arguments: dict[str, object] = {"server": list(servers), "user": "alice", **options}
    return load_configuration(arguments, variables, has_terminal=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy:3128", ProxyUrl(ProxyKind.HTTP, "proxy", 3128)),
        ("proxy.example.org:3128/", ProxyUrl(ProxyKind.HTTP, "proxy.example.org", 3128)),
        ("HTTPS://proxy", ProxyUrl(ProxyKind.HTTPS, "proxy", 443)),
        ("socks5h://[2001:db8::1]", ProxyUrl(ProxyKind.SOCKS5H, "2001:db8::1", 1080)),
        ("socks5://bob:p%40ss%3Aword@proxy", ProxyUrl(ProxyKind.SOCKS5, "proxy", 1080, "bob", "p@ss:word")),
        (r"http://CORP%5Cbob@proxy", ProxyUrl(ProxyKind.HTTP, "proxy", 8080, "CORP\\bob")),
        ("none", None),
        (" NONE ", None),
    ],
)
def test_proxy_urls(text: str, expected: ProxyUrl | None) -> None:
    assert parse_proxy(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("socks4://proxy", 'kind "socks4" are not supported; there are http://, https://, socks5://, socks5h://'),
        ("http://", "host is missing"),
        ("http://proxy/path", "nothing behind the port"),
        ("http://proxy:0", "port number"),
        ("http://bob:secret@pro xy", "host name"),
        ("http://b%0Ab@proxy", "control characters"),
    ],
)
def test_what_is_no_proxy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)


def test_a_password_in_the_url_is_in_no_repr() -> None:
    assert "hunter2" not in repr(parse_proxy("http://bob:hunter2@proxy"))


@pytest.mark.parametrize(
    ("no_proxy", "host", "is_excluded"),
    [
        ("example.org", "example.org", True),
        ("example.org", "vpn.example.org", True),
        (".example.org", "vpn.EXAMPLE.org", True),
        ("*.example.org", "example.org", True),
        ("example.org", "notexample.org", False),
        ("other.org, example.org", "vpn.example.org", True),
        ("other.org example.org", "vpn.example.org", True),
        ("vpn.example.org:443", "vpn.example.org", True),
        ("vpn.example.org:8443", "vpn.example.org", False),
        ("*", "anything", True),
        ("192.0.2.0/24", "192.0.2.7", True),
        ("192.0.2.0/24", "198.51.100.7", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.77", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("[2001:db8::7]:443", "2001:db8::7", True),
        ("192.0.2.0/24", "2001:db8::7", False),
        ("192.0.2.0/99,/,:,", "192.0.2.7", False),
        ("", "example.org", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, is_excluded: bool) -> None:
    assert excluded(no_proxy, host, 443) is is_excluded


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"HTTPS_PROXY": "a", "ALL_PROXY": "b"}, ("HTTPS_PROXY", "a")),
        ({"ALL_PROXY": "b"}, ("ALL_PROXY", "b")),
        ({"HTTPS_PROXY": "A", "https_proxy": "a"}, ("https_proxy", "a")),
        ({"HTTPS_PROXY": "A", "https_proxy": "", "ALL_PROXY": "b"}, ("ALL_PROXY", "b")),
        ({"HTTP_PROXY": "c"}, None),
        ({"HTTPS_PROXY": "a", "no_proxy": "example.org"}, None),
    ],
)
def test_the_environment(environ: dict[str, str], named: tuple[str, str] | None) -> None:
    assert environment_proxy(environ, "vpn.example.org", 443) == named


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_is_not_behind_a_proxy(host: str) -> None:
    assert environment_proxy({"ALL_PROXY": "http://proxy"}, host, 443) is None


def test_an_option_beats_the_environment_and_its_no_proxy() -> None:
    environ = {"HTTPS_PROXY": "http://one", "NO_PROXY": "*"}
    proxy = load("vpn.example.org", environ=environ, proxy="two:3128").tunnel.proxy
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.kind) == ("two", 3128, ProxyKind.HTTP)
    assert load("vpn.example.org", environ={"HTTPS_PROXY": "http://one"}, proxy="none").tunnel.proxy is None


async def test_the_login_in_a_variable_of_other_programs() -> None:
    configuration = load("vpn.example.org", environ={"https_proxy": "http://bob:s3cret@proxy:3128"})
    proxy = configuration.tunnel.proxy
    assert proxy is not None
    assert proxy.credentials is not None
    assert proxy.username == "bob"
    credentials = await proxy.credentials(CredentialRequest(CredentialReason.LOGIN, "bob", str(proxy)))
    assert credentials.password == "s3cret"
    assert "s3cret" not in repr(configuration)
    await trio.lowlevel.checkpoint()


def test_a_variable_that_names_nothing_usable_is_an_error_and_not_a_direct_connection() -> None:
    with pytest.raises(ConfigError, match=r"ALL_PROXY: .*not supported"):
        load("vpn.example.org", environ={"ALL_PROXY": "socks4://proxy"})


def test_a_password_on_the_command_line_is_refused() -> None:
    with pytest.raises(ConfigError, match="--proxy: a password on the command line") as caught:
        load("vpn.example.org", proxy="http://bob:hunter2@proxy")
    assert "hunter2" not in str(caught.value)
    proxy = load("vpn.example.org", environ={"SSTPSOCKS_PROXY": "http://bob:hunter2@proxy"}).tunnel.proxy
    assert proxy is not None


def test_the_password_of_the_proxy_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"--proxy-password-file: .* can be read or written"):
        load("h", proxy="proxy", proxy_user="bob", proxy_password_file=str(path))
    path.chmod(0o600)
    assert load("h", proxy="proxy", proxy_user="bob", proxy_password_file=str(path)).warnings == ()
    with pytest.raises(ConfigError, match="--proxy-password-file: cannot read"):
        load("h", proxy="proxy", proxy_user="bob", proxy_password_file=str(tmp_path / "none"))


def test_a_user_without_a_password_and_the_reverse() -> None:
    with pytest.raises(ConfigError, match='no password for user "bob" of the proxy'):
        load("h", proxy="proxy", proxy_user="bob")
    with pytest.raises(ConfigError, match="no user name for the proxy"):
        load("h", proxy="proxy", environ={"SSTPSOCKS_PROXY_PASSWORD": "x"})


def test_what_may_be_used_to_log_in() -> None:
    proxy = load("h", proxy="proxy", proxy_auth=["NTLM,digest"]).tunnel.proxy
    assert proxy is not None
    assert proxy.methods == (ProxyMethod.NTLM, ProxyMethod.DIGEST)
    with pytest.raises(ConfigError, match='"kerberos" is no method'):
        load("h", proxy="proxy", proxy_auth=["kerberos"])


def test_several_servers_each_by_its_own_way() -> None:
    environ = {"HTTPS_PROXY": "http://proxy", "NO_PROXY": "192.0.2.0/24"}
    tunnel = load("one.example.org,192.0.2.7:8443", "[2001:db8::1]", environ=environ, ca_file=None).tunnel
    servers = (tunnel, *tunnel.alternatives)
    assert [settings.server for settings in servers] == ["one.example.org:443", "192.0.2.7:8443", "[2001:db8::1]:443"]
    assert [settings.trust.server_name for settings in servers] == ["one.example.org", "192.0.2.7", "2001:db8::1"]
    assert [settings.proxy is not None for settings in servers] == [True, False, True]
    assert all(settings.credentials is tunnel.credentials for settings in servers)
    assert not any(settings.alternatives for settings in tunnel.alternatives)


def test_what_does_not_go_with_several_servers() -> None:
    with pytest.raises(ConfigError, match="--connect-to: it stands for one server"):
        load("one", "two", connect_to="192.0.2.7")
    with pytest.raises(ConfigError, match="several users"):
        load("sstp://alice@one", "sstp://bob@two")


def test_the_source_address_and_the_tenant() -> None:
    tunnel = load("h", source_address="[2001:db8::9]", tenant_id="blue").tunnel
    assert (tunnel.source_address, tunnel.tenant_id) == ("2001:db8::9", "blue")
    with pytest.raises(ConfigError, match="--source-address: "):
        load("h", source_address="eth0")
