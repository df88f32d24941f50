"""``sstpsocks run -- COMMAND`` as its users run it, against the demo's server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import PAGE
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site
from tests.helpers.sandbox import skip_unless_rights_can_be_taken, without_rights

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals as on Unix")

ROOT = Path(__file__).resolve().parents[2]
FETCH = "import urllib.request as r; print(r.urlopen('http://intranet.demo/', timeout=20).read().decode())"


def run_words(demo: DemoSite, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    flags = ("--ca-file", str(demo.ca_file), "--server-name", SERVER_NAME, *options)
    return [sys.executable, "-m", "sstpsocks", "run", f"sstp://alice@127.0.0.1:{demo.port}", *flags, "--", *command]


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    return {**inherited, "XDG_CONFIG_HOME": "/nonexistent", "SSTPSOCKS_PASSWORD": PASSWORD}


async def run(words: list[str]) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(40):
        return await trio.run_process(
            words, cwd=ROOT, env=environment(), capture_stdout=True, capture_stderr=True, check=False
        )


async def test_the_command_reaches_the_inner_network_by_its_environment(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, sys.executable, "-c", FETCH))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == PAGE.strip()


async def test_it_needs_no_rights_and_no_file_that_can_be_written(world_readable: Path) -> None:
    skip_unless_rights_can_be_taken()
    script = "import os; print(os.geteuid(), *[l for l in open('/proc/self/status') if l.startswith('CapEff')])"
    async with demo_site(world_readable) as demo:
        demo.ca_file.chmod(0o644)
        ended = await run(without_rights(run_words(demo, sys.executable, "-c", f"{script}; {FETCH}")))
    assert ended.returncode == 0, ended.stderr
    who, page = ended.stdout.split(b"\n", 1)
    assert who == b"65534 CapEff:\t0000000000000000"
    assert page.strip() == PAGE.strip()


async def test_pytest_runs_there_too(world_readable: Path) -> None:
    """What a CI job in a container does: an unprivileged user, no capabilities, a read-only file system."""
    skip_unless_rights_can_be_taken()
    suite = world_readable / "test_intranet.py"
    suite.write_text(
        f"def test_the_page_is_there():\n    import urllib.request as r\n"
        f"    assert r.urlopen('http://intranet.demo/', timeout=20).read().strip() == {PAGE.strip()!r}\n"
    )
    suite.chmod(0o644)
    # Where nothing can be written, pytest must not keep what tests print in a file.
    options = ("-q", "-p", "no:cacheprovider", "--capture=sys", "--rootdir", str(world_readable))
    async with demo_site(world_readable) as demo:
        demo.ca_file.chmod(0o644)
        ended = await run(without_rights(run_words(demo, sys.executable, "-m", "pytest", *options, str(suite))))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert b"1 passed" in ended.stdout


async def test_quiet_says_nothing(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, "true", options=("-q",)))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)])
async def test_the_exit_code_is_the_commands(tmp_path: Path, script: str, code: int) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, "sh", "-c", script))
    assert ended.returncode == code, ended.stderr


async def test_a_command_that_is_not_there_is_127_and_nobody_is_dialled(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, "no-such-command-anywhere"))
    assert ended.returncode == 127
    assert ended.stderr == b"sstpsocks: no-such-command-anywhere: command not found\n"


async def test_a_file_that_cannot_be_run_is_126(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, str(tmp_path / "text")))
    assert ended.returncode == 126


async def test_without_a_command_it_says_how_to_write_one() -> None:
    ended = await run([sys.executable, "-m", "sstpsocks", "run", "vpn.example.org"])
    assert ended.returncode == 2
    assert b"run: there is no command" in ended.stderr


async def test_neither_our_password_nor_an_open_port_is_handed_out(tmp_path: Path) -> None:
    script = (
        "import os, socket; assert 'SSTPSOCKS_PASSWORD' not in os.environ;"
        "s = socket.create_connection(('127.0.0.1', int(os.environ['SSTPSOCKS_RUN_PORT'])), 10);"
        "s.sendall(bytes([5, 1, 0])); print(s.recv(2).hex())"
    )
    async with demo_site(tmp_path) as demo:
        ended = await run(run_words(demo, sys.executable, "-c", script))
    assert ended.stdout.strip() == b"05ff", ended.stderr  # RFC 1928: no acceptable methods


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
async def test_a_signal_sent_to_us_reaches_the_command(tmp_path: Path, name: str) -> None:
    number = signal.Signals[name]
    script = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(42))\n"
        "print('begun\\n', end='', flush=True)\n"
        "time.sleep(60)"
    )
    async with demo_site(tmp_path) as demo:
        with trio.fail_after(40):
            process = await trio.lowlevel.open_process(
                run_words(demo, sys.executable, "-c", script),
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"begun\n"
            process.send_signal(number)
            assert await process.wait() == 42
            await process.stdout.aclose()


async def test_the_command_is_ended_when_the_tunnel_is_lost_for_good(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        with trio.fail_after(40):
            process = await trio.lowlevel.open_process(
                run_words(demo, "sh", "-c", "echo $$; exec sleep 60", options=("--reconnect", "never")),
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            command = int(await process.stdout.receive_some())
            await demo.stop()
            said = b"".join([piece async for piece in process.stderr])
            assert await process.wait() == 7, said
            await process.stdout.aclose()
            await process.stderr.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)


if sys.platform != "win32":
    import pty

    def on_a_terminal(words: list[str]) -> tuple[int, int]:
        """Start it as the leader of a session of its own; return its process and the terminal's other side."""
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(ROOT)
            os.execve(words[0], words, environment())  # noqa: S606
        return process, terminal


def read_until(terminal: int, mark: bytes) -> bytes:
    said = b""
    while mark not in said:
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the other side is closed
            break
    return said


if sys.platform != "win32":

    @pytest.mark.timeout(60)
    async def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path) -> None:
        script = (
            "import signal, time\n"
            "count = 0\n"
            "def heard(*_):\n"
            "    global count\n"
            "    count += 1\n"
            "signal.signal(signal.SIGINT, heard)\n"
            "print('begun\\n', end='', flush=True)\n"
            "end = time.monotonic() + 1.5\n"
            "while time.monotonic() < end: time.sleep(0.05)\n"
            "print('heard', count)"
        )
        async with demo_site(tmp_path) as demo:
            process, terminal = on_a_terminal(run_words(demo, sys.executable, "-c", script))
            await trio.to_thread.run_sync(read_until, terminal, b"begun")
            os.write(terminal, b"\x03")
            said = await trio.to_thread.run_sync(read_until, terminal, b"heard 1")
            _, status = await trio.to_thread.run_sync(os.waitpid, process, 0)
            os.close(terminal)
        assert b"heard 1" in said
        assert os.waitstatus_to_exitcode(status) == 0
