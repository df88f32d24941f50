"""The impairment stage: one small program in two placements, the same for every peer.

    python -m benchmarks.rig.impairment relay 127.0.0.1:0 10.0.0.2:443 --delay 25
    python -m benchmarks.rig.impairment tun gateway,imp0,10.66.0.1 target,imp0,10.66.0.2 --loss 1 --seed 3

*relay* stands before a server and gives its connections distance (relay.py): for tunnels over one outer connection,
whose own TCP is not what is measured. *tun* joins two network namespaces (tunstage.py): between gateway and target for
loss, where it meets the packets that the tunnel carries, or on the outer path where round trips are counted.

The one line that it prints when it works is JSON: where the relay listens. At SIGTERM it prints its counters.
Netem would do the same, in kernels that have it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable

from tests.helpers.impairment import Path

from .eventloop import EventLoop
from .relay import WINDOW, Relay, Shape
from .tunstage import Device, TunStage


def address(text: str) -> tuple[str, int]:
    """Return "host:port" as a pair."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def device(text: str) -> Device:
    """Return "namespace,name,address" as a device."""
    namespace, name, own = text.split(",")
    return Device(namespace, name, own)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(description="Delay and loss for benchmarks, in userspace.")
    kinds = top.add_subparsers(dest="kind", required=True)
    relay = kinds.add_parser("relay", help="a TCP relay with a delay")
    relay.add_argument("listen", type=address, metavar="HOST:PORT", help="port 0 for a free one")
    relay.add_argument("target", type=address, metavar="HOST:PORT")
    relay.add_argument("--window", type=int, default=WINDOW, help="octets under way each way (default %(default)s)")
    tun = kinds.add_parser("tun", help="two TUN devices in two namespaces")
    tun.add_argument("left", type=device, metavar="NAMESPACE,NAME,ADDRESS")
    tun.add_argument("right", type=device, metavar="NAMESPACE,NAME,ADDRESS")
    tun.add_argument("--loss", type=float, default=0.0, help="percent of the packets, each way")
    tun.add_argument("--seed", type=int, default=1, help="of the losses (default 1)")
    tun.add_argument("--mtu", type=int, default=1500, help="of the devices (default 1500)")
    for kind in (relay, tun):
        kind.add_argument("--delay", type=float, default=0.0, help="milliseconds, each way")
        kind.add_argument("--rate", type=float, default=0.0, help="octets per second, each way; 0 for no limit")
    return top


def start(loop: EventLoop, options: argparse.Namespace) -> tuple[object, Callable[[], object]]:
    """Begin, and return what to print now and what makes the line for the end."""
    delay = options.delay / 1000
    if options.kind == "relay":
        shape = Shape(target=options.target, delay=delay, rate=options.rate, window=options.window)
        relay = Relay(loop, options.listen, shape)
        return {"listen": list(relay.address)}, relay.counters
    path = Path(delay=delay, loss=options.loss / 100, rate=options.rate)
    stage = TunStage(loop, options.left, options.right, path, seed=options.seed, mtu=options.mtu)
    return {}, stage.counters


def main() -> int:
    """Serve until a signal comes."""
    loop = EventLoop()
    first, last = start(loop, parser().parse_args())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: loop.stop())
    print(json.dumps(first), flush=True)
    loop.run()
    print(json.dumps(last()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
