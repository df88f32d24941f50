"""How many datagrams get there and back in a second.

    SSTP_PASSWORD=... python benchmarks/rig/datagrams.py tunnel 10.0.0.2 443 vpn.example.com ca.pem alice 10.7.0.1 8007
    python benchmarks/rig/datagrams.py plain DEVICE 10.7.0.1 8007

The first opens a tunnel of its own through the library, with whatever build runs it; the second uses the kernel,
through one device or any ("-"). Both keep a number of datagrams under way to an echo service and print, as JSON, the
echoes per second and how many datagrams were lost. Imports nothing of the harness.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from ipaddress import ip_address

import trio

WINDOW = 64
"""Datagrams under way."""
PAYLOAD = bytes(200)
PATIENCE = 0.2
"""Seconds after which what has not come back is lost."""
SO_BINDTODEVICE = 25


class Count:
    """What is under way and what came of it."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.echoes = 0
        self.lost = 0
        self.under_way = 0

    def echoed(self) -> None:
        """Count one that came back."""
        self.echoes += 1
        self.under_way -= 1

    def gave_up(self) -> None:
        """Count all that is under way as lost."""
        self.lost += self.under_way
        self.under_way = 0

    def result(self) -> dict[str, float]:
        """Return what to print."""
        sent = self.echoes + self.lost + self.under_way
        seconds = time.monotonic() - self.begin
        return {"echoes/s": self.echoes / seconds, "lost %": 100 * self.lost / max(sent, 1)}


def through_kernel(options: argparse.Namespace) -> dict[str, float]:
    """Measure with a socket of the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        if options.device != "-":
            datagrams.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, options.device.encode())
        # Not connected: a gateway with several addresses may answer from another one.
        target = (options.target, options.target_port)
        datagrams.settimeout(PATIENCE)
        count = Count()
        while time.monotonic() - count.begin < options.seconds:
            while count.under_way < WINDOW:
                datagrams.sendto(PAYLOAD, target)
                count.under_way += 1
            try:
                datagrams.recv(2048)
            except TimeoutError:
                count.gave_up()
            else:
                count.echoed()
        return count.result()


async def through_tunnel(options: argparse.Namespace) -> dict[str, float]:
    """Measure with the library."""
    import sstpsocks

    async with sstpsocks.open_tunnel(
        options.host,
        port=options.port,
        username=options.user,
        password=os.environ["SSTP_PASSWORD"],
        ca_file=options.ca_file,
        server_name=options.server_name,
    ) as tunnel:
        datagrams = tunnel.open_udp(ip_address(options.target), options.target_port)
        count = Count()
        while time.monotonic() - count.begin < options.seconds:
            while count.under_way < WINDOW:
                await datagrams.send(PAYLOAD)
                count.under_way += 1
            with trio.move_on_after(PATIENCE) as patience:
                await datagrams.receive()
                count.echoed()
            if patience.cancelled_caught:
                count.gave_up()
        datagrams.close()
        return count.result()


def main() -> int:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description="Datagrams there and back.")
    parser.add_argument("--seconds", type=float, default=2.0)
    ways = parser.add_subparsers(dest="way", required=True)
    plain = ways.add_parser("plain", help="with the kernel's UDP")
    plain.add_argument("device", help="- for none in particular")
    tunnel = ways.add_parser("tunnel", help="with our library")
    tunnel.add_argument("host")
    tunnel.add_argument("port", type=int)
    tunnel.add_argument("server_name", metavar="NAME", help="in the server's certificate")
    tunnel.add_argument("ca_file", metavar="PEM")
    tunnel.add_argument("user")
    for way in (plain, tunnel):
        way.add_argument("target")
        way.add_argument("target_port", type=int)
    options = parser.parse_args()
    result = through_kernel(options) if options.way == "plain" else trio.run(through_tunnel, options)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
