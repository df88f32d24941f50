"""``sstpsocks import``: a sample of each format, what stays behind, and files that mean harm."""

from __future__ import annotations

import io
import os
import stat
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from sstpsocks.app.cli.main import main
from sstpsocks.app.configfile import load
from sstpsocks.app.importing.decoding import MAX_PROFILE
from sstpsocks.app.importing.detect import read_profiles
from sstpsocks.app.importing.link import read_link
from sstpsocks.app.importing.profile import ImportedProfile
from sstpsocks.app.importing.toml import render
from sstpsocks.errors import ConfigError

PHONE_BOOK = """\
[Work]
Encoding=1
Type=2
AutoLogon=0
VpnStrategy=6
CustomAuthKey=26
AuthRestrictions=640
IpPrioritizeRemote=0
IpAssign=1
IpDnsSuffix=corp.example.com
NumServers=0

NETCOMPONENTS=
ms_msclient=1

MEDIA=rastapi
Port=VPN3-0
Device=WAN Miniport (SSTP)

DEVICE=vpn
PhoneNumber=vpn.example.com:4433
AreaCode=

[Old]
VpnStrategy=1
DEVICE=vpn
PhoneNumber=pptp.example.com

[DSL]
DEVICE=PPPoE
PhoneNumber=isp
"""

PROFILE_XML = """\
<?xml version="1.0" encoding="utf-16"?>
<VPNProfile>
  <ProfileName>Corp</ProfileName>
  <NativeProfile>
    <Servers>vpn.example.com;Head office,vpn2.example.com</Servers>
    <NativeProtocolType>SSTP</NativeProtocolType>
    <RoutingPolicyType>SplitTunnel</RoutingPolicyType>
    <Authentication>
      <UserMethod>Eap</UserMethod>
      <Eap><Configuration>
        <EapHostConfig xmlns="http://www.microsoft.com/provisioning/EapHostConfig">
          <EapMethod><Type xmlns="http://www.microsoft.com/provisioning/EapCommon">25</Type></EapMethod>
          <Config><Eap><Type>25</Type><EapType>
            <ServerValidation><ServerNames>nps.example.com;nps2.example.com</ServerNames>
            <TrustedRootCA>01 02 03</TrustedRootCA></ServerValidation>
            <Eap><Type>26</Type></Eap>
          </EapType></Eap></Config>
        </EapHostConfig>
      </Configuration></Eap>
    </Authentication>
  </NativeProfile>
  <AlwaysOn>true</AlwaysOn>
  <DnsSuffix>corp.example.com</DnsSuffix>
  <Route><Address>10.0.0.0</Address><PrefixSize>8</PrefixSize></Route>
</VPNProfile>
"""

AZURE = """\
<?xml version="1.0" encoding="utf-8"?>
<VpnProfile xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <VpnServer>azuregateway-1234.vpn.azure.com</VpnServer>
  <VpnType>IkeV2,SSTP</VpnType>
  <CaCert>MIIC</CaCert>
  <Routes>10.0.0.0/16</Routes>
  <Auth>EapTls</Auth>
</VpnProfile>
"""

KEYFILE = """\
[connection]
id=Home office
uuid=0a0a
type=vpn

[vpn]
ca-cert=/etc/ssl/lab\\sca.pem
domain=CORP
gateway=vpn.example.com:4433
ignore-cert-warn=yes
lcp-echo-interval=30
password-flags=0
proxy-port=3128
proxy-server=proxy.example.com
refuse-eap=yes
refuse-pap=no
user=alice
service-type=org.freedesktop.NetworkManager.sstp

[vpn-secrets]
password=s3cret

[ipv4]
dns-search=corp.example.com;
method=auto

[ipv6]
method=ignore
"""

ROUTEROS = """\
# jan/02/2024 by RouterOS 7.13
/interface bridge
add name=bridge1
/interface sstp-client
add authentication=mschap2,pap connect-to=vpn.example.com:4433 disabled=no \\
    http-proxy=0.0.0.0:443 name=sstp-out1 password="p\\"w" \\
    profile=default-encryption user=branch
/ip route
add dst-address=10.0.0.0/8 gateway=sstp-out1
"""


def only(text: str | bytes) -> ImportedProfile:
    """Return the one profile in it."""
    found = read_profiles(text if isinstance(text, bytes) else text.encode()).profiles
    assert len(found) == 1
    return found[0]


def left(profile: ImportedProfile) -> str:
    """Return what stays behind as one text."""
    return "\n".join(profile.not_carried)


def archive(content: bytes, name: str = "Generic/VpnSettings.xml") -> bytes:
    """Return a zip archive with one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return buffer.getvalue()


def test_a_phone_book_gives_its_sstp_entries_and_says_which_are_none() -> None:
    found = read_profiles(PHONE_BOOK.encode())
    (work,) = found.profiles
    assert work.name == "Work"
    assert work.settings == {"server": ("vpn.example.com:4433",), "search_domain": ("corp.example.com",)}
    assert "IpPrioritizeRemote: nothing on this machine is routed" in left(work)
    assert "user and password" in left(work)
    assert found.skipped == ("Old: it is for PPTP only", "DSL: it dials a PPPoE, not a VPN")


@pytest.mark.parametrize(
    ("bits", "eap", "auth"),
    [
        (0x80, "13", ("eap-tls",)),
        (0x80, "25", ("peap",)),
        (0x80, "26", ("eap-mschapv2",)),
        (0x200, "0", ("mschapv2",)),
        (0x220, "0", ("mschapv2",)),
        (0x28, "0", ("chap", "pap")),
        (0x280, "26", None),  # both of what is usual here anyway
    ],
)
def test_the_methods_of_a_phone_book(bits: int, eap: str, auth: tuple[str, ...] | None) -> None:
    profile = only(f"[X]\nAuthRestrictions={bits}\nCustomAuthKey={eap}\nPhoneNumber=h.example")
    assert profile.settings.get("auth") == auth


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_profile_xml_in_every_encoding_that_windows_writes(encoding: str) -> None:
    profile = only(PROFILE_XML.encode(encoding))
    assert profile.name == "Corp"
    assert profile.settings == {
        "server": ("vpn.example.com", "vpn2.example.com"),
        "auth": ("peap",),
        "eap_server_name": ("nps.example.com", "nps2.example.com"),
        "search_domain": ("corp.example.com",),
    }
    for what in ("Route:", "AlwaysOn:", "TrustedRootCA:", "RoutingPolicyType:"):
        assert what in left(profile)


def test_a_profile_xml_for_ikev2_is_refused() -> None:
    with pytest.raises(ConfigError, match="IKEv2, not for SSTP"):
        only(PROFILE_XML.replace(">SSTP<", ">IKEv2<"))


def test_azures_settings_alone_and_in_the_archive_are_the_same() -> None:
    profile = only(AZURE)
    assert profile.settings == {"server": "azuregateway-1234.vpn.azure.com", "auth": ("eap-tls",)}
    assert "client certificate: " in left(profile)
    assert "Routes: " in left(profile)
    assert only(archive(AZURE.encode())) == profile


def test_an_azure_gateway_without_sstp_is_refused() -> None:
    with pytest.raises(ConfigError, match="IkeV2, not for SSTP"):
        only(AZURE.replace("IkeV2,SSTP", "IkeV2"))
    with pytest.raises(ConfigError, match="OpenVPN"):
        only("<AzVpnProfile><name>x</name></AzVpnProfile>")


def test_a_keyfile_of_networkmanager() -> None:
    profile = only(KEYFILE)
    assert profile.name == "Home office"
    assert profile.settings == {
        "server": "vpn.example.com:4433",
        "user": "CORP\\alice",
        "auth": ("mschapv2",),
        "ca_file": "/etc/ssl/lab ca.pem",
        "proxy": "proxy.example.com:3128",
        "search_domain": ("corp.example.com",),
        "ipv6": "never",
    }
    assert profile.secrets == {"password": "s3cret"}
    assert "ignore-cert-warn: the server's certificate is always checked" in left(profile)
    assert "lcp-echo-interval" in left(profile)


def test_a_keyfile_with_a_certificate() -> None:
    text = (
        "[vpn]\nservice-type=org.freedesktop.NetworkManager.sstp\ngateway=h.example\nconnection-type=tls\n"
        "tls-user-cert=file:///c.p12\ntls-identity=alice@example.com\ntls-remotename=radius.example\n"
    )
    assert only(text).settings == {
        "server": "h.example",
        "auth": ("eap-tls",),
        "user": "alice@example.com",
        "eap_cert": "/c.p12",
        "eap_server_name": ("radius.example",),
    }


def test_a_keyfile_of_another_vpn_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"service-type is \"org\.freedesktop\.NetworkManager\.openvpn"):
        only("[vpn]\nservice-type=org.freedesktop.NetworkManager.openvpn\n")


def test_an_export_of_routeros() -> None:
    profile = only(ROUTEROS)
    assert profile.name == "sstp-out1"
    assert profile.settings == {"server": "vpn.example.com:4433", "user": "branch", "auth": ("mschapv2",)}
    assert profile.secrets == {"password": 'p"w'}
    for what in ("verify-server-certificate=no: ", "pap: ", "profile: "):
        assert what in left(profile)
    assert "disabled" not in left(profile)


def test_one_line_of_routeros_with_proxy_and_port() -> None:
    line = "/interface/sstp-client/add connect-to=192.0.2.1 port=4433 http-proxy=198.51.100.2 proxy-port=8080 user=u "
    profile = only(line + "verify-server-certificate=yes max-mtu=1450 keepalive-timeout=30")
    assert profile.settings == {
        "server": "192.0.2.1:4433",
        "user": "u",
        "proxy": "198.51.100.2:8080",
        "mtu": 1450,
    }
    assert "verify-server-certificate" not in left(profile)
    assert "keepalive-timeout: " in left(profile)


def test_a_link_gives_user_and_password_apart() -> None:
    profile = read_link("SSTP://CORP%5Calice:p%40ss@[2001:db8::1]:4433/?a=b")
    assert profile.settings == {"server": "[2001:db8::1]:4433", "user": "CORP\\alice"}
    assert profile.secrets == {"password": "p@ss"}
    assert "what follows the port" in left(profile)
    assert "p@ss" not in repr(profile)


def test_a_link_that_is_wrong_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        read_link("sstp://alice:hunter2@bad host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no profile of a kind"),
        (b"hello", "no profile of a kind"),
        (b"\xff\xfe\x00", "not UTF-16"),
        (b"[a]\xff", "not UTF-8"),
        (b"x" * (MAX_PROFILE + 1), "larger than"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><VPNProfile>&a;</VPNProfile>', "document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "document type"),
        (b"<a>" * 100, "nests too deep"),
        (b"<a>" + b"<b/>" * 30000 + b"</a>", "too many elements"),
        (b"<a><b></a>", "mismatched tag"),
        (b"<VPNProfile/>", "no NativeProfile"),
        (b"<html/>", "not a VPN profile"),
        (b"[x]\nnonsense", "line 2 is neither"),
        (b"PK\x03\x04 and then nothing", "damaged"),
        (b"/interface sstp-client\nadd name=x", "names no server"),
        (b"/interface sstp-client\nset x", 'no "/interface sstp-client add"'),
    ],
)
def test_what_means_harm_or_nothing_is_one_clear_error(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_profiles(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\n" * MAX_PROFILE,
        b" " * (MAX_PROFILE - 1) + b"x",
        b"/interface sstp-client add " + b"a" * (MAX_PROFILE - 100),
        b"/interface sstp-client add " + b'a="' * (MAX_PROFILE // 4),
        b"interface " * (MAX_PROFILE // 10),
        b"<a>" + b"&amp;" * (MAX_PROFILE // 6) + b"</a>",
        b"<VPNProfile><NativeProfile>" + b"<NativeProtocolList><Type>x</Type></NativeProtocolList>" * 9000,
        b"[x]\nPhoneNumber=h.example\n" * 20000,
        b"sstp://h.example\n" * 10000,
    ],
)
def test_the_largest_files_take_no_quadratic_time(data: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(ConfigError):
        read_profiles(data)
    assert time.process_time() - begun < 20


def test_a_list_of_protocols_must_hold_sstp() -> None:
    listed = "<NativeProtocolType>ProtocolList</NativeProtocolType><ProtocolList><NativeProtocolList><Type>{}</Type>"
    listed += "</NativeProtocolList></ProtocolList>"
    before = "<NativeProtocolType>SSTP</NativeProtocolType>"
    assert only(PROFILE_XML.replace(before, listed.format("Sstp"))).name == "Corp"
    with pytest.raises(ConfigError, match="not for SSTP"):
        only(PROFILE_XML.replace(before, listed.format("Ikev2")))


def test_a_zip_bomb_is_not_unpacked_beyond_the_bound() -> None:
    with pytest.raises(ConfigError, match="too large"):
        read_profiles(archive(b"\0" * (MAX_PROFILE * 8)))
    with pytest.raises(ConfigError, match=r"no VpnSettings\.xml"):
        read_profiles(archive(b"x", "other.txt"))


@pytest.mark.parametrize("sample", [PHONE_BOOK, PROFILE_XML, AZURE, KEYFILE, ROUTEROS])
def test_what_is_printed_is_taken_by_our_own_reader(sample: str, tmp_path: Path) -> None:
    profile = only(sample)
    path = tmp_path / "config.toml"
    path.write_text(render([profile], with_secrets=True), encoding="utf-8")
    path.chmod(0o600)
    loaded = load(path, [profile.name]).chosen[profile.name]
    wanted = {**profile.settings, **profile.secrets}
    assert set(loaded) == set(wanted)
    for key, value in wanted.items():
        got = loaded[key].value
        assert got == value or (value,) == got or (got,) == value


def test_profiles_of_one_name_are_told_apart() -> None:
    profiles = [ImportedProfile('a"]\n', {"server": "h.example"})] * 2
    assert set(tomllib.loads(render(profiles, with_secrets=False))["profiles"]) == {"a__", "a__-2"}


def test_the_command_prints_without_secrets_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "home.nmconnection"
    source.write_text(KEYFILE)
    assert main(["import", str(source)]) == 0
    printed = capsys.readouterr()
    assert tomllib.loads(printed.out)["profiles"]["Home office"]["server"] == "vpn.example.com:4433"
    assert "s3cret" not in printed.out + printed.err
    assert "password: it is a secret; --with-secrets takes it along" in printed.err


@pytest.mark.skipif(os.name != "posix", reason="files have modes on POSIX only")
def test_a_file_with_a_secret_is_its_owners_only_and_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new.toml"
    arguments = ["import", "sstp://alice:hunter2@vpn.example.com", "--output", str(output), "--with-secrets"]
    assert main(arguments) == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert load(output, ["vpn.example.com"]).chosen["vpn.example.com"]["password"].value == "hunter2"
    output.write_text("mine")
    assert main(arguments) == 2
    assert output.read_text() == "mine"
    assert "is not overwritten" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_configuration_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "/nowhere/x.pbk"]) == 2
    assert "cannot read /nowhere/x.pbk" in capsys.readouterr().err
