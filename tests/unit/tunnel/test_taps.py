"""Packet captures: what other programs find in them, and that they never get in the way."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

import dpkt
import pytest

from sstpsocks.errors import ConfigError
from sstpsocks.tunnel.taps import LINKTYPE_RAW, PcapTap

WALL = 1_700_000_000.0


def ping(text: bytes) -> bytes:
    echo = dpkt.icmp.ICMP(type=8, data=dpkt.icmp.ICMP.Echo(id=1, seq=1, data=text))
    packet = dpkt.ip.IP(p=1, src=b"\x0a\x00\x00\x01", dst=b"\x0a\x00\x00\x02", data=echo)
    packet.len = len(packet)
    return bytes(packet)


def record(path: Path) -> list[bytes]:
    """Record three packets, the last one large, at 50, 50.5 and 53 seconds of a monotonic clock."""
    packets = [ping(b"out"), ping(b"in"), ping(bytes(4000))]
    tap = PcapTap(str(path), wall_clock=lambda: WALL)
    tap.packet(packets[0], 50.0, True)
    tap.packet(memoryview(packets[1]), 50.5, False)
    tap.packet(packets[2], 53.0, outbound=False)
    tap.close()
    tap.close()
    tap.packet(b"late", 54.0, True)
    assert tap.packets == 3
    return packets


def test_dpkt_reads_back_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.pcapng"
    packets = record(path)
    with path.open("rb") as file:
        reader = dpkt.pcapng.Reader(file)
        assert reader.datalink() == LINKTYPE_RAW
        found = list(reader)
    assert [bytes(data) for _, data in found] == packets
    assert [time for time, _ in found] == pytest.approx([WALL, WALL + 0.5, WALL + 3])


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_reads_packets_times_and_directions(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.pcapng"
    record(path)
    fields = ["frame.time_epoch", "ip.src", "icmp.type", "frame.packet_flags_direction", "frame.len"]
    command = ["tshark", "-r", str(path), "-T", "fields", *(word for field in fields for word in ("-e", field))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [float(row[0]) for row in rows] == pytest.approx([WALL, WALL + 0.5, WALL + 3])
    assert [row[1:3] for row in rows] == [["10.0.0.1", "8"]] * 3
    assert [int(row[3], 0) for row in rows] == [2, 1, 1]  # outbound, inbound, inbound
    assert int(rows[2][4]) == 4028


def test_an_hour_later_the_clock_still_counts_from_the_first_packet(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.pcapng"
    times = iter([WALL])
    tap = PcapTap(str(path), wall_clock=lambda: next(times))
    tap.packet(ping(b""), 5.0, True)
    tap.packet(ping(b""), 3605.0, True)
    tap.close()
    with path.open("rb") as file:
        assert [time for time, _ in dpkt.pcapng.Reader(file)] == pytest.approx([WALL, WALL + 3600])


def test_packets_reach_the_file_while_the_tunnel_runs(tmp_path: Path) -> None:
    path = tmp_path / "tunnel.pcapng"
    tap = PcapTap(str(path))
    tap.packet(ping(b"first"), 5.0, True)
    tap.packet(ping(b"second"), 6.5, True)
    with path.open("rb") as file:
        assert len(list(dpkt.pcapng.Reader(file))) == 2
    tap.close()


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_nobody_else_can_read_the_file(tmp_path: Path) -> None:
    fresh, old = tmp_path / "fresh.pcapng", tmp_path / "old.pcapng"
    old.write_bytes(b"x" * 1000)
    old.chmod(0o644)
    for path in (fresh, old):
        PcapTap(str(path)).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size < 1000


def test_a_platform_without_fchmod_records_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fchmod", raising=False)
    record(tmp_path / "tunnel.pcapng")


def test_a_file_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="packet capture file") as caught:
        PcapTap(str(tmp_path / "missing" / "tunnel.pcapng"))
    assert caught.value.path.endswith("tunnel.pcapng")
    with pytest.raises(ConfigError, match="directory"):
        PcapTap(str(tmp_path))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_ends_the_recording_with_one_line_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        tap = PcapTap("/dev/full")
        for second in range(5):
            tap.packet(ping(bytes(4000)), 5.0 + second, True)
        tap.close()
    assert not tap.recording
    assert [record.getMessage() for record in caplog.records] == [
        "packet capture to /dev/full stopped: No space left on device"
    ]
