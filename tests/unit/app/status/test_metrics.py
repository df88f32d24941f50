"""The metrics, as Prometheus and its linter read them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sstpsocks.app.status.exposition import Exposition
from sstpsocks.app.status.metrics import TunnelHistograms, metrics_text
from sstpsocks.base.histogram import Histogram
from tests.unit.app.status.sample import HOSTILE, snapshot_of, tunnel_named


def text_of(*names: str) -> str:
    histograms = {}
    for name in names:
        parts = [Histogram((0.1, 1.0)) for _ in range(3)]
        parts[1].observe(0.5)
        histograms[name] = TunnelHistograms(*parts)
    return metrics_text(snapshot_of(*map(tunnel_named, names)), histograms, 1_795_413_140.25)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_they_say_what_the_snapshot_says() -> None:
    found = samples(text_of("office"))
    assert found["sstpsocks_tunnel_up", frozenset({("tunnel", "office")})] == 1
    assert found["sstpsocks_tunnel_receive_bytes_total", frozenset({("tunnel", "office")})] == 1000
    assert found["sstpsocks_tunnel_losses_total", frozenset({("tunnel", "office"), ("reason", "reset")})] == 2
    assert found["sstpsocks_tcp_connections", frozenset({("tunnel", "office"), ("state", "ESTABLISHED")})] == 2
    assert found["sstpsocks_dial_seconds_bucket", frozenset({("tunnel", "office"), ("le", "0.1")})] == 0
    assert found["sstpsocks_dial_seconds_bucket", frozenset({("tunnel", "office"), ("le", "+Inf")})] == 1
    assert found["sstpsocks_dial_seconds_count", frozenset({("tunnel", "office")})] == 1
    assert found["process_start_time_seconds", frozenset()] == 1_795_413_140.25


def test_exactly_one_state_is_set() -> None:
    states = {key: value for key, value in samples(text_of("office")).items() if key[0] == "sstpsocks_tunnel_state"}
    assert len(states) == 7
    assert sum(states.values()) == 1


def test_hosts_are_no_labels() -> None:
    text = text_of("office")
    for host in ("10.0.0.5", "git.corp.example", "vpn.example.org"):
        assert host not in text


def test_no_name_breaks_out_of_its_label() -> None:
    found = samples(text_of(HOSTILE, "office"))
    tunnels = {dict(labels).get("tunnel") for name, labels in found if name == "sstpsocks_tunnel_up"}
    assert tunnels == {HOSTILE, "office"}


def test_samples_of_a_family_stand_together_whatever_their_order() -> None:
    page = Exposition()
    page.gauge("a", "A.", 1, {"x": "1"})
    page.counter("b_total", "B.", 2)
    page.gauge("a", "A.", 0.25, {"x": "2"})
    assert page.to_text() == (
        '# HELP a A.\n# TYPE a gauge\na{x="1"} 1\na{x="2"} 0.25\n# HELP b_total B.\n# TYPE b_total counter\nb_total 2\n'
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells less of a process")
def test_the_process_tells_of_itself() -> None:
    found = samples(text_of("office"))
    assert found["process_cpu_seconds_total", frozenset()] > 0


def test_the_linter_of_prometheus_finds_nothing() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text_of(HOSTILE, "office"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
