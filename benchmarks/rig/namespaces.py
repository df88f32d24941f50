"""Network namespaces without a way out.

enter() starts the harness again inside new namespaces before it does anything else: its network has nothing but a
loopback device until the gateway is joined to it, its processes end with it, and the names of the namespaces that it
makes there are private. Root can do this; others can where unprivileged user namespaces are allowed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

INSIDE = "SSTPSOCKS_BENCHMARKS_INSIDE"
NAMES = Path("/run/netns")
_FLAGS = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]


class NoNamespaces(Exception):
    """This machine does not let us make namespaces; the message says why."""


def unshare_command() -> list[str]:
    """Return what starts a command in namespaces of its own."""
    if sys.platform == "linux":
        if shutil.which("unshare") is None or shutil.which("ip") is None:
            raise NoNamespaces("needs the Debian packages util-linux and iproute2")
        command = ["unshare", *_FLAGS]
        if os.getuid() != 0:
            command += ["--user", "--map-root-user"]
        tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            raise NoNamespaces(f"neither root nor unprivileged user namespaces: {tried.stderr.strip()}")
        return command
    raise NoNamespaces("namespaces are a thing of Linux")


def enter(arguments: list[str]) -> int:
    """Run the harness again inside; return its exit code."""
    command = [*unshare_command(), sys.executable, "-m", "benchmarks", *arguments]
    # Who starts a program for the second time does not compile it again.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, env={**environ, INSIDE: "1"}, check=False).returncode


def inside() -> bool:
    """Whether this process was started by enter()."""
    return INSIDE in os.environ


def prepare() -> None:
    """Set up the client namespace: names of our own, a loopback device, no way out."""
    # As root of a user namespace /run belongs to somebody else.
    if not NAMES.exists() and not os.access(NAMES.parent, os.W_OK):
        run("mount", "-t", "tmpfs", "tmpfs", str(NAMES.parent))
    NAMES.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(NAMES))
    run("ip", "link", "set", "lo", "up")
    tried = subprocess.run(["ip", "route", "get", "192.0.2.1"], capture_output=True, check=False)
    if tried.returncode == 0:
        raise NoNamespaces("there is a way out of the namespace")


def add(name: str) -> None:
    """Make one more namespace."""
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def within(name: str, *command: str) -> list[str]:
    """Return the command that runs another in a namespace."""
    return ["nsenter", f"--net={NAMES / name}", "--", *command]


def run(*command: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def set_network(namespace: str, name: str, value: int) -> None:
    """Set net/NAME of sysctl in a namespace; some containers do not allow it."""
    setting = f"echo {value} > /proc/sys/net/{name}"
    subprocess.run(within(namespace, "sh", "-c", setting), capture_output=True, check=False)
