"""Runs a program with nothing: an unprivileged user, no capabilities, a read-only file system, no /dev/net/tun."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

NOBODY = 65534
PROJECT = Path(__file__).resolve().parents[2]
TOOLS = ("unshare", "setpriv", "mount")


def skip_unless_rights_can_be_taken() -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to take everything away from the program")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed")


def expose(paths: list[Path]) -> list[str]:
    """Shell lines that let everybody reach paths below folders which only root may enter, in a mount namespace.

    The closed folder is covered by an empty one in which just these paths are mounted.
    """
    hidden: dict[Path, list[Path]] = {}
    for path in paths:
        closed = [parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
        if closed:
            hidden.setdefault(closed[0], []).append(path)
    lines = []
    for folder, inside in hidden.items():
        lines.append("stage=$(mktemp -d)")
        for index, path in enumerate(inside):
            lines.append(f"mkdir $stage/{index} && mount --bind {shlex.quote(str(path))} $stage/{index}")
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}")
        for index, path in enumerate(inside):
            target = shlex.quote(str(path))
            lines.append(f"mkdir -p {target} && mount --move $stage/{index} {target}")
        lines.append("rmdir $stage/* $stage")
    return lines


def without_rights(program: list[str], *, tun: bool = False) -> list[str]:
    """Return the command that runs program in the project's folder without any; with ``tun`` there is /dev/net/tun."""
    script = [
        "set -e",
        "mount --make-rprivate /",
        *expose([Path(sys.base_prefix), Path(sys.prefix), PROJECT]),
        *([] if tun else ["if [ -d /dev/net ]; then mount -t tmpfs tmpfs /dev/net; fi"]),
        # Everything that holds files becomes read-only; what the kernel makes up stays.
        "while read -r _ mounted type _; do case $type in proc|sysfs|devpts|cgroup2|nsfs|mqueue) ;; "
        '*) mount -o remount,bind,ro "$mounted" ;; esac; done < /proc/self/mounts',
        "if touch /tmp/writable 2>/dev/null; then echo the file system is writable; exit 99; fi",
        f"cd {shlex.quote(str(PROJECT))}",
        f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all --bounding-set=-all "
        f"--no-new-privs -- {shlex.join(program)}",
    ]
    return ["unshare", "--mount", "--", "sh", "-c", "\n".join(script)]
