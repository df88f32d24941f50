"""Bulk transfers without delay: rates, costs, the share of what pyOpenSSL alone could do, fairness among flows."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from benchmarks.cases import Measurement
from benchmarks.figures import jain
from benchmarks.rig import namespaces
from benchmarks.rig.conditions import Conditions
from benchmarks.rig.gateway import Packets
from benchmarks.rig.load import Transfer, bulk
from benchmarks.rig.peers import Peer, RunningPeer
from benchmarks.rig.rig import Rig

SSTP_PPP_HEADER = 8
"""Octets before each IP packet in the TLS stream: MS-SSTP section 2.2.3, and PPP's address, control and protocol."""
LARGEST_RECORD = 16384
LIMIT_MEGABYTES = 150.0


@dataclass
class Bulk:
    """One or more flows in one direction."""

    name: str
    title: str
    direction: str
    conditions: Conditions = field(default_factory=Conditions)
    flows: int = 1
    with_limit: bool = False
    """Whether to measure pyOpenSSL alone after each run of ours."""
    tunnels_only: bool = False
    """Whether to leave out what carries no packets."""
    fresh: bool = False

    def applies(self, peer: Peer) -> bool:
        """Say whether the case is about this peer; all of them move data."""
        return peer.tunnel or not self.tunnels_only

    def run(self, rig: Rig, peer: RunningPeer) -> dict[str, Measurement]:
        """Measure one run."""
        transfer = bulk(rig, peer, self.direction, self.flows, 0.5 if rig.quick else 1.5)
        figures = {"MB/s": Measurement(transfer.octets / transfer.seconds / 1e6)}
        if self.flows > 1:
            figures["slowest/fastest"] = Measurement(min(transfer.flows) / max(transfer.flows))
            figures["Jain's index"] = Measurement(jain(transfer.flows))
        figures |= self.costs(transfer)
        if peer.peer.ours and self.with_limit and transfer.packets is not None:
            figures |= self.limit(rig, transfer, transfer.packets)
        return figures

    def costs(self, transfer: Transfer) -> dict[str, Measurement]:
        """Return what a megabyte and a packet cost, in all and by process."""
        megabytes = transfer.octets / 1e6
        data_packets = self.data_packets(transfer.packets)
        figures = {}
        if transfer.client:
            total = sum(transfer.client.values())
            figures["client CPU ms/MB"] = Measurement(total / megabytes * 1e3, better="less")
            figures["of it in the kernel"] = Measurement(transfer.client_kernel / megabytes * 1e3, better="neither")
            if data_packets:
                figures["client us/packet"] = Measurement(total / data_packets * 1e6, better="less")
        others = {"loader": transfer.loader, "target": transfer.target}
        for name, seconds in {**transfer.client, **transfer.server, **others}.items():
            figures[f"{name}: CPU ms/MB"] = Measurement(seconds / megabytes * 1e3, better="neither")
            if data_packets and name not in others:
                figures[f"{name}: us/packet"] = Measurement(seconds / data_packets * 1e6, better="neither")
        if transfer.packets is not None and data_packets:
            back = transfer.packets.up if self.direction == "down" else transfer.packets.down
            figures["octets/packet"] = Measurement(transfer.octets / data_packets, better="neither")
            figures["packets/ACK"] = Measurement(data_packets / max(back, 1), better="neither")
        return figures

    def data_packets(self, packets: Packets | None) -> int:
        """Return how many packets went in the direction of the data."""
        if packets is None:
            return 0
        return packets.down if self.direction == "down" else packets.up

    def limit(self, rig: Rig, transfer: Transfer, packets: Packets) -> dict[str, Measurement]:
        """Measure pyOpenSSL alone with the same records, and what share of it the run was."""
        per_packet = self.conditions.mtu + SSTP_PPP_HEADER
        in_a_record = self.conditions.pack or LARGEST_RECORD // per_packet
        plaintext_share = transfer.octets / self.data_packets(packets) / per_packet
        lab = rig.gateway.folder / "lab"
        command = [sys.executable, "-m", "benchmarks.limit", self.direction, "--record", str(in_a_record * per_packet)]
        command += ["--certificate", str(lab / "server.pem"), "--key", str(lab / "server.key")]
        command += ["--megabytes", str(LIMIT_MEGABYTES / (10 if rig.quick else 1))]
        alone = float(namespaces.run(*command)) / plaintext_share
        ours = sum(transfer.client.values()) / (transfer.octets / 1e6)
        return {
            "pyOpenSSL alone CPU ms/MB": Measurement(alone * 1e3, better="neither"),
            "share of pyOpenSSL alone": Measurement(alone / ours, better="more"),
        }


def cases() -> list[Bulk]:
    """Return all cases of this file."""
    single = Conditions(pack=1)
    large = Conditions(mtu=4000)
    return [
        Bulk("bulk-down", "Download, packed records", "down", with_limit=True),
        Bulk("bulk-up", "Upload", "up", with_limit=True),
        Bulk("bulk-down-single", "Download, one packet per record", "down", single, with_limit=True, tunnels_only=True),
        Bulk(
            "bulk-up-single",
            "Upload, one packet per record from the server",
            "up",
            single,
            with_limit=True,
            tunnels_only=True,
        ),
        Bulk(
            "bulk-down-4000",
            "Download, packets of up to 4000 octets",
            "down",
            large,
            with_limit=True,
            tunnels_only=True,
        ),
        Bulk("bulk-up-4000", "Upload, packets of up to 4000 octets", "up", large, with_limit=True, tunnels_only=True),
        Bulk("flows-8-down", "8 downloads at once", "down", flows=8),
        Bulk("flows-8-up", "8 uploads at once", "up", flows=8),
        Bulk("flows-64-down", "64 downloads at once", "down", flows=64, tunnels_only=True),
        Bulk("flows-64-up", "64 uploads at once", "up", flows=64, tunnels_only=True),
    ]
