"""Unix sockets and those of systemd."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sstpsocks.base.listen_address import Activated, TcpAddress, UnixAddress
from sstpsocks.errors import ConfigError
from sstpsocks.proxy.activation import is_activated, take_activated
from sstpsocks.proxy.listen import name_of, open_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
UNIX = getattr(socket, "AF_UNIX", socket.AF_INET)


async def test_several_addresses_are_listened_on_and_told(tmp_path: Path) -> None:
    path = tmp_path / "socks"
    listeners = await open_all([TcpAddress("127.0.0.1", 0), UnixAddress(path)], open_to_all=False)
    port = listeners[0].socket.getsockname()[1]
    assert port
    assert [name_of(listener) for listener in listeners] == [f"127.0.0.1:{port}", f"unix:{path}"]
    stream = await trio.open_unix_socket(str(path))
    await stream.aclose()
    await listeners.aclose()
    await listeners.aclose()
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_the_file_has_the_mode_that_was_asked_for(tmp_path: Path, mode: int) -> None:
    listeners = await open_all([UnixAddress(tmp_path / "socks", mode)], open_to_all=False)
    assert stat.S_IMODE((tmp_path / "socks").stat().st_mode) == mode
    await listeners.aclose()


async def test_a_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socks"
    with socket.socket(UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()
    listeners = await open_all([UnixAddress(path)], open_to_all=False)
    stream = await trio.open_unix_socket(str(path))
    await stream.aclose()
    await listeners.aclose()


async def test_a_socket_of_a_living_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "socks"
    first = await open_all([UnixAddress(path)], open_to_all=False)
    with pytest.raises(ConfigError, match="a running program listens there"):
        await open_all([TcpAddress("127.0.0.1", 0), UnixAddress(path)], open_to_all=False)
    stream = await trio.open_unix_socket(str(path))
    await stream.aclose()
    await first.aclose()


async def test_another_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        await open_all([UnixAddress(path)], open_to_all=False)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="no socket"):
        await open_all([UnixAddress(link)], open_to_all=False)
    assert path.read_text() == "mine"


async def test_a_path_that_cannot_be_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        await open_all([UnixAddress(tmp_path / "missing" / "socks")], open_to_all=False)
    with pytest.raises(ConfigError, match="cannot listen on unix:"):
        await open_all([UnixAddress(tmp_path / ("x" * 120))], open_to_all=False)


async def test_only_our_own_file_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socks"
    listeners = await open_all([UnixAddress(path)], open_to_all=False)
    path.unlink()
    path.write_text("somebody else's")
    await listeners.aclose()
    assert path.read_text() == "somebody else's"


# systemd


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "socks", "HOME": "/"}
    assert not is_activated(environ)
    with pytest.raises(ConfigError, match="systemd gave no sockets"):
        take_activated(environ)
    assert environ == {"HOME": "/"}


async def test_without_systemd_its_sockets_are_an_error() -> None:
    with pytest.raises(ConfigError, match="systemd gave no sockets"):
        await open_all([Activated()], open_to_all=False, environ={})


# What systemd does needs descriptor 3 on, which a process of its own has free.
ACTIVATED = """
import os, socket, sys, trio
from sstpsocks.errors import ConfigError
from sstpsocks.base.listen_address import Activated
from sstpsocks.proxy.listen import name_of, open_all

async def main():
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": sys.argv[2], "LISTEN_FDNAMES": sys.argv[3]}
    try:
        listeners = await open_all([Activated(sys.argv[1])], open_to_all=False, environ=environ)
    except ConfigError as error:
        print("refused:", error)
        return
    print(*(name_of(listener) for listener in listeners))
    assert not environ
    assert not any(os.get_inheritable(listener.socket.fileno()) for listener in listeners)
    await listeners.aclose()

trio.run(main)
"""


def activate(sockets: list[socket.socket], name: str, labels: str) -> str:
    numbers = [sock.fileno() for sock in sockets]
    # A shell would do, but cannot be told of descriptors above 9: another Python puts them at their places.
    place = "import os, sys\nfor at, number in enumerate(map(int, sys.argv[1].split(',')), 3): os.dup2(number, at)\n"
    place += "os.execv(sys.executable, [sys.executable, '-c', *sys.argv[2:]])"
    moved = [os.dup(number) for number in numbers]
    high = [_to(number, 100 + index) for index, number in enumerate(moved)]
    try:
        return subprocess.run(
            [sys.executable, "-c", place, ",".join(map(str, high)), ACTIVATED, name, str(len(high)), labels],
            pass_fds=high,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout.strip()
    finally:
        for number in high:
            os.close(number)


def _to(number: int, place: int) -> int:
    os.dup2(number, place)
    os.close(number)
    return place


def test_the_sockets_of_systemd_are_taken_by_name(tmp_path: Path) -> None:
    path = tmp_path / "socks"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(UNIX, socket.SOCK_STREAM) as unix:
        unix.bind(str(path))
        unix.listen()
        where = f"127.0.0.1:{tcp.getsockname()[1]}"
        assert activate([tcp, unix], "", "one:two") == f"{where} unix:{path}"
        assert activate([tcp, unix], "two", "one:two") == f"unix:{path}"
        assert activate([tcp, unix], "one", "one:two") == where
        assert activate([tcp], "three", "one") == "refused: systemd gave no socket with the name three"
    assert path.exists()  # it is systemd's


def test_a_socket_of_systemd_that_does_not_listen_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        assert activate([udp], "", "udp").startswith('refused: the socket "udp" of systemd does not listen')


def test_a_socket_of_systemd_that_others_reach_is_refused() -> None:
    with socket.create_server(("0.0.0.0", 0)) as tcp:  # noqa: S104  # closed at once, and nobody accepts
        assert "would let other machines into the private network" in activate([tcp], "", "socks")
