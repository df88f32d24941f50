from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sstpsocks.app.cli.main import main
from sstpsocks.app.mistakes import find_mistakes
from tests.helpers.certificates import issue


def mistakes(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    verdict = find_mistakes(path, {})
    assert verdict.exit_code == (2 if verdict.mistakes else 0)
    return [(mistake.line, mistake.key, f"{mistake.message}. {mistake.hint}") for mistake in verdict.mistakes]


EVERYTHING_WRONG = """\
lisen = 1080
mtu = 99999
listen = "127.0.0.1:99999"
[profiles.a]
server = "vpn/example"
user = "a"
password_file = "/nope"
tls_timeout = "x"
ca_file = "/none.pem"
auth = "mschapv1"
pin_sha256 = "zz"
proxy = "ftp://x"
[profiles.b]
server = "h"
user = "u"
eap_cert = "/nope.p12"
eap_key = "/nope.key"
search_domain = "10.0.0.1"
reconect = "never"
"""


def test_every_mistake_is_found_with_its_line_and_key(tmp_path: Path) -> None:
    found = mistakes(tmp_path, EVERYTHING_WRONG)
    assert [(line, key) for line, key, _ in found] == [
        (1, "lisen"),
        (2, "mtu"),
        (3, "listen"),
        (5, "server"),
        (7, "password_file"),
        (8, "tls_timeout"),
        (9, "ca_file"),
        (10, "auth"),
        (11, "pin_sha256"),
        (12, "proxy"),
        (16, ""),
        (18, "search_domain"),
        (19, "reconect"),
    ]
    said = {line: text for line, _, text in found}
    assert 'Did you mean "listen"?' in said[1]
    assert "not from 576 to 4087" in said[2]
    assert "cannot read /nope:" in said[7]
    assert "must be a number of seconds" in said[8]
    assert "cannot read /nope.p12" in said[16]
    assert 'Did you mean "reconnect"?' in said[19]


def test_a_good_file_has_none(tmp_path: Path) -> None:
    assert mistakes(tmp_path, 'listen = 1090\n[profiles.a]\nserver = "h"\nuser = "u"\npassword = "x"\n') == []
    assert mistakes(tmp_path, "listen = 1090\n") == []
    assert mistakes(tmp_path, '[profiles.a]\nserver = "h"\nuser = "u"\n') == [], "a terminal would be asked"


def test_a_mistake_at_the_top_is_said_once_for_all_profiles(tmp_path: Path) -> None:
    text = 'auth = "nothing"\n[profiles.a]\nserver = "h"\n[profiles.b]\nserver = "h"\n'
    assert [line for line, _, _ in mistakes(tmp_path, text)] == [1]


def test_one_of_several_profiles_may_ask_for_its_password(tmp_path: Path) -> None:
    text = """
default_profile = ["work", "lab"]
[profiles.work]
server = "vpn.example.com"
user = "alice"
password_command = "pass show work"
[profiles.lab]
server = "vpn.example.net"
user = "alice"
"""
    assert mistakes(tmp_path, text) == []


def test_what_cannot_be_up_together_is_found(tmp_path: Path) -> None:
    text = 'default_profile = ["a", "b"]\n[profiles.a]\nserver = "h"\nready_file = "x"\n[profiles.b]\nserver = "h"\n'
    ((line, key, said),) = mistakes(tmp_path, text)
    assert (line, key) == (4, "ready_file")
    assert "all tunnels share it" in said


def test_an_encrypted_key_is_no_mistake(tmp_path: Path) -> None:
    issued = issue([], subject="carol")
    protection = serialization.BestAvailableEncryption(b"letmein")
    key = issued.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    (tmp_path / "client.pem").write_bytes(issued.pem + key)
    text = '[profiles.a]\nserver = "h"\neap_cert = "client.pem"\nsni = "10.0.0.1"\n'
    assert [(line, key) for line, key, _ in mistakes(tmp_path, text)] == [(4, "sni")]


def test_a_file_that_is_no_toml_or_is_not_there(tmp_path: Path) -> None:
    assert [(line, key) for line, key, _ in mistakes(tmp_path, "mtu = = 1")] == [(1, "")]
    (missing,) = find_mistakes(tmp_path / "none.toml", {}).mistakes
    assert "No such file" in missing.message


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_loose_modes_are_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    path = tmp_path / "config.toml"
    path.write_text('server = "h"\nuser = "u"\npassword_file = "secret"\n')
    path.chmod(0o600)
    assert "secret can be read or written" in find_mistakes(path, {}).mistakes[0].message
    path.chmod(0o666)
    assert "chmod o-w" in find_mistakes(path, {}).mistakes[0].hint


def test_the_command_prints_lines_like_a_compiler_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text("mtuu = 1\n")
    assert main(["config", "check", str(path)]) == 2
    assert capsys.readouterr().out == f'{path}:1: mtuu: unknown key "mtuu". Did you mean "mtu"?\n'
    assert main(["config", "check", "--json", str(path)]) == 2
    assert json.loads(capsys.readouterr().out)["mistakes"][0]["line"] == 1
    path.write_text("")
    assert main(["config", "check", str(path)]) == 0
    assert "no mistakes" in capsys.readouterr().out


def test_no_secret_is_in_the_report(tmp_path: Path) -> None:
    text = '[profiles.a]\nserver = "sstp://u:hunter2@h"\npassword = ["hunter2"]\nproxy = "http://x:hunter2@h:99999"\n'
    found = mistakes(tmp_path, text)
    assert [line for line, _, _ in found] == [2, 3, 4]
    assert "hunter2" not in repr(found)


def test_what_is_wrong_in_a_table_of_hosts_has_its_own_line_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    text = """\
server = "h"
host = ["printer.test=10.0.0.300"]
mtu = 7
[hosts]
good = "10.0.0.1"
bad = "10.0.0.256"
"two.test" = ["10.0.0.2", "fe80::x"]
dotted.test = "10.0.0.3"
number = 7
"""
    found = mistakes(tmp_path, text)
    assert [(line, key) for line, key, _ in found] == [
        (2, "host"),
        (3, "mtu"),
        (6, "hosts.bad"),
        (7, "hosts.two.test"),
        (8, "hosts.dotted"),
        (9, "hosts.number"),
    ]
    assert 'Put the name in quotation marks: "dotted.test"' in found[4][2]


def test_what_is_wrong_in_a_table_of_users_has_its_own_line_and_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "bob").write_text("from a file\n")
    (tmp_path / "bob").chmod(0o600)
    text = f"""\
server = "h"
[users]
alice = "hunter22"
bob = {{ password_file = "bob" }}
carol = {{ password_file = "nowhere" }}
dave = {{ pasword = "hunter22" }}
eve = ["hunter22"]
frank = ""
grace = "{"hunter22" * 40}"
"""
    found = mistakes(tmp_path, text)
    assert [(line, key) for line, key, _ in found] == [
        (5, "users.carol"),
        (6, "users.dave"),
        (7, "users.eve"),
        (8, "users.frank"),
        (9, "users.grace"),
    ]
    assert 'Did you mean "password"?' in found[1][2]
    assert "hunter22" not in repr(found)
    assert [line for line, *_ in mistakes(tmp_path, "[users]\n")] == [1]


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_users_whose_passwords_everybody_reads_are_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[users]\nalice = "x"\n')
    path.chmod(0o644)
    assert "holds a password" in find_mistakes(path, {}).mistakes[0].message
    (tmp_path / "alice").write_text("x")
    (tmp_path / "alice").chmod(0o600)
    path.write_text('[users]\nalice = { password_file = "alice" }\n')
    assert find_mistakes(path, {}).mistakes == ()
    (tmp_path / "alice").chmod(0o644)
    (mistake,) = find_mistakes(path, {}).mistakes
    assert (mistake.line, mistake.key) == (2, "users.alice")


def test_an_address_that_others_reach_is_told_with_its_line(tmp_path: Path) -> None:
    text = 'server = "h"\ndns_listen = "0.0.0.0:5353"\nlocal_forward = "*:80:h:80"\nlisten = "0.0.0.0:1080"\n'
    assert [(line, key) for line, key, _ in mistakes(tmp_path, text)] == [
        (2, "dns_listen"),
        (3, "local_forward"),
        (4, "listen"),
    ]


RULES = """
rule = [".lab.example -> lab", ".work.example -> {way}"]
[profiles.work]
server = "a"
[profiles.lab]
server = "b"
"""


@pytest.mark.parametrize("chosen", ['default_profile = ["work", "lab"]', "listen = 1"])
def test_rules_may_name_every_profile_and_nothing_else(tmp_path: Path, chosen: str) -> None:
    assert mistakes(tmp_path, chosen + RULES.format(way="work")) == []
    ((line, key, said),) = mistakes(tmp_path, chosen + RULES.format(way="wrk"))
    assert (line, key) == (2, "rule")
    assert 'Did you mean "work"?' in said


def test_a_default_profile_that_its_rules_lead_away_from_is_a_mistake(tmp_path: Path) -> None:
    ((line, key, said),) = mistakes(tmp_path, 'default_profile = "work"' + RULES.format(way="work"))
    assert (line, key) == (2, "rule")
    assert 'there is no tunnel "lab"' in said
