"""Bulk throughput through a real server: MB/s, client CPU seconds and microseconds of CPU per data packet.

    SSTPSOCKS_TEST_HOST=... SSTPSOCKS_TEST_HTTP=http://10.0.0.1/ ... python -m benchmarks.throughput

The server is described by the same variables as for the interop suite (docs/interop.md); the folder must hold
``256m.bin`` (256 MiB), and SSTPSOCKS_TEST_UPLOAD take a PUT. Linux only: CPU time is read from /proc.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.interop.client import Client

SIZE = 256 * 1024 * 1024
TCP_IP_HEADERS = 40
# Of the times in /proc.
if sys.platform == "linux":
    TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
else:
    TICKS_PER_SECOND = 100  # there is no /proc to read; the type checker comes here all the same


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def curl(client: Client, *arguments: str) -> None:
    """Run one transfer through the client's port."""
    host, port = client.socks
    subprocess.run(
        ["curl", "-sSf", "-o", "/dev/null", "--socks5-hostname", f"{host}:{port}", *arguments], check=True, timeout=600
    )


def measure(name: str, client: Client, runs: int, transfer: Callable[[], None]) -> None:
    """Run a transfer several times and print the medians."""
    packets = SIZE / (client.ready["mtu"] - TCP_IP_HEADERS)
    rates, costs = [], []
    for _ in range(runs):
        cpu, begin = cpu_seconds(client.process.pid), time.perf_counter()
        transfer()
        elapsed, used = time.perf_counter() - begin, cpu_seconds(client.process.pid) - cpu
        rates.append(SIZE / elapsed / 1e6)
        costs.append(used)
    cost = statistics.median(costs)
    print(
        f"{name:9} {statistics.median(rates):7.1f} MB/s ({min(rates):.1f} to {max(rates):.1f}), "
        f"client CPU {cost:.2f} s = {SIZE / cost / 1e6:.1f} MB per CPU second, "
        f"{cost / packets * 1e6:.1f} us per data packet"
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


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Bulk throughput through the SSTP server of SSTPSOCKS_TEST_*.")
    parser.add_argument("--runs", type=int, default=3, help="transfers in each direction (default 3)")
    parser.add_argument("--mtu", type=int, default=1400, help="tunnel MTU (default 1400)")
    options = parser.parse_args()
    if "SSTPSOCKS_TEST_HOST" not in os.environ:
        print("SSTPSOCKS_TEST_HOST is not set: see docs/interop.md", file=sys.stderr)
        return 2
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(
        f"commit {commit.strip() or 'unknown'}, {platform.python_implementation()} {platform.python_version()}, "
        f"{os.cpu_count()} cores, {SIZE / 1e6:.0f} MB a transfer, medians of {options.runs}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        upload = folder / "upload.bin"
        with upload.open("wb") as file:
            file.truncate(SIZE)
        client = Client(folder, arguments_of_client(folder))
        client.start("--reconnect", "never", "--mtu", str(options.mtu))
        try:
            client.wait_ready()
            download_url = os.environ["SSTPSOCKS_TEST_HTTP"] + "256m.bin"
            measure("download", client, options.runs, lambda: curl(client, download_url))
            if upload_url := os.environ.get("SSTPSOCKS_TEST_UPLOAD"):
                measure("upload", client, options.runs, lambda: curl(client, "--upload-file", str(upload), upload_url))
        finally:
            client.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
