"""The impairment stage for packets: two TUN devices in two namespaces, and what a bad network does between them.

One device is the gateway's way to the target, the other the target's way back; the packets of each come out of the
other later, in order, or not at all. What happens to a packet is decided by the same seeded model that the simulations
use (tests/helpers/impairment.py).

Without loss the devices carry what the kernel has not yet cut into segments (IFF_VNET_HDR, TSO), up to 64 KiB at once:
that costs little enough for the outer path of a tunnel too, where, unlike over a relay, even the SYN is delayed. Loss
must meet single packets of the network, so then the devices do without.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from collections import deque
from dataclasses import dataclass

from tests.helpers.impairment import Impairment, Path

from .eventloop import READABLE, EventLoop

if sys.platform == "linux":
    import fcntl

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TUN_NO_PI = 0x1001
_IFF_VNET_HDR = 0x4000
_TUN_F_CSUM_TSO4_TSO6 = 7
_LARGEST = 65536 + 10
"""An IP packet, and struct virtio_net_hdr before it."""
_READS_PER_TURN = 64
_QUEUE = 10_000
"""Packets that a device holds for us."""


@dataclass(frozen=True)
class Device:
    """One end of the stage."""

    namespace: str
    name: str
    address: str
    """Its own, in the namespace; the peer's is that of the other end."""


def open_device(name: str, *, offload: bool) -> int:
    """Make a TUN device here and return its descriptor."""
    if sys.platform == "linux":
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TUN_NO_PI | (_IFF_VNET_HDR if offload else 0)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        if offload:
            fcntl.ioctl(descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM_TSO4_TSO6)
        return descriptor
    raise OSError("needs Linux")


def configure(device: Device, peer: Device, temporary_name: str, mtu: int) -> None:
    """Move a device that was made here to its namespace, and give it its name and address there."""

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    inside = ("-n", device.namespace)
    ip("link", "set", temporary_name, "netns", device.namespace, "name", device.name)
    ip(*inside, "address", "add", device.address, "peer", peer.address, "dev", device.name)
    ip(*inside, "link", "set", device.name, "mtu", str(mtu), "txqueuelen", str(_QUEUE), "up")


class Direction:
    """From one device to the other."""

    def __init__(self, loop: EventLoop, source: int, sink: int, impairment: Impairment) -> None:
        self._loop = loop
        self._source = source
        self._sink = sink
        self._impairment = impairment
        self._flying: deque[tuple[float, bytes]] = deque()
        self.refused = 0
        """Packets that the other device did not take."""
        loop.watch(source, READABLE, self._on_packets)

    def _on_packets(self, _events: int, now: float) -> None:
        flying = self._flying
        idle = not flying
        for _ in range(_READS_PER_TURN):
            try:
                packet = os.read(self._source, _LARGEST)
            except BlockingIOError:
                break
            flying.extend(self._impairment.carry(packet, now))
        if idle:
            self._deliver(now)

    def _deliver(self, now: float) -> None:
        flying = self._flying
        while flying and flying[0][0] <= now:
            try:
                os.write(self._sink, flying.popleft()[1])
            except OSError:
                self.refused += 1
        if flying:
            self._loop.call_at(flying[0][0], self._deliver)

    def counters(self) -> dict[str, int]:
        """Return what has happened so far."""
        impairment = self._impairment
        return {"carried": impairment.carried, "dropped": impairment.dropped, "refused": self.refused}


class TunStage:
    """Two devices and both directions between them. ``path`` is for each; it must not reorder."""

    def __init__(
        self, loop: EventLoop, left: Device, right: Device, path: Path, *, seed: int = 1, mtu: int = 1500
    ) -> None:
        offload = not (path.loss or path.rate)
        descriptors = []
        for number, (device, peer) in enumerate([(left, right), (right, left)]):
            name = f"imp{os.getpid()}-{number}"
            descriptors.append(open_device(name, offload=offload))
            configure(device, peer, name, mtu)
        there, back = descriptors
        # Dice of their own: what one direction loses does not depend on how many packets the other carries.
        self.there = Direction(loop, there, back, Impairment(path, random.Random(f"{seed} there")))
        self.back = Direction(loop, back, there, Impairment(path, random.Random(f"{seed} back")))

    def counters(self) -> dict[str, dict[str, int]]:
        """Return what has happened so far in both directions."""
        return {"there": self.there.counters(), "back": self.back.counters()}
