"""The scripts that are about TCP alone, over IPv6."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import interpreter
from .interpreter import run_script
from .ipv6 import TranslatedStack
from .test_scripts import SCRIPTS

ABOUT_IPV4 = re.compile(
    r"\bip\{|\bipv6\b|\bICMP\b|\bUDP\b|\bIP\b|\bdatagram\b|\bping\b|\budp|\baddress\b|\bcall connect \d|\b536\b"
)
"""In a line of a script: it is about more than TCP, or about the default MSS of IPv4."""


def is_about_tcp(path: Path) -> bool:
    lines = [line.split("#", 1)[0] for line in path.read_text(encoding="utf-8").splitlines()]
    return not any(ABOUT_IPV4.search(line) for line in lines)


TCP_SCRIPTS = [path for path in SCRIPTS if is_about_tcp(path)]


def test_most_scripts_are_about_tcp() -> None:
    assert len(TCP_SCRIPTS) > 150


@pytest.mark.parametrize("path", TCP_SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "Stack", TranslatedStack)
    run_script(path)
