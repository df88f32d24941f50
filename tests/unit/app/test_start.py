"""The first moments of the program: what is loaded when, and signals that come in the middle of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from sstpsocks.app import start
from sstpsocks.app.config import Configuration, ListenSettings, OutputSettings
from sstpsocks.app.credentials import FixedPassword, PasswordSource, PromptPassword
from sstpsocks.app.engine import Engine
from sstpsocks.app.messages import LogDisplay
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.proxy.routing.language import parse_rule
from sstpsocks.tunnel.settings import TrustSettings, TunnelSettings

ROOT = Path(__file__).resolve().parents[3]

# Each takes a good part of a round trip to load, and none is needed to reach the server by TCP.
LATER = ("OpenSSL", "cryptography", "dns", "h11", "service_identity", "dpkt")
LATER_OF_OURS = ("link", "sstp", "ppp.peer", "net.stack", "proxy", "library", "tunnel.session", "tunnel.tls")


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SSTPSOCKS_PASSWORD": "x", "XDG_CONFIG_HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_the_server_is_called_before_the_heavy_modules_are_loaded() -> None:
    script = (
        "import json, os, sys\n"
        "import sstpsocks.tunnel.head_start as module\n"
        "async def tell(settings, observe):\n"
        "    print(json.dumps(sorted(sys.modules)), flush=True)\n"
        "    os._exit(0)\n"
        "module.connect_transport = tell\n"
        "from sstpsocks.__main__ import main\n"
        "main(['vpn.example.com', '--user', 'alice', '--listen', '0'])\n"
    )
    result = run_script(script)
    assert result.stderr == ""
    loaded = set(json.loads(result.stdout))
    assert loaded & {*LATER, *(f"sstpsocks.{name}" for name in LATER_OF_OURS)} == set()
    assert "trio" in loaded


def test_eap_is_loaded_by_those_only_who_speak_it() -> None:
    script = "import json, sys, sstpsocks.app.run; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(run_script(script).stdout)
    assert "sstpsocks.ppp.authenticators" in loaded
    assert "sstpsocks.ppp.eap.methods" not in loaded


# What is being loaded when the signal comes: the command line's grammar, the event loop, TLS.
@pytest.mark.parametrize("moment", ["sstpsocks.app.cli.main", "trio", "OpenSSL"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.skipif(sys.platform == "win32", reason="os.kill() ends a process there")
def test_a_signal_while_modules_are_loaded_ends_the_program_as_asked(moment: str, name: str) -> None:
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have us begin with it ignored\n"
        "class Moment:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == sys.argv[1]:\n"
        "            os.kill(os.getpid(), getattr(signal, sys.argv[2]))\n"
        "            time.sleep(20)\n"
        "sys.meta_path.insert(0, Moment())\n"
        "from sstpsocks.__main__ import main\n"
        "sys.exit(main([*'192.0.2.1 --user alice --connect-to 127.0.0.1:1 --listen 0 -q'.split()]))\n"
    )
    result = run_script(script, moment, name)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_signal_that_is_ignored_stays_so() -> None:
    script = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from sstpsocks.app.entry import end_on_request\n"
        "end_on_request()\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    assert run_script(script).stdout == "True False\n"


def configuration(password: PasswordSource) -> Configuration:
    return Configuration(
        tunnel=TunnelSettings(
            host="127.0.0.1",
            trust=TrustSettings(server_name="vpn.example.com"),
            credentials=password,
        ),
        password=password,
        listen=ListenSettings(addresses=(TcpAddress("127.0.0.1", 0),)),
        output=OutputSettings(),
    )


@pytest.mark.parametrize(("password", "early"), [(FixedPassword("x", "test"), True), (PromptPassword(), False)])
async def test_nobody_is_called_while_a_person_types(
    password: PasswordSource, early: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server would only wait, and some give a client no more than a few seconds."""
    called = False
    engines: list[Engine | None] = []

    async def connect_transport(_settings: object, _observe: object) -> trio.SocketStream:
        nonlocal called
        called = True
        return await trio.sleep_forever()

    async def run_connect(_configuration: object, _display: object, engine: Engine | None = None) -> int:
        engines.append(engine)
        return 0

    monkeypatch.setattr("sstpsocks.tunnel.head_start.connect_transport", connect_transport)
    monkeypatch.setattr("sstpsocks.app.run.run_connect", run_connect)
    assert await start.start_connect(configuration(password), LogDisplay(sys.stderr)) == 0
    assert called is early
    assert (engines[0] is not None) is early


async def test_rules_keep_the_head_start_and_several_tunnels_are_dialled_each_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = configuration(FixedPassword("x", "test"))
    many = replace(one, name="a", others=(replace(one.tunnels[0], name="b"),))
    ruled = replace(one, rules=(parse_rule("all port 25 -> refuse"),))
    given: list[tuple[Configuration, Engine | None]] = []

    async def connect_transport(_settings: object, _observe: object) -> trio.SocketStream:
        return await trio.sleep_forever()

    async def run_connect(configuration: Configuration, _display: object, engine: Engine | None = None) -> int:
        given.append((configuration, engine))
        return 0

    monkeypatch.setattr("sstpsocks.tunnel.head_start.connect_transport", connect_transport)
    monkeypatch.setattr("sstpsocks.app.run.run_connect", run_connect)
    for wanted in (many, ruled):
        assert await start.start_connect(wanted, LogDisplay(io.StringIO())) == 0
    assert [(wanted, engine is not None) for wanted, engine in given] == [(many, False), (ruled, True)]
