from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import load_configuration
from sstpsocks.app.listen_config import ListenSettings, parse_listen_address
from sstpsocks.base.listen_address import Activated, TcpAddress, UnixAddress
from sstpsocks.errors import ConfigError


def listen(tmp_path: Path, *flags: str, file: str = "", **variables: str) -> ListenSettings:
    path = tmp_path / "config.toml"
    path.write_text(f'server = "h"\nuser = "u"\npassword = "x"\n{file}\n')
    path.chmod(0o600)
    environ = {"SSTPSOCKS_CONFIG": str(path)} | {f"SSTPSOCKS_{name}": value for name, value in variables.items()}
    return load_configuration(parse_connect(flags, explicit=True), environ, has_terminal=False).listen


def users_file(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "users"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1080", TcpAddress("127.0.0.1", 1080)),
        ("0", TcpAddress("127.0.0.1", 0)),
        ("[::1]:1080", TcpAddress("::1", 1080)),
        ("localhost:1080", TcpAddress("localhost", 1080)),
        ("unix:/run/s", UnixAddress(Path("/run/s"), 0o600)),
        ("unix:/run/s?mode=0660", UnixAddress(Path("/run/s"), 0o660)),
        ("unix:here", UnixAddress(Path("/folder/here"), 0o600)),
        ("systemd", Activated()),
        ("systemd:socks", Activated("socks")),
    ],
)
def test_the_ways_to_write_a_place(text: str, address: object) -> None:
    assert parse_listen_address(text, Path("/folder")) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unix:", "needs the path"),
        ("unix:/run/s?mode=0999", "no mode of a file"),
        ("unix:/run/s?mode=10000", "no mode of a file"),
        ("unix:/run/s?owner=me", '"owner" behind unix:/run/s is not known'),
        ("systemdd", "is not"),
        ("127.0.0.1:99999", ""),
    ],
)
def test_what_is_no_place_is_told_with_where_it_stands(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="--listen: ") as caught:
        listen(tmp_path, "--listen", text)
    assert message in str(caught.value)


def test_several_places_from_flags_variable_or_file(tmp_path: Path) -> None:
    both = (TcpAddress("127.0.0.1", 1080), UnixAddress(tmp_path / "s"))
    assert listen(tmp_path, "-l", "1080", "--listen", f"unix:{tmp_path}/s").addresses == both
    assert listen(tmp_path, LISTEN=f"1080 unix:{tmp_path}/s").addresses == both
    assert listen(tmp_path, file='listen = ["1080", "unix:s"]').addresses == both  # as all paths in the file
    assert listen(tmp_path, "-l", "1080", "-l", "1080").addresses == both[:1]


def test_one_open_place_among_several_is_enough_to_refuse(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would let other machines into the private network"):
        listen(tmp_path, "--listen", "1080", "--listen", "[::]:1080")
    assert listen(tmp_path, "--listen", "[::]:1080", "--allow-remote").open_to_all


def test_users_of_a_file_come_beside_the_one_of_the_options(tmp_path: Path) -> None:
    path = users_file(tmp_path, b"# ours\nalice:se:cret\n\nb\xc3\xb6b: other \n")
    settings = listen(tmp_path, "--listen", "0.0.0.0:1080", "--socks-users-file", path)
    assert settings.all_users == (("alice", "se:cret"), ("böb", " other "))
    assert settings.open_to_all
    assert "cret" not in repr(settings)
    own = tmp_path / "own"
    own.write_text("mine\n")
    own.chmod(0o600)
    settings = listen(tmp_path, "--socks-users-file", path, "--socks-user", "me", "--socks-password-file", str(own))
    assert [name for name, _ in settings.all_users] == ["me", "alice", "böb"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no user"),
        (b"# nobody\n", "names no user"),
        (b"alice:secret\nbob\n", "line 2: it is not NAME:PASSWORD"),
        (b"alice:\n", "line 1: name and password have 1 to 255 octets"),
        (b":secret\n", "line 1: name and password have 1 to 255 octets"),
        (b"alice:" + b"s" * 256, "line 1: name and password have 1 to 255 octets"),
        (b"alice:secret\nalice:other\n", "line 2: this user stands above already"),
        (b"alice:\xff\n", "is not UTF-8"),
    ],
)
def test_a_mistake_in_the_users_file_is_told_without_its_content(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        listen(tmp_path, "--socks-users-file", users_file(tmp_path, content))
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_users_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="by other users of this machine") as caught:
        listen(tmp_path, "--socks-users-file", users_file(tmp_path, b"alice:secret\n", mode))
    assert "chmod 600 " in caught.value.hint


def test_a_users_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        listen(tmp_path, "--socks-users-file", str(tmp_path / "users"))


USERS = """
[users]
bob = "correct horse"
"carol@corp" = { password_file = "carol" }
"""


def test_users_come_from_a_table_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "carol").write_text("battery staple\nmore\n")
    (tmp_path / "carol").chmod(0o600)
    settings = listen(tmp_path, file=f'listen = "0.0.0.0:1080"{USERS}')
    assert settings.all_users == (("bob", "correct horse"), ("carol@corp", "battery staple"))
    assert settings.open_to_all, "programs must log in"
    more = users_file(tmp_path, b"dave:x\n")
    assert [name for name, _ in listen(tmp_path, "--socks-users-file", more, file=USERS).all_users] == [
        "dave",
        "bob",
        "carol@corp",
    ]


def test_a_user_of_the_table_who_is_in_the_file_as_well_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "carol").write_text("x")
    (tmp_path / "carol").chmod(0o600)
    more = users_file(tmp_path, b"bob:x\n")
    with pytest.raises(ConfigError, match=r"line 7: users\.bob: .* as well"):
        listen(tmp_path, "--socks-users-file", more, file=f"\n{USERS}".rstrip())


def test_users_of_the_table_are_in_no_repr(tmp_path: Path) -> None:
    (tmp_path / "carol").write_text("battery staple")
    (tmp_path / "carol").chmod(0o600)
    assert "correct horse" not in repr(listen(tmp_path, file=USERS))
