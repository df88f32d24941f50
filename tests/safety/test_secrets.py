"""Secrets: what other users and programs of this machine, and whoever gets a report of a failure, see of them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sstpsocks.app.cli import main as cli
from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.show import show_json, show_toml
from tests.e2e.test_command import PASSWORD, ROOT, environment, site

SECRET = "hunter2-and-nothing-else"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def everything_secret(tmp_path: Path) -> Configuration:
    for name in ("socks", "users", "new"):
        (tmp_path / name).write_text(f"bob:{SECRET}\n")
        (tmp_path / name).chmod(0o600)
    config = tmp_path / "config.toml"
    config.write_text(
        f'server = "vpn.test"\nuser = "u"\npassword = "{SECRET}"\nproxy = "http://p:{SECRET}@127.0.0.1:3128"\n'
        'socks_user = "alice"\nsocks_password_file = "socks"\nsocks_users_file = "users"\nnew_password_file = "new"\n'
    )
    config.chmod(0o600)
    return load_configuration(parse_connect([], explicit=True), {"SSTPSOCKS_CONFIG": str(config)}, has_terminal=False)


def test_no_secret_is_in_any_repr_or_dump_of_the_configuration(tmp_path: Path) -> None:
    configuration = everything_secret(tmp_path)
    assert configuration.sources is not None
    shown = [repr(configuration), repr(configuration.sources), repr(configuration.tunnel), repr(configuration.listen)]
    shown += [show_toml(configuration.sources), show_json(configuration.sources)]
    shown += [repr(setting) for layer in configuration.sources.shared.all for setting in layer.values()]
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize("verbosity", [[], ["-vv"]])
def test_a_bug_prints_no_values_of_variables(
    verbosity: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def breaks(*_arguments: object, **_named: object) -> None:
        secret = SECRET
        raise RuntimeError("broken" if secret else "")

    monkeypatch.setattr("sstpsocks.app.config.build", breaks)
    monkeypatch.setenv("SSTPSOCKS_PASSWORD", SECRET)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cli.main(["vpn.test", "--user", "u", *verbosity]) != 0
    said = capsys.readouterr().err
    assert "unexpected error: RuntimeError: broken" in said
    assert ("Traceback" in said) == bool(verbosity)
    assert SECRET not in said


def test_a_password_on_the_command_line_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["vpn.test", "--user", "u", "--password", SECRET]) == 2
    assert cli.main([f"sstp://u:{SECRET}@vpn.test"]) == 2
    assert cli.main(["vpn.test", "--proxy", f"http://u:{SECRET}@p:1"]) == 2
    assert SECRET not in capsys.readouterr().err


async def started(server_flags: list[str], folder: Path, *more: str, **variables: str) -> trio.Process:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "sstpsocks", *server_flags, *more],
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with trio.fail_after(30):
        while not (folder / "ready.json").exists():
            assert process.poll() is None
            await trio.sleep(0.02)
    return process


async def end(process: trio.Process) -> None:
    process.terminate()
    await process.wait()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
async def test_files_that_are_written_belong_to_their_owner_alone(tmp_path: Path) -> None:
    """Also with a umask that would let everybody in, and over a file that was open to all."""
    written = ["ready.json", "x.pcapng", "keys", "log"]
    (tmp_path / "x.pcapng").touch(mode=0o666)
    before = os.umask(0)
    try:
        async with site(tmp_path) as server:
            process = await started(
                server.flags,
                tmp_path,
                *("--pcap", str(tmp_path / "x.pcapng"), "--tls-keylog", str(tmp_path / "keys")),
                *("--log-file", str(tmp_path / "log"), "--listen", f"unix:{tmp_path}/socket"),
            )
            try:
                for name in written:
                    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
                assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o600
            finally:
                await end(process)
    finally:
        os.umask(before)


@LINUX
def test_the_memory_is_kept_to_the_process() -> None:
    """In a process of the same user: dumpable as any program before, not dumpable after."""
    script = (
        "import ctypes; from sstpsocks.app.hardening import protect_memory; libc = ctypes.CDLL(None); "
        "before = libc.prctl(3, 0, 0, 0, 0); protect_memory(); print(before, libc.prctl(3, 0, 0, 0, 0))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert result.stdout.split() == [b"1", b"0"]


@LINUX
async def test_a_running_connect_is_not_open_to_other_programs_of_its_user(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        process = await started(server.flags, tmp_path)
        try:
            # The files of a process that keeps its memory to itself are root's, whoever's it is.
            reader = "import os, sys; os.setuid(65534); open(f'/proc/{sys.argv[1]}/environ').read()"
            if sys.platform != "win32" and os.geteuid() != 0:
                reader = reader.replace("os.setuid(65534); ", "")
            result = await trio.run_process(
                [sys.executable, "-c", reader, str(process.pid)], capture_stderr=True, check=False
            )
            assert b"PermissionError" in result.stderr
        finally:
            await end(process)


@LINUX
async def test_the_password_is_not_in_the_list_of_processes(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        process = await started(server.flags, tmp_path)
        try:
            line = await trio.Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert PASSWORD.encode() not in line
        finally:
            await end(process)
