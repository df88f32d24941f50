"""The file of results: what every run measured, case by case, so that a case can be measured again by itself.

A case is always replaced as a whole: its figures come from one interleaved run and are not mixed with others.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figures import Measurement, Summary

LIBRARIES = ("trio", "pyOpenSSL", "cryptography")


@dataclass
class PeerResult:
    """What one peer did in one case."""

    title: str
    ours: bool = False
    version: str = ""
    skipped: str = ""
    """Why there are no runs, or no more."""
    runs: int = 0
    figures: dict[str, Summary] = field(default_factory=dict)
    """Of all runs, by name."""

    def add(self, run: Mapping[str, Measurement]) -> None:
        """Take the figures of one more run."""
        self.runs += 1
        for name, measurement in run.items():
            earlier = self.figures[name].values if name in self.figures else ()
            self.figures[name] = Summary((*earlier, measurement.value), measurement.unit, measurement.better)


@dataclass
class CaseResult:
    """What all peers did in one case, and where that was."""

    title: str
    conditions: dict[str, Any]
    circumstances: dict[str, str]
    peers: dict[str, PeerResult] = field(default_factory=dict)


def circumstances(root: Path) -> dict[str, str]:
    """Return what the figures of now depend on."""
    commit = _git(root, "rev-parse", "--short=10", "HEAD") or "unknown"
    if _git(root, "status", "--porcelain", "--untracked-files=no", "sstpsocks"):
        commit += " with changes"
    return {
        "commit": commit,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {processor()}, Linux {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "load before": load_average(),
    }


def processor() -> str:
    """Return the name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def load_average() -> str:
    """Return the machine's load average over a minute."""
    return Path("/proc/loadavg").read_text().split()[0]


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def save(path: Path, cases: Mapping[str, CaseResult]) -> None:
    """Write the file."""
    content = {name: asdict(case) for name, case in cases.items()}
    text = json.dumps({"cases": content}, indent=1)
    # A line for each figure.
    path.write_text(re.sub(r"\{[^{}]*\}", lambda found: " ".join(found[0].split()), text) + "\n")


def load(path: Path) -> dict[str, CaseResult]:
    """Read the file; without one there are no results yet."""
    if not path.exists():
        return {}
    return {name: _case(content) for name, content in json.loads(path.read_text())["cases"].items()}


def _case(content: dict[str, Any]) -> CaseResult:
    peers = {name: _peer(each) for name, each in content.pop("peers").items()}
    return CaseResult(**content, peers=peers)


def _peer(content: dict[str, Any]) -> PeerResult:
    figures = {name: _summary(each) for name, each in content.pop("figures").items()}
    return PeerResult(**content, figures=figures)


def _summary(content: dict[str, Any]) -> Summary:
    return Summary(tuple(content["values"]), content["unit"], content["better"])
