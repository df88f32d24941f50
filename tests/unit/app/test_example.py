from __future__ import annotations

import re
from pathlib import Path

import pytest

from sstpsocks.app.cli.parser import parse_connect
from sstpsocks.app.config import load_configuration
from sstpsocks.app.mistakes import find_mistakes
from sstpsocks.app.options import BY_KEY

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "config.toml"


def test_the_example_has_no_mistakes() -> None:
    verdict = find_mistakes(EXAMPLE, {})
    assert verdict.mistakes == ()
    assert verdict.warnings == ()
    assert verdict.profiles == ("work", "lab", "behind-a-proxy")


@pytest.mark.parametrize(
    ("profiles", "ports_of_their_own"), [(["work"], []), (["lab"], []), (["work", "lab"], ["lab"])]
)
def test_its_profiles_load_by_themselves_and_together(profiles: list[str], ports_of_their_own: list[str]) -> None:
    flags = [word for name in profiles for word in ("--profile", name)]
    environ = {"SSTPSOCKS_CONFIG": str(EXAMPLE)}
    configuration = load_configuration(parse_connect(flags, explicit=True), environ, has_terminal=True)
    assert [tunnel.name for tunnel in configuration.tunnels] == profiles
    assert [tunnel.name for tunnel in configuration.tunnels if tunnel.listen is not None] == ports_of_their_own


def test_every_documented_key_exists() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| .*`SSTPSOCKS_\w+`.*$", text, re.MULTILINE):
        flag, variable, key, _ = (cell.strip() for cell in row.strip("| ").split(" | ", 3))
        name = variable.strip("`").removeprefix("SSTPSOCKS_").lower()
        assert name in BY_KEY, row
        assert key in ("none", f"`{name}`"), row
        assert flag == "none" or BY_KEY[name].flag in flag, row
