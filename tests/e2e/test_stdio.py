"""``-W`` as ssh's ProxyCommand meets it: the command against the demo's server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.e2e.test_command import ROOT, environment, site
from tests.e2e.test_run_several import Kept
from tests.e2e.test_two_tunnels import CONFIG, opened_in
from tests.helpers.demo_site import SERVER_NAME, demo_site

GET = b"GET / HTTP/1.1\r\nHost: www.intranet.demo\r\nConnection: close\r\n\r\n"


async def connect(flags: list[str], target: str, request: bytes) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(30):
        return await trio.run_process(
            [sys.executable, "-m", "sstpsocks", *flags, "-W", target],
            stdin=request,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=environment(),
        )


async def test_only_the_connection_is_on_standard_output(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        done = await connect(server.flags, "www.intranet.demo:80", GET)
    assert done.stdout.startswith(b"HTTP/1.1 200")
    assert done.stdout.rstrip().endswith(b"</html>")
    assert done.stderr == b""
    assert done.returncode == 0


async def test_a_port_where_nobody_listens_is_one_sentence_and_no_success(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        done = await connect(server.flags, "www.intranet.demo:81", b"")
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert b"refused" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("target", ["www.intranet.demo", "www.intranet.demo:0", "1:2:3"])
async def test_a_mistake_is_told_before_anything_is_dialled(target: str) -> None:
    done = await connect(["vpn.invalid"], target, b"")
    assert done.returncode == 2
    assert done.stderr.startswith(b"sstpsocks: -W: ")


@pytest.mark.parametrize(
    ("target", "opened"),
    [
        ("www.intranet.demo:80", (1, 0)),
        ("two.intranet.demo:80", (0, 1)),
        # Which network the name is in takes a look-up to tell: both tunnels come up.
        ("maybe.intranet.demo:80", (0, 1)),
    ],
)
async def test_of_several_tunnels_the_rules_choose(tmp_path: Path, target: str, opened: tuple[int, int]) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    config = tmp_path / "config.toml"
    rules = '["www.intranet.demo -> one", "two.intranet.demo -> two", "10.99.0.0/16 port 80 -> two"]'
    async with demo_site(tmp_path / "one") as one, demo_site(tmp_path / "two") as two:
        one.server._drivers, two.server._drivers = Kept(), Kept()
        config.write_text(CONFIG.format(name=SERVER_NAME, rules=rules, one=one, two=two, more=""))
        config.chmod(0o600)
        done = await connect(["--config", str(config)], target, GET)
        assert done.stdout.startswith(b"HTTP/1.1 200"), done.stderr
        assert done.stdout.rstrip().endswith(b"</html>")
        assert (done.returncode, done.stderr) == (0, b"")
        assert (opened_in(one), opened_in(two)) == opened
        assert len(one.server._drivers) + len(two.server._drivers) == (2 if "maybe" in target else 1)


async def test_what_a_rule_refuses_is_told_before_anything_is_dialled() -> None:
    done = await connect(["sstp://alice@vpn.invalid", "--rule", "all port 25 -> refuse"], "mail.test:25", b"")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b'sstpsocks: mail.test is refused by the rule "all port 25 -> refuse"\n'
