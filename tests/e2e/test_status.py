"""The status port of the command, as curl, Prometheus and an orchestrator use it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.test_command import environment
from tests.e2e.test_two_tunnels import Running, two_tunnels

RULES = ["two.intranet.demo -> two"]


async def get(running: Running, path: str, *headers: str) -> tuple[int, str, bytes]:
    """Status, head and body of an answer."""
    listen = running.ready["status_listen"]
    assert isinstance(listen, list)
    host, _, port = listen[0].rpartition(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {listen[0]}", "Connection: close", *headers, "", ""]
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all("\r\n".join(lines).encode())
        answer = b""
        async for data in stream:
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


async def snapshot(running: Running) -> dict[str, Any]:
    document = json.loads((await get(running, "/status.json"))[2])
    assert isinstance(document, dict)
    return document


async def test_it_tells_of_both_tunnels_ports_and_what_passed(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path, rules=RULES, options=("--status", "0")) as running:
        await running.page("www.intranet.demo")
        await trio.sleep(1.1)
        document = await snapshot(running)
        one, two = document["tunnels"]
        assert (one["name"], one["state"], one["up"]) == ("one", "up", True)
        assert (two["name"], two["state"], two["up"]) == ("two", "up", True)
        assert one["server"] == f"127.0.0.1:{running.one.port}"
        assert one["addresses"] == ["10.99.0.10"]
        assert one["tls"] == "TLSv1.3"
        assert one["octets_received"] > 500
        assert one["flows_opened"] == 1
        assert (one["dns"]["misses"], one["dns"]["names"][0]["name"]) == (1, "www.intranet.demo")
        assert two["flows_opened"] == 0
        ports = {(port["kind"], port["tunnel"]): port for port in document["ports"]}
        assert ports["proxy", ""]["listen"] == [f"127.0.0.1:{running.port}"]
        assert ports["proxy", ""]["accepted"] == 1
        assert ports["proxy", "two"]["accepted"] == 0
        assert ports["dns", ""]["listen"] == running.ready["dns_listen"]
        assert any("two: tunnel to" in event["text"] for event in document["events"])
        assert document["healthy"]
        assert "correct horse" not in json.dumps(document), "the password is nowhere"


async def test_metrics_are_what_promtool_accepts(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    async with two_tunnels(tmp_path, rules=RULES, options=("--status", "0")) as running:
        await running.page("www.intranet.demo")
        status, head, metrics = await get(running, "/metrics")
        assert status == 200
        assert "text/plain; version=0.0.4" in head
        done = await trio.run_process(
            [promtool, "check", "metrics"], stdin=metrics, capture_stdout=True, capture_stderr=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
        text = metrics.decode()
        assert 'sstpsocks_dial_seconds_count{tunnel="one"} 1\n' in text
        assert 'sstpsocks_tunnel_connect_seconds_count{tunnel="two"} 1\n' in text
        assert "intranet" not in text, "no hosts"


async def test_health_follows_the_tunnels_but_not_each_twitch(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path, rules=RULES, options=("--status", "0"), more='reconnect = "auto"\n') as running:
        with trio.fail_after(5):
            while (await get(running, "/readyz"))[0] != 200:  # noqa: ASYNC110 - another process
                await trio.sleep(0.1)
        await running.two.stop()
        await trio.sleep(1.5)
        assert (await snapshot(running))["tunnels"][1]["state"] == "reconnecting"
        assert (await get(running, "/readyz"))[0] == 200
        with trio.fail_after(10):
            while (await get(running, "/readyz"))[0] != 503:  # noqa: ASYNC110 - another process
                await trio.sleep(0.2)
        assert (await get(running, "/healthz"))[::2] == (200, b"ok\n")


async def test_the_event_stream_brings_one_snapshot_after_the_other(tmp_path: Path) -> None:
    async with two_tunnels(tmp_path, rules=RULES, options=("--status", "0")) as running:
        listen = running.ready["status_listen"]
        assert isinstance(listen, list)
        curl = shutil.which("curl")
        if curl is None:
            pytest.skip("curl is not installed")
        done = await trio.run_process(
            [curl, "-sN", "--max-time", "4.5", f"http://{listen[0]}/events"], capture_stdout=True, check=False
        )
        assert done.returncode == 28, "the stream goes on until curl has had enough"
        events = [line for line in done.stdout.decode().splitlines() if line.startswith("data: ")]
        assert 3 <= len(events) <= 6
        times = [json.loads(line.removeprefix("data: "))["time"] for line in events]
        assert times == sorted(set(times))
        assert json.loads(events[0].removeprefix("data: "))["tunnels"][0]["history"] is None


async def test_a_password_guards_it_and_other_names_are_refused(tmp_path: Path) -> None:
    password = tmp_path / "status-password"
    password.write_text("open sesame\n")
    password.chmod(0o600)
    options = ("--status", "0", "--status-user", "watcher", "--status-password-file", str(password))
    async with two_tunnels(tmp_path, rules=RULES, options=options) as running:
        assert (await get(running, "/"))[0] == 401
        assert (await get(running, "/healthz"))[0] == 200
        given = base64.b64encode(b"watcher:open sesame").decode()
        status, head, body = await get(running, "/", f"Authorization: Basic {given}")
        assert status == 200
        assert "Content-Security-Policy: default-src 'none'; script-src 'sha256-" in head
        assert body.startswith(b"<!doctype html>")
        assert (await get(running, "/", "Host: evil.example"))[0] in (400, 421)


def test_other_machines_are_not_let_in_without_a_word() -> None:
    command = [sys.executable, "-m", "sstpsocks", "connect", "vpn.test", "--user", "x", "--status", "0.0.0.0:0"]
    done = subprocess.run(
        command, capture_output=True, env=environment(SSTPSOCKS_PASSWORD="x"), timeout=30, check=False
    )
    assert done.returncode == 2
    assert "would show other machines what passes through the tunnel" in done.stderr.decode()
    assert "--status-user" in done.stderr.decode()
