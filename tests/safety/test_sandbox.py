"""--sandbox: what the program can still do inside, and what it cannot, tried in processes that go in for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.app.landlock import READ, WRITE, landlock_version
from sstpsocks.app.sandbox import enter_sandbox, rules_for
from sstpsocks.errors import ConfigError
from tests.e2e.test_command import PASSWORD, ROOT, environment, site
from tests.helpers.socks_client import SocksClient

needs_landlock = pytest.mark.skipif(
    landlock_version() < 4 and "CI" not in os.environ, reason="this kernel has no Landlock with ports"
)


def configuration(*flags: str, **variables: str) -> Configuration:
    environ = {"SSTPSOCKS_PASSWORD": "x", "XDG_CONFIG_HOME": "/nonexistent"} | variables
    return load_configuration(parse_connect(["vpn.test", "--user", "u", *flags], explicit=True), environ)


# What it plans


def test_it_reads_and_writes_what_the_configuration_names_and_no_more(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    for name in ("ca", "secret"):
        (folder / name).mkdir()
    (folder / "ca" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    rules = rules_for(
        configuration(
            *("--ca-file", f"{folder}/ca/ca.pem", "--pcap", f"{folder}/out/x.pcapng", "--ready-file", f"{folder}/r/x"),
            *("--listen", f"unix:{folder}/run/s", "--listen", "1081", "--dns-listen", "5353"),
            *("-L", "8080:web:80", "-R", "22:localhost:2222"),
            *("--status", "8020", "--status", f"unix:{folder}/status/s"),
        )
    )
    named = {path: access for path, access in rules.paths if path.startswith(str(folder))}
    assert named == {f"{folder}/ca": READ, f"{folder}/out": WRITE, f"{folder}/r": WRITE} | {
        f"{folder}/run": WRITE,
        f"{folder}/status": WRITE,
    }
    assert rules.bind == {0, 1081, 5353, 8020, 8080}
    assert rules.connect == frozenset((53, 443, 2222))


def test_a_file_in_a_wide_folder_is_granted_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path.resolve()
    monkeypatch.setenv("HOME", str(home))
    (home / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    paths = dict(rules_for(configuration("--ca-file", f"{home}/ca.pem")).paths)
    assert paths[f"{home}/ca.pem"] == READ
    assert str(home) not in paths
    assert not {"/", "/home", "/root", "/etc", "/tmp", "/var"} & set(paths)


def test_rules_that_lead_past_the_tunnel_may_connect_to_any_port() -> None:
    assert rules_for(configuration("--rule", "10.0.0.0/8 -> direct")).connect is None
    assert rules_for(configuration("--proxy", "http://127.0.0.1:3128")).connect == frozenset((53, 443, 3128))


def test_programs_that_know_the_password_do_not_go_with_it() -> None:
    source = ("--password-command", "pass show vpn")
    with pytest.raises(ConfigError, match="no program can be started"):
        enter_sandbox(configuration("--sandbox", "try", *source, SSTPSOCKS_PASSWORD=""), lambda _text: None)


def test_without_landlock_it_is_refused_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sstpsocks.app.landlock.landlock_version", lambda: 0)
    with pytest.raises(
        ConfigError, match="has no Landlock" if sys.platform == "linux" else "only Linux has Landlock"
    ) as caught:
        enter_sandbox(configuration("--sandbox", "on"), lambda _text: None)
    assert "--sandbox try" in caught.value.hint
    said: list[str] = []
    enter_sandbox(configuration("--sandbox", "try"), said.append)
    assert len(said) == 1
    assert said[0].startswith("running without a sandbox: ")
    enter_sandbox(configuration("--sandbox", "off"), said.append)
    assert len(said) == 1


# What holds inside

INSIDE = """
import ctypes, json, os, socket, sys
from pathlib import Path
from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import load_configuration
from sstpsocks.app.sandbox import enter_sandbox

folder, listening, other = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
flags = ["127.0.0.1:" + str(listening), "--user", "u", "--sandbox", "on", "--listen", "1", "--ca-file",
         str(folder / "config" / "ca.pem"), "--ready-file", str(folder / "run" / "ready")]
told = []
enter_sandbox(load_configuration(parse_connect(flags, explicit=True)), told.append)
assert not told

def tried(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return "done"

def replace():
    (folder / "run" / "new").write_text("x")
    os.replace(folder / "run" / "new", folder / "run" / "ready")

def connect(port):
    with socket.socket() as sock:
        sock.connect(("127.0.0.1", port))

def bind(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))

def abstract():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\\0sstpsocks-test-" + str(os.getppid()))

def lazily():
    import xml.dom.minidom, dns.tokenizer

print(json.dumps({
    "read a named file": tried(lambda: (folder / "config" / "ca.pem").read_text()),
    "read it after it was replaced": tried(lambda: (folder / "config" / "newer.pem").read_text()),
    "replace a written file": tried(replace),
    "load a module": tried(lazily),
    "resolve a name": tried(lambda: socket.getaddrinfo("localhost", 1)),
    "connect to the server": tried(lambda: connect(listening)),
    "take a free port": tried(lambda: bind(0)),
    "read another file": tried(lambda: (folder / "private").read_text()),
    "list the home folder": tried(lambda: os.listdir(Path.home())),
    "read the users' passwords": tried(lambda: open("/etc/shadow").read()),
    "write beside a read file": tried(lambda: (folder / "config" / "x").write_text("x")),
    "write anywhere": tried(lambda: (folder / "x").write_text("x")),
    "delete a file": tried(lambda: (folder / "private").unlink()),
    "start a program": tried(lambda: os.execv("/bin/true", ["true"])),
    "start a shell": tried(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {})),
    "connect to another port": tried(lambda: connect(other)),
    "listen at another port": tried(lambda: bind(other + 1 if other < 65535 else other - 1)),
    "signal its parent": tried(lambda: os.kill(os.getppid(), 0)),
    "reach an abstract socket": tried(abstract),
    "gain rights": str(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)),
}))
"""

ALLOWED = {
    "read a named file", "read it after it was replaced", "replace a written file", "load a module", "resolve a name",
    "connect to the server", "take a free port",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "config" / "newer.pem").write_text("x")
    (tmp_path / "private").write_text("secret")
    return tmp_path


@needs_landlock
async def test_inside_everything_else_is_forbidden(folder: Path) -> None:
    async with trio.open_nursery() as nursery:
        listeners = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
        for listener in listeners:
            nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
        ports = [str(listener.socket.getsockname()[1]) for listener in listeners]
        with trio.socket.socket(trio.socket.AF_UNIX) as abstract, trio.fail_after(30):
            await abstract.bind(f"\0sstpsocks-test-{os.getpid()}")
            abstract.listen()
            result = await trio.run_process(
                [sys.executable, "-c", INSIDE, str(folder), *ports],
                cwd=ROOT,
                env=environment(PYTHONPATH=str(ROOT)),
                capture_stdout=True,
            )
        nursery.cancel_scope.cancel()
    outcome = json.loads(result.stdout)
    assert outcome.pop("gain rights") == "1"  # PR_GET_NO_NEW_PRIVS
    newest = {"signal its parent", "reach an abstract socket"} if landlock_version() < 6 else set()
    assert {what for what, how in outcome.items() if how == "done"} - newest == ALLOWED
    for what in outcome.keys() - ALLOWED - newest:
        assert outcome[what] in ("Permission denied", "Operation not permitted"), (what, outcome[what])
    assert (folder / "private").read_text() == "secret"


@needs_landlock
async def test_the_command_works_inside(tmp_path: Path) -> None:
    """It connects, serves, writes its files, reconnects to what it reads again, and loads its configuration anew."""
    (tmp_path / "c").mkdir()
    config = tmp_path / "c" / "config.toml"
    password = tmp_path / "c" / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    async with site(tmp_path) as server:
        config.write_text(f'password_file = "password"\nsandbox = "on"\npcap = "{tmp_path}/x.pcapng"\nrule = []\n')
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "sstpsocks", "--config", str(config), *server.flags, "--log-format", "text"],
            cwd=ROOT,
            env=environment(SSTPSOCKS_PASSWORD=""),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        said = b""
        assert process.stderr is not None

        async def read_until(word: bytes) -> None:
            nonlocal said
            assert process.stderr is not None
            with trio.fail_after(20):
                while word not in said:
                    more = await process.stderr.receive_some()
                    assert more, said
                    said += more

        try:
            ready = tmp_path / "ready.json"
            with trio.fail_after(30):
                while not ready.exists():
                    assert process.poll() is None, said
                    await trio.sleep(0.02)
            assert "NoNewPrivs:\t1" in await trio.Path(f"/proc/{process.pid}/status").read_text()
            port = int(json.loads(ready.read_text())["listen"][0].rpartition(":")[2])
            async with await SocksClient.open(port) as client:
                assert await client.connect("www.intranet.demo") == 0
            config.with_suffix(".new").write_text(config.read_text().replace("[]", '["www.intranet.demo -> refuse"]'))
            config.with_suffix(".new").replace(config)
            process.send_signal(signal.Signals["SIGHUP"])
            await read_until(b"configuration loaded again: rules")
            async with await SocksClient.open(port) as client:
                assert await client.connect("www.intranet.demo") == 2
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
        assert process.returncode == 0, said
        assert (tmp_path / "x.pcapng").stat().st_size > 1000
        assert not ready.exists()
