"""``sstpsocks status`` against a program that runs, as a script uses it."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.e2e.test_command import run, site
from tests.e2e.test_watching import running, use


async def test_a_script_asks_until_the_tunnel_is_up_and_after_its_end(tmp_path: Path) -> None:
    ready = str(tmp_path / "ready.json")
    before = await run(["status", "--ready-file", ready])
    assert before.returncode == 3
    assert b"there is no ready file" in before.stderr
    async with site(tmp_path) as where:
        async with running(where, "--status", "0"):
            await use(where)
            with trio.fail_after(20):
                while (text := await run(["status"], SSTPSOCKS_READY_FILE=ready)).returncode == 1:
                    pass  # as /readyz, which looks once a second
            assert text.returncode == 0, text
            assert b": ready" in text.stdout
            document = json.loads((await run(["status", "--ready-file", ready, "--json"])).stdout)
            assert document["tunnels"][0]["up"] is True
            assert document["tunnels"][0]["flows_opened"] >= 3
    after = await run(["status", "--ready-file", ready])
    assert after.returncode == 3
