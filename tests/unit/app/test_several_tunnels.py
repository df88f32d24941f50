from __future__ import annotations

from pathlib import Path

import pytest

from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.listen_config import ListenSettings
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.errors import ConfigError

TWO = """
listen = 1090
user = "alice"
password = "top-secret"
default_profile = ["work", "lab"]

[profiles.work]
server = "vpn.work.example"
[profiles.lab]
server = "vpn.lab.example"
user = "bob"
listen = 1091
mtu = 1300
["profiles"."my home"]
server = "vpn.home.example"
"""


def load(tmp_path: Path, file: str, *flags: str, **variables: str) -> Configuration:
    path = tmp_path / "config.toml"
    path.write_text(file)
    path.chmod(0o600)
    environ = {"SSTPSOCKS_CONFIG": str(path)} | {f"SSTPSOCKS_{name}": value for name, value in variables.items()}
    return load_configuration(parse_connect(flags, explicit=True), environ, has_terminal=False)


def ports(listen: ListenSettings | None) -> list[int]:
    return [address.port for address in listen.addresses if isinstance(address, TcpAddress)] if listen else []


def test_each_profile_is_a_tunnel_of_its_own(tmp_path: Path) -> None:
    configuration = load(tmp_path, TWO)
    work, lab = configuration.tunnels
    assert (work.name, work.settings.host, work.settings.username, work.settings.mtu) == (
        "work",
        "vpn.work.example",
        "alice",
        1400,
    )
    assert (lab.name, lab.settings.host, lab.settings.username, lab.settings.mtu) == (
        "lab",
        "vpn.lab.example",
        "bob",
        1300,
    )
    assert work.settings is configuration.tunnel


def test_a_port_in_a_profile_is_for_its_tunnel_and_the_one_outside_for_all(tmp_path: Path) -> None:
    configuration = load(tmp_path, TWO)
    work, lab = configuration.tunnels
    assert ports(configuration.listen) == [1090]
    assert work.listen is None
    assert ports(lab.listen) == [1091]
    by_flag = load(tmp_path, TWO, "--listen", "1099")
    assert ports(by_flag.listen) == [1099]
    assert [ports(tunnel.listen) for tunnel in by_flag.tunnels] == [[], [1091]]


def test_flags_and_variables_choose_and_order_them(tmp_path: Path) -> None:
    def names(*flags: str, **variables: str) -> list[str]:
        return [tunnel.name for tunnel in load(tmp_path, TWO, *flags, **variables).tunnels]

    assert names("--profile", "lab", "--profile", "work") == ["lab", "work"]
    assert names(PROFILE="lab,my home") == ["lab", "my home"]
    assert names("--profile", "lab", "--profile", "lab") == ["lab"]


def test_one_profile_stays_as_simple_as_ever(tmp_path: Path) -> None:
    configuration = load(tmp_path, TWO, "--profile", "lab")
    (only,) = configuration.tunnels
    assert (only.name, only.listen, ports(configuration.listen)) == ("lab", None, [1091])
    assert load(tmp_path, TWO, "--profile", "lab", "--listen", "1", "other.example").tunnel.host == "other.example"


def test_without_a_profile_the_tunnel_has_no_name(tmp_path: Path) -> None:
    (only,) = load(tmp_path, 'server = "h"\nuser = "u"\npassword = "x"').tunnels
    assert only.name == ""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["other.example"], "SERVER: it is for one tunnel, and there are several: work, lab"),
        (["--connect-to", "192.0.2.1"], "--connect-to: it is for one tunnel"),
        (["--pcap", "x.pcapng"], 'the tunnels "work" and "lab" would both write x.pcapng'),
        (["--profile", "work", "--profile", "hame"], 'there is no profile "hame"'),
    ],
)
def test_what_only_one_tunnel_can_have_is_refused_outside_of_profiles(
    tmp_path: Path, flags: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, TWO, *flags)
    assert said in str(caught.value)


def test_what_all_share_is_refused_inside_a_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 14: ready_file: all tunnels share it") as caught:
        load(tmp_path, TWO.replace('["profiles"', 'ready_file = "x"\n["profiles"'))
    assert caught.value.line == 14


def test_forwards_in_a_profile_go_through_its_tunnel_and_those_outside_by_the_rules(tmp_path: Path) -> None:
    text = TWO.replace("listen = 1090", 'listen = 1090\nlocal_forward = "80:a:80"').replace(
        "mtu = 1300", 'mtu = 1300\nlocal_forward = ["udp/53:b:53", "81:b:81"]\nremote_forward = "22:localhost:22"'
    )
    configuration = load(tmp_path, text, "-L", "90:c:90")
    work, lab = configuration.tunnels
    assert [str(forward) for forward, _ in configuration.forwards.local] == ["90:c:90"]
    assert not work.forwards
    assert [str(forward) for forward, _ in lab.forwards.local] == ["udp/53:b:53", "81:b:81"]
    assert [str(forward) for forward in lab.forwards.remote] == ["22:localhost:22"]
    assert [str(forward) for forward, _ in load(tmp_path, text).forwards.local] == ["80:a:80"]
    alone = load(tmp_path, text, "--profile", "lab")
    assert [str(forward) for forward, _ in alone.forwards.local] == ["udp/53:b:53", "81:b:81"]
    assert not alone.tunnels[0].forwards, "they are served once"


def test_a_mistake_in_a_forward_of_a_profile_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 14: local_forward") as caught:
        load(tmp_path, TWO.replace("mtu = 1300", 'mtu = 1300\nlocal_forward = "*:80:b:80"'))
    assert caught.value.line == 14


def test_a_list_of_profiles_under_the_wrong_name_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, 'profiles = ["a", "b"]')
    assert 'default_profile = ["a", "b"]' in caught.value.hint
