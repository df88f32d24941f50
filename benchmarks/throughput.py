"""Bulk throughput through a real server: MB/s, client CPU seconds and microseconds of CPU per data packet.

    SSTPSOCKS_TEST_HOST=... SSTPSOCKS_TEST_HTTP=http://10.0.0.1/ ... python -m benchmarks.throughput

The server is described by the same variables as for the interop suite (docs/interop.md); the folder must hold
``256m.bin`` (256 MiB) or what ``--mebibytes`` says, and SSTPSOCKS_TEST_UPLOAD take a PUT. For a path with a delay, set
it at the server: the option of the lab for a round trip of 50 ms is ``--delay 25``, and 64 MiB are enough then. Linux
only: CPU time is read from /proc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.tunnel import curl_command, empty_file, machine, no_server, running_client
from tests.interop.client import Client

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
    subprocess.run(curl_command(client, "-o", "/dev/null", *arguments), check=True, timeout=600)


def measure(name: str, client: Client, size: int, runs: int, transfer: Callable[[], None]) -> None:
    """Run a transfer several times and print the medians."""
    packets = size / (client.ready["mtu"] - TCP_IP_HEADERS)
    rates, costs = [], []
    for _ in range(runs):
        cpu, begin = cpu_seconds(client.process.pid), time.perf_counter()
        transfer()
        elapsed, used = time.perf_counter() - begin, cpu_seconds(client.process.pid) - cpu
        rates.append(size / elapsed / 1e6)
        costs.append(used)
    cost = statistics.median(costs)
    print(
        f"{name:9} {statistics.median(rates):7.1f} MB/s ({min(rates):.1f} to {max(rates):.1f}), "
        f"client CPU {cost:.2f} s = {size / cost / 1e6:.1f} MB per CPU second, "
        f"{cost / packets * 1e6:.1f} us per data packet"
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Bulk throughput through the SSTP server of SSTPSOCKS_TEST_*.")
    parser.add_argument("--runs", type=int, default=3, help="transfers in each direction (default 3)")
    parser.add_argument("--mtu", type=int, default=1400, help="tunnel MTU (default 1400)")
    parser.add_argument("--mebibytes", type=int, default=256, help="size of a transfer, of Nm.bin (default 256)")
    options = parser.parse_args()
    if no_server():
        return 2
    size = options.mebibytes << 20
    print(f"{machine()}, {size / 1e6:.0f} MB a transfer, medians of {options.runs}")
    with running_client("--mtu", str(options.mtu)) as (client, folder):
        upload = empty_file(folder / "upload.bin", size)
        download_url = f"{os.environ['SSTPSOCKS_TEST_HTTP']}{options.mebibytes}m.bin"
        measure("download", client, size, options.runs, lambda: curl(client, download_url))
        if upload_url := os.environ.get("SSTPSOCKS_TEST_UPLOAD"):
            measure(
                "upload", client, size, options.runs, lambda: curl(client, "--upload-file", str(upload), upload_url)
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
