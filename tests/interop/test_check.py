"""``sstpsocks check`` against a real server: what it says must fit to what connect does."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


def check(client: Client, *more: str) -> tuple[int, dict[str, Any], str]:
    """Run it with the client's own arguments; return exit code, steps by name, and the whole output."""
    done = subprocess.run(
        [*client.command, "check", *client.arguments, "--json", *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert "Traceback" not in done.stderr
    steps = {step["name"]: step for step in json.loads(done.stdout)["steps"]} if done.stdout else {}
    return done.returncode, steps, done.stdout + done.stderr


def test_what_it_offers_is_found_without_a_log_in(client: Client, server: Server) -> None:
    code, steps, output = check(client, "--no-login")
    assert code == 0, output
    offers = steps["SSTP and PPP"]["facts"]
    assert offers["authentication, in the order asked for"], output
    assert offers["hashes"].startswith("0x0"), output
    assert steps["TLS"]["facts"]["chain"], output
    assert steps["authentication"]["verdict"] == "skipped"


def test_with_a_user_it_logs_in_and_hangs_up(client: Client, server: Server) -> None:
    code, steps, output = check(client, "--auth", server.auth.split(",")[0])
    assert code == 0, output
    assert steps["network"]["facts"]["addresses"], output
    assert steps["network"]["facts"]["crypto binding"].startswith("accepted")
    assert server.password not in output
