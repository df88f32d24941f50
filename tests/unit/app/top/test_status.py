"""``sstpsocks status``: where it asks, what it prints, and its exit code."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.app.cli.main import main
from sstpsocks.app.status.snapshot import Snapshot, to_json
from sstpsocks.app.top.client import NotRunning, Place, fetch_snapshot
from sstpsocks.app.top.decode import decode
from sstpsocks.app.top.figures import chart, duration, milliseconds, octets, rate
from sstpsocks.app.top.find import find_place
from sstpsocks.app.top.report import text_of
from sstpsocks.errors import ConfigError
from tests.helpers.snapshots import flow, snapshot, status_server, tunnel

AF_UNIX = getattr(socket, "AF_UNIX", None)
NOWHERE = {"XDG_CONFIG_HOME": "/nonexistent", "APPDATA": "/nonexistent"}


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SSTPSOCKS_")]:
        monkeypatch.delenv(name)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)


# The command


def test_a_tunnel_that_is_up_is_code_0_and_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with status_server(snapshot(tunnel(flows=(flow(1),)))) as server:
        assert main(["status", "--status", str(server.port)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "sstpsocks 0.1.0, running for 02:00:00: ready"
    assert "office: up for 01:01:01, server office.example.org:443" in text
    assert "received 123 MB (10.0 Mbit/s), sent 4.6 kB (1.0 kbit/s)" in text
    assert "proxy port 127.0.0.1:1080: 3 of 1024 connections, 40 so far" in text


def test_a_tunnel_that_is_down_is_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with status_server(snapshot(tunnel(up=False))) as server:
        assert main(["status", "--status", f"127.0.0.1:{server.port}"]) == 1
    text = capsys.readouterr().out
    assert "not ready" in text
    assert "reconnecting for 01:01:01" in text
    assert "dialling again in 1.0 s" in text


def test_nothing_there_is_code_3_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert main(["status", "--status", str(port)]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        f"sstpsocks: no status port answers at 127.0.0.1:{port}: Connection refused. Is sstpsocks"
    )
    assert said.err.count("\n") == 1


def test_json_is_the_whole_document(capsys: pytest.CaptureFixture[str]) -> None:
    document = snapshot(tunnel(flows=(flow(1, "nas.corp.example"),)))
    with status_server(document) as server:
        assert main(["status", "--json", "--status", str(server.port)]) == 0
    assert json.loads(capsys.readouterr().out) == to_json(document)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"<html>", 200, "is no status port of sstpsocks"),
        (b"[]", 200, "is no status port of sstpsocks"),
        (b"{}", 200, "is no status port of sstpsocks"),
        (b"", 401, "wants a password"),
        (b"", 403, "answers 403 Forbidden"),
    ],
)
def test_what_else_answers_there_is_named(
    answer: bytes, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with status_server(answer, status=status) as server:
        assert main(["status", "--status", str(server.port)]) == 3
    assert said in capsys.readouterr().err


def test_texts_of_servers_cannot_steer_the_terminal() -> None:
    text = text_of(snapshot(tunnel(up=False, text="bad\x1b[2Jnews")))
    assert "\x1b" not in text
    assert "bad [2Jnews" in text


# Finding it


def test_without_a_word_about_it_one_says_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 2
    assert "it is not known where the status port is. Start it with --status" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9090", Place("127.0.0.1", 9090)),
        ("0.0.0.0:9090", Place("127.0.0.1", 9090)),
        ("[::1]:9090", Place("::1", 9090)),
        ("http://127.0.0.1:9090/", Place("127.0.0.1", 9090)),
        ("unix:/run/x.sock", Place("", path="/run/x.sock")),
    ],
)
def test_the_places_that_can_be_named(text: str, place: Place) -> None:
    assert find_place({"status": text}, NOWHERE) == place


def test_a_place_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="--status"):
        find_place({"status": "here:there"}, NOWHERE)


def test_the_ready_file_tells(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    with pytest.raises(NotRunning, match="there is no ready file"):
        find_place({"ready_file": str(ready)}, NOWHERE)
    ready.write_text(json.dumps({"listen": ["127.0.0.1:1080"]}))
    with pytest.raises(ConfigError, match="names no status port"):
        find_place({"ready_file": str(ready)}, NOWHERE)
    ready.write_text(json.dumps({"status_listen": ["[::]:9090", "127.0.0.1:1"]}))
    assert find_place({"ready_file": str(ready)}, NOWHERE) == Place("::1", 9090)
    assert find_place({}, {**NOWHERE, "SSTPSOCKS_READY_FILE": str(ready)}) == Place("::1", 9090)
    ready.write_text(json.dumps({"status_listen": ["unix:/run/x.sock"]}))
    assert find_place({"ready_file": str(ready)}, NOWHERE) == Place("", path="/run/x.sock")
    ready.write_text("{")
    with pytest.raises(ConfigError, match="cannot read the ready file"):
        find_place({"ready_file": str(ready)}, NOWHERE)


def test_a_password_is_given_where_one_is_wanted(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    given = {"status_user": "admin", "status_password_file": str(password)}
    with status_server(snapshot(tunnel())) as server:
        place = find_place({"status": str(server.port), **given}, NOWHERE)
        assert "hunter2" not in repr(place)
        fetch_snapshot(place)
        assert server.asked == [("/status.json", "Basic YWRtaW46aHVudGVyMg==")]


def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    if AF_UNIX is None:
        pytest.skip("needs Unix sockets")
    path = tmp_path / "status.sock"
    body = json.dumps(to_json(snapshot(tunnel()))).encode()

    def answer(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socket.socket(AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        assert fetch_snapshot(Place("", path=str(path))).tunnels[0].name == "office"
        thread.join()


# JSON back to a snapshot

SAMPLE = snapshot(tunnel(flows=(flow(1, "nas"), flow(2))), tunnel("lab", up=False, history=None))


def test_what_was_a_snapshot_is_the_same_one_again() -> None:
    assert decode(Snapshot, to_json(SAMPLE)) == SAMPLE


def test_an_older_and_a_newer_programs_documents_are_read() -> None:
    found = decode(Snapshot, {"tunnels": [{"name": "office", "up": True, "colour": "red", "history": 7}], "mood": 1})
    assert found.tunnels[0].name == "office"
    assert found.tunnels[0].history is None
    assert found.tunnels[0].dns.entries == 0
    assert found.ports == ()
    assert not found.ready


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
PLACES = [("tunnels",), ("ports",), ("events",), ("tunnels", 0), ("tunnels", 0, "flows"), ("tunnels", 0, "history")]


@settings(deadline=None, max_examples=200)
@given(JSON, st.sampled_from(PLACES))
def test_nothing_in_a_document_breaks_the_report(junk: object, place: tuple[str | int, ...]) -> None:
    document = json.loads(json.dumps(to_json(SAMPLE)))
    target = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = junk
    assert text_of(decode(Snapshot, document))
    assert text_of(decode(Snapshot, junk))


# Figures


def test_figures_are_short() -> None:
    assert [octets(n) for n in (0, 999, 1000, 99_949, 99_950, 999_500, 10**15)] == [
        "0 B", "999 B", "1.0 kB", "99.9 kB", "100 kB", "1.0 MB", "1000 TB",
    ]  # fmt: skip
    assert [rate(n) for n in (0, 124, 125, 1_250_000, 12_500_000_000)] == [
        "0 bit/s", "992 bit/s", "1.0 kbit/s", "10.0 Mbit/s", "100 Gbit/s",
    ]  # fmt: skip
    assert [milliseconds(n) for n in (None, 0.0004, 0.0123, 0.1, 2.5)] == [
        "-",
        "0.4 ms",
        "12.3 ms",
        "100 ms",
        "2500 ms",
    ]
    assert [duration(n) for n in (0.9, 59, 60, 3661, 90061)] == ["0 s", "59 s", "00:01:00", "01:01:01", "1 d 01:01:01"]


def test_a_chart_has_its_size_and_the_latest_values() -> None:
    assert chart((None, 1.0, 2.0, 4.0, 8.0), 4, 1) == ["▁▂▄█"]
    assert chart((8.0, 4.0, 0.0), 5, 2) == ["  █  ", "  ██ "]
    assert chart((1.0,), 3, 1, top=100.0) == ["  ▁"], "what is not nothing is seen"
    assert chart((4.0, 8.0), 2, 1, blocks=False) == ["=@"]
    assert chart((), 3, 2) == ["   ", "   "]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.none() | st.floats(0, 1e12), max_size=30), st.integers(0, 20), st.integers(1, 6), st.booleans())
def test_any_chart_has_its_size(values: list[float | None], width: int, height: int, blocks: bool) -> None:
    lines = chart(values, width, height, blocks=blocks)
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}


def test_the_environment_and_the_configuration_file_tell(tmp_path: Path) -> None:
    assert find_place({}, {**NOWHERE, "SSTPSOCKS_STATUS": "9090"}) == Place("127.0.0.1", 9090)
    config = tmp_path / "config.toml"
    config.write_text("status = '127.0.0.1:9091'\n[profiles.lab]\nserver = 'h'\n")
    assert find_place({"config": str(config)}, NOWHERE) == Place("127.0.0.1", 9091)
    assert find_place({"config": str(config), "profile": ["lab"]}, NOWHERE) == Place("127.0.0.1", 9091)
    assert find_place({"config": str(config), "status": "9092"}, NOWHERE) == Place("127.0.0.1", 9092)
    config.write_text(f"status = '0'\nready_file = '{tmp_path / 'ready'}'\n")
    with pytest.raises(NotRunning, match="there is no ready file"):
        find_place({"config": str(config)}, NOWHERE)
