"""What the benchmarks through a real server share: the client as a user runs it, and what to say about the machine.

The server is described by the same variables as for the interop suite (docs/interop.md).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.client import Client


def no_server() -> bool:
    """Whether the environment names no server; says so."""
    if "SSTPSOCKS_TEST_HOST" in os.environ:
        return False
    print("SSTPSOCKS_TEST_HOST is not set: see docs/interop.md", file=sys.stderr)
    return True


def load_average() -> str:
    """Return the machine's load average over a minute."""
    return Path("/proc/loadavg").read_text().split()[0]


def machine() -> str:
    """Return what figures depend on: commit, interpreter, cores, load."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    load = f"load average {load_average()}, "
    return (
        f"commit {commit.strip() or 'unknown'}, {platform.python_implementation()} {platform.python_version()}, "
        f"{load}{os.cpu_count()} cores"
    )


def arguments_of_client(folder: Path) -> list[str]:
    """Return the command line that logs in to the server of the environment."""
    environ = os.environ
    password = folder / "password"
    password.write_text(environ["SSTPSOCKS_TEST_PASSWORD"])
    password.chmod(0o600)
    server = f"{environ['SSTPSOCKS_TEST_HOST']}:{environ.get('SSTPSOCKS_TEST_PORT', '443')}"
    arguments = [server, "--user", environ["SSTPSOCKS_TEST_USER"], "--password-file", str(password)]
    for option, variable in (("--ca-file", "CA_FILE"), ("--server-name", "SERVER_NAME"), ("--auth", "AUTH")):
        if value := environ.get(f"SSTPSOCKS_TEST_{variable}"):
            arguments += [option, value]
    return arguments


@contextmanager
def running_client(*options: str) -> Iterator[tuple[Client, Path]]:
    """Run the client with its tunnel up, and a folder for files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = Client(folder, arguments_of_client(folder))
        client.start("--reconnect", "never", *options)
        try:
            client.wait_ready()
            yield client, folder
        finally:
            client.stop()


def empty_file(path: Path, size: int) -> Path:
    """Make a file of so many octets to upload, all of them in the kernel's cache.

    Reading it for the first time costs the kernel as much as sending it costs us, and a virtual machine's host too.
    """
    with path.open("wb") as file:
        file.truncate(size)
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    return path


def curl_command(client: Client, *arguments: str) -> list[str]:
    """Return the command for transfers through the client's port."""
    host, port = client.socks
    return ["curl", "-sSf", "--socks5-hostname", f"{host}:{port}", *arguments]
