from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.dns_config import DnsAddress
from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.name_settings import NameSettings, Servers, Way


def configured(**given: object) -> Configuration:
    return load_configuration({"server": ["vpn.test"], **given}, {}, has_terminal=False, login=False)


def test_without_a_word_names_go_through_the_tunnel_and_no_port_is_opened() -> None:
    configuration = configured()
    assert configuration.tunnel.names == NameSettings()
    assert configuration.dns_listen == ()


def test_names_are_read() -> None:
    names = configured(
        host=["NAS.corp.test=10.0.0.9", "nas.corp.test=fd00::9"],
        dns_suffix=["*.corp.test"],
        dns_server=["hq.test=10.1.0.53", "hq.test=10.1.0.54", "ads.test=refuse", ".=system"],
        dns_rest="refuse",
    ).tunnel.names
    assert names.hosts == (("nas.corp.test", (ip_address("10.0.0.9"), ip_address("fd00::9"))),)
    assert dict(names.suffixes) == {
        "corp.test": Way.TUNNEL,
        "hq.test": Servers((ip_address("10.1.0.53"), ip_address("10.1.0.54"))),
        "ads.test": Way.REFUSE,
        "": Way.SYSTEM,
    }
    assert names.rest is Way.REFUSE


def test_ports_are_read() -> None:
    assert configured(dns_listen=["5353", "[::1]:0"]).dns_listen == (
        DnsAddress("127.0.0.1", 5353),
        DnsAddress("::1", 0),
    )


def test_other_machines_are_answered_only_on_request() -> None:
    with pytest.raises(ConfigError, match="would let other machines ask"):
        configured(dns_listen=["0.0.0.0:5353"])
    assert configured(dns_listen=["0.0.0.0:5353"], dns_allow_remote=True).dns_listen


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": ["nas"]}, "is not NAME=ADDRESS"),
        ({"host": ["nas=there"]}, "is not an IP address"),
        ({"dns_server": ["corp.test"]}, "is not SUFFIX=ADDRESS"),
        ({"dns_server": ["corp.test=dns.test"]}, "does not appear to be"),
        ({"dns_server": ["corp.test=refuse", "corp.test=system"]}, "is said twice"),
        ({"dns_listen": ["dns.test:53"]}, "is not an IP address"),
    ],
)
def test_mistakes_are_told(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(**given)


def test_a_file_has_a_table_of_hosts(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('server = "vpn.test"\n[hosts]\n"nas.test" = ["10.0.0.9", "fd00::9"]\nweb = "10.0.0.8"\n')
    names = load_configuration({"config": str(path)}, {}, has_terminal=False, login=False).tunnel.names
    assert names.hosts == (
        ("nas.test", (ip_address("10.0.0.9"), ip_address("fd00::9"))),
        ("web", (ip_address("10.0.0.8"),)),
    )
