"""``sstpsocks run`` with several tunnels and rules, as connect has them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from sstpsocks.demo.intranet import PAGE
from sstpsocks.tunnel.driver import Driver
from tests.e2e.test_run import run
from tests.e2e.test_two_tunnels import CONFIG, opened_in
from tests.helpers.demo_site import SERVER_NAME, demo_site

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals as on Unix")


class Kept(set[Driver]):
    """The connections that a server had, also those that have ended."""

    def discard(self, _driver: object, /) -> None:
        """Keep it."""


FETCH = """\
import sys, urllib.error, urllib.request
for name in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(f"http://{name}/", timeout=20).read().decode())
    except urllib.error.HTTPError as error:
        print(name, error.code)
"""


async def test_the_rules_choose_the_tunnel_of_each_connection_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    config = tmp_path / "config.toml"
    rules = ["two.intranet.demo -> two", "x.ads.intranet.demo -> refuse"]
    async with demo_site(tmp_path / "one") as one, demo_site(tmp_path / "two") as two:
        one.server._drivers, two.server._drivers = Kept(), Kept()
        config.write_text(CONFIG.format(name=SERVER_NAME, rules=json.dumps(rules), one=one, two=two, more=""))
        config.chmod(0o600)
        words = [sys.executable, "-m", "sstpsocks", "run", "--config", str(config), "--"]
        names = ["www.intranet.demo", "two.intranet.demo", "two.intranet.demo", "x.ads.intranet.demo"]
        ended = await run([*words, sys.executable, "-c", FETCH, *names])
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count(PAGE.strip()) == 3
        assert ended.stdout.endswith(b"x.ads.intranet.demo 403\n")
        assert (opened_in(one), opened_in(two)) == (1, 2)


async def test_profiles_without_a_server_that_answers_leave_the_command_to_the_others(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    config = tmp_path / "config.toml"
    async with demo_site(tmp_path / "one") as one, demo_site(tmp_path / "two") as two:
        await two.stop()
        one.server._drivers, two.server._drivers = Kept(), Kept()
        config.write_text(
            CONFIG.format(name=SERVER_NAME, rules='["two.intranet.demo -> two"]', one=one, two=two, more="")
        )
        config.chmod(0o600)
        words = [sys.executable, "-m", "sstpsocks", "run", "--config", str(config), "--"]
        ended = await run([*words, sys.executable, "-c", FETCH, "www.intranet.demo", "two.intranet.demo"])
        assert ended.returncode == 0, ended.stderr
        assert PAGE.strip() in ended.stdout
        assert b'the tunnel "two" is gone for good' in ended.stderr
        assert opened_in(one) == 1, "what the rules send into a tunnel that is not there takes no other way"
