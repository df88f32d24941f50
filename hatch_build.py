"""How a wheel is built: with the innermost modules compiled where that is possible, else as plain Python.

Theory of operation. The file has three users. As the build backend (PEP 517, ``pyproject.toml``) it is hatchling's
own, and asks for the compiler's packages besides when a wheel is to be compiled. As hatchling's build hook it has the
modules of ``MODULES`` compiled by mypyc and puts the result beside their sources into the wheel, which then needs
librt. As a program it is the compilation itself, in a process of its own, so that nothing it does to its interpreter
matters here.

The environment variable ``SSTPSOCKS_COMPILE`` decides: ``0`` never compiles, ``1`` fails when it cannot; without it a
wheel is compiled where there is a C compiler, and is plain Python when anything goes wrong. Editable installs are plain
Python in any case.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import hatchling.build
from hatchling.build import build_editable, build_sdist, build_wheel, get_requires_for_build_sdist
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

MODULES = (
    "sstpsocks/base/build.py",
    "sstpsocks/base/bytequeue.py",
    "sstpsocks/base/checksum.py",
    "sstpsocks/base/ranges.py",
    "sstpsocks/base/seqnum.py",
    "sstpsocks/base/timers.py",
    "sstpsocks/sstp/data_run.py",
    "sstpsocks/net/downloads.py",
    "sstpsocks/net/memory.py",
    "sstpsocks/net/outer.py",
    "sstpsocks/net/uploads.py",
    "sstpsocks/net/tcp/upload.py",
    "sstpsocks/net/receive_run.py",
    "sstpsocks/net/scheduler.py",
    "sstpsocks/net/tcp/acks.py",
    "sstpsocks/net/tcp/black_hole.py",
    "sstpsocks/net/tcp/builder.py",
    "sstpsocks/net/tcp/congestion.py",
    "sstpsocks/net/tcp/connection.py",
    "sstpsocks/net/tcp/cubic.py",
    "sstpsocks/net/tcp/ecn.py",
    "sstpsocks/net/tcp/hystart.py",
    "sstpsocks/net/tcp/keep_alive.py",
    "sstpsocks/net/tcp/progress.py",
    "sstpsocks/net/tcp/prr.py",
    "sstpsocks/net/tcp/rack.py",
    "sstpsocks/net/tcp/reassembly.py",
    "sstpsocks/net/tcp/receive.py",
    "sstpsocks/net/tcp/recovery.py",
    "sstpsocks/net/tcp/resets.py",
    "sstpsocks/net/tcp/rtt.py",
    "sstpsocks/net/tcp/sack.py",
    "sstpsocks/net/tcp/sack_recovery.py",
    "sstpsocks/net/tcp/scoreboard.py",
    "sstpsocks/net/tcp/send.py",
    "sstpsocks/net/tcp/tcb.py",
    "sstpsocks/net/tcp/timestamps.py",
    "sstpsocks/net/tcp/tlp.py",
    "sstpsocks/net/tcp/undo.py",
    "sstpsocks/net/tcp/window.py",
)
"""What is compiled: what the packets of a transfer pass, and what that touches."""
RUNTIME_REQUIREMENT = "librt>=0.16,<1"
"""What compiled modules import; the two must fit, so only releases that are compatible by their numbers."""
BUILD_REQUIREMENTS = ["mypy>=2.4,<3", RUNTIME_REQUIREMENT, "setuptools>=65"]
GROUP = "sstpsocks._native"
"""All modules are in one shared library, sstpsocks/_native__mypyc, so that they call each other directly."""
_TIMEOUT = 900
_MACHINES = ("x86_64", "amd64", "aarch64", "arm64")
"""For these the compiler's packages are on PyPI as wheels."""


# --- The build backend -----------------------------------------------------------------------------------------------


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """PEP 517: what must be installed to build a wheel."""
    requirements = hatchling.build.get_requires_for_build_wheel(config_settings)
    return [*requirements, *BUILD_REQUIREMENTS] if is_wanted() else requirements


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """PEP 660: an editable install is never compiled."""
    return hatchling.build.get_requires_for_build_editable(config_settings)


def is_wanted() -> bool:
    """Whether to try: by the environment variable, else where it can be expected to work."""
    match os.environ.get("SSTPSOCKS_COMPILE", ""):
        case "0":
            return False
        case "1":
            return True
    return (
        platform.python_implementation() == "CPython"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and os.name == "posix"
        and platform.machine().lower() in _MACHINES
        and shutil.which(shlex.split(sysconfig.get_config_var("CC") or "cc")[0]) is not None
        and Path(sysconfig.get_path("include"), "Python.h").is_file()
    )


def is_required() -> bool:
    """Whether a wheel that is not compiled is a failure."""
    return os.environ.get("SSTPSOCKS_COMPILE") == "1"


# --- The build hook --------------------------------------------------------------------------------------------------


class CustomBuildHook(BuildHookInterface[Any]):
    """Compiles before hatchling puts the wheel together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add what was compiled to a standard wheel; change nothing when that is not wanted or fails."""
        if version != "standard" or not is_wanted():
            return
        folder = Path(tempfile.mkdtemp(prefix="sstpsocks-build-"))
        self._folder = folder
        try:
            subprocess.run([sys.executable, __file__, str(folder)], cwd=self.root, check=True, timeout=_TIMEOUT)
            libraries = sorted((folder / "lib").rglob("*.*"))
            if not libraries:
                raise FileNotFoundError("mypyc left no library")
        except (subprocess.SubprocessError, OSError) as error:
            if is_required():
                raise
            self.app.display_warning(f"not compiled, sstpsocks will be slower: {error}")
            return
        for library in libraries:
            build_data["force_include"][str(library)] = library.relative_to(folder / "lib").as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["dependencies"].append(RUNTIME_REQUIREMENT)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what initialize() made."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)


# --- The compilation -------------------------------------------------------------------------------------------------


def compile_modules(folder: Path) -> None:
    """Compile MODULES, in the current directory, into ``folder``/lib."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    options = ["--config-file=", "--explicit-package-bases", "--follow-imports=silent", "--always-true=COMPILED"]
    extensions = mypycify(
        [*options, f"--cache-dir={folder / 'cache'}", *MODULES],
        opt_level="3",
        debug_level="0",
        group_name=GROUP,
        target_dir=str(folder / "source"),
    )
    distribution = Distribution({"name": "sstpsocks", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(folder / "lib")
    command.build_temp = str(folder / "temp")
    command.ensure_finalized()
    command.run()


if __name__ == "__main__":
    compile_modules(Path(sys.argv[1]))
