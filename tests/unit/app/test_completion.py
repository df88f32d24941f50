from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sstpsocks.app.cli.main import main
from sstpsocks.app.cli.parser import COMMANDS
from sstpsocks.app.completion import completion
from sstpsocks.app.options import OPTIONS, Place

CONFIG = '[profiles.work]\nserver = "h"\n[profiles."my lab"]\nserver = "h"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the program on its path and a configuration file."""
    program = tmp_path / "bin" / "sstpsocks"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sstpsocks "$@"\n')
    program.chmod(0o755)
    (tmp_path / "config.toml").write_text(CONFIG)
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / shell).write_text(completion(shell))
    return tmp_path


def run_shell(shell: str, script: str, folder: Path) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    environ = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "SSTPSOCKS_CONFIG": str(folder / "config.toml"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "HOME": str(folder),
    }
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    result = subprocess.run(
        [found, *flags, "-c", script], capture_output=True, text=True, timeout=30, env=environ, cwd=folder, check=False
    )
    assert result.stderr == ""
    return result.stdout


def complete_in_bash(folder: Path, *words: str) -> list[str]:
    typed = " ".join(f"'{word}'" for word in ("sstpsocks", *words))
    script = (
        f'source ./bash; COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _sstpsocks; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    return run_shell("bash", script, folder).splitlines()


def test_bash_completes_commands_flags_choices_files_and_profiles(folder: Path) -> None:
    assert complete_in_bash(folder, "c") == ["connect", "check", "config", "completion"]
    assert complete_in_bash(folder, "--tls-") == ["--tls-min", "--tls-seclevel", "--tls-keylog", "--tls-timeout"]
    assert complete_in_bash(folder, "--dhcp", "a") == ["auto", "anonymous"]
    assert complete_in_bash(folder, "--ca-file", "conf") == ["config.toml"]
    assert complete_in_bash(folder, "--profile", "") == ["my\\ lab", "work"]
    assert complete_in_bash(folder, "--profile", "w") == ["work"]
    (folder / "other.toml").write_text("[profiles.elsewhere]\n")
    assert complete_in_bash(folder, "-c", "other.toml", "--profile", "") == ["elsewhere"]


def test_bash_completes_within_a_command(folder: Path) -> None:
    assert complete_in_bash(folder, "config", "s") == ["show"]
    assert complete_in_bash(folder, "config", "check", "--j") == ["--json"]
    assert complete_in_bash(folder, "completion", "") == ["bash", "zsh", "fish"]
    assert complete_in_bash(folder, "check", "--no-l") == ["--no-login"]
    assert complete_in_bash(folder, "ping", "host", "--cou") == ["--count"]


def test_zsh_and_fish_take_the_scripts(folder: Path) -> None:
    script = 'autoload -Uz compinit; compinit -u -d ./dump; functions[f]="$(<./zsh)"; print taken'
    assert run_shell("zsh", script, folder) == "taken\n"
    assert run_shell("zsh", "zsh -n ./zsh && print good", folder) == "good\n"
    out = run_shell("fish", "source ./fish; complete -C 'sstpsocks --tls-m'", folder)
    assert out.startswith("--tls-min\t")
    assert "work" in run_shell("fish", "source ./fish; complete -C 'sstpsocks --profile '", folder)
    assert "anonymous" in run_shell("fish", "source ./fish; complete -C 'sstpsocks --dhcp a'", folder)
    assert "show" in run_shell("fish", "source ./fish; complete -C 'sstpsocks config s'", folder)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_flag_and_command_is_in_every_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for option in OPTIONS:
        if Place.FLAG in option.places and not option.positional:
            assert (f"-l {option.name} " if shell == "fish" else option.flag) in script
    for command in COMMANDS:
        assert command in script


def test_profiles_of_a_broken_file_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.toml").write_text("= =")
    assert main(["completion", "profiles", "--config", str(tmp_path / "x.toml")]) == 0
    assert capsys.readouterr() == ("", "")


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err
