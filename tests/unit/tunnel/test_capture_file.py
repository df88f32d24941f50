"""Captures that are rotated, run into a full disk, or lose their folder."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

import dpkt
import pytest

from sstpsocks.tunnel.capture_file import FIRST_PAUSE, CaptureFile, numbered
from sstpsocks.tunnel.taps import PcapTap

from .test_taps import WALL, ping

POSIX = pytest.mark.skipif(os.name != "posix", reason="open files can be removed on POSIX only")


def packets_of(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [bytes(data) for _, data in dpkt.pcapng.Reader(file)]


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """Return the fields of each packet as Wireshark sees them; it must have nothing to complain about."""
    words = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "fields", "-o", "ip.check_checksum:TRUE", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    complaints = [line for line in result.stderr.splitlines() if not line.startswith("Running as user")]
    assert complaints == []
    return [line.split("\t") for line in result.stdout.splitlines()]


class FullDisk:
    """os.write() as on a disk that has so many octets left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if self.left is None:
            return self._write(descriptor, data)
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(descriptor, data[: self.left])
        self.left -= written
        return written


# Rotation


def record_rotating(path: Path, count: int) -> list[bytes]:
    """Record ten packets of 1000 octets into files of at most 2500."""
    tap = PcapTap(str(path), name="work", size=2500, count=count, wall_clock=lambda: WALL)
    packets = [ping(bytes([number]) * 972) for number in range(10)]
    for number, packet in enumerate(packets):
        tap.packet(packet, 5.0 + number, outbound=False)
    tap.close()
    return packets


def test_the_files_together_hold_the_latest_packets_in_order(tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    packets = record_rotating(path, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["inner.1.pcapng", "inner.2.pcapng", "inner.pcapng"]
    found = [packets_of(tmp_path / name) for name in ("inner.2.pcapng", "inner.1.pcapng", "inner.pcapng")]
    assert [packet for file in found for packet in file] == packets[4:]
    assert all(file.stat().st_size <= 2500 for file in tmp_path.iterdir())
    if os.name == "posix":
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


def test_one_file_begins_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    packets = record_rotating(path, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["inner.pcapng"]
    assert packets_of(path) == packets[8:]


def test_a_packet_larger_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    tap = PcapTap(str(tmp_path / "x.pcapng"), size=100, count=2)
    tap.packet(ping(bytes(500)), 1.0, True)
    tap.packet(ping(bytes(501)), 2.0, True)
    tap.close()
    assert packets_of(tmp_path / "x.1.pcapng") == [ping(bytes(500))]
    assert packets_of(tmp_path / "x.pcapng") == [ping(bytes(501))]


def test_the_number_goes_before_the_end_of_the_name() -> None:
    assert numbered("a.b/inner.pcapng", 2) == "a.b/inner.2.pcapng"
    assert numbered("inner", 1) == "inner.1"
    assert numbered("inner.pcapng", 0) == "inner.pcapng"


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_wireshark_opens_each_file_by_itself_with_names_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    tap = PcapTap(str(path), name="work", description="vpn.example:443", size=2500, count=3, wall_clock=lambda: WALL)
    tap.note("tunnel up as 10.0.0.1 \u2713")
    for number in range(6):
        tap.packet(ping(bytes([number]) * 972), 5.0 + number, outbound=bool(number % 2))
    tap.close()
    fields = ("frame.interface_name", "frame.interface_description", "frame.comment", "_ws.malformed")
    for name, comment in (("inner.2", "tunnel up as 10.0.0.1 \u2713"), ("inner.1", ""), ("inner", "")):
        rows = tshark(tmp_path / f"{name}.pcapng", *fields)
        assert rows[0] == ["work", "vpn.example:443", comment, ""]
        assert rows[1] == ["work", "vpn.example:443", "", ""]
    if shutil.which("capinfos") is not None:
        said = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, timeout=60, check=True).stdout
        assert "IP packets inside an SSTP tunnel, vpn.example:443" in said
        assert "sstpsocks" in said


# Failures


def test_a_full_disk_is_told_once_and_when_there_is_room_again_the_capture_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(monkeypatch)
    path = tmp_path / "inner.pcapng"
    packets = [ping(bytes([number]) * 400) for number in range(8)]
    with caplog.at_level(logging.INFO):
        tap = PcapTap(str(path))
        tap.packet(packets[0], 1.0, True)
        tap.flush(1.0)
        disk.left = 100  # not enough for a packet
        tap.packet(packets[1], 2.5, True)
        assert packets_of(path) == packets[:1], "the half packet was cut off"
        tap.packet(packets[2], 3.0, True)
        tap.packet(packets[3], 2.5 + FIRST_PAUSE, True)  # tried again, in vain
        tap.flush(2.5 + FIRST_PAUSE)
        assert tap.recording
        disk.left = None
        later = 2.5 + 4 * FIRST_PAUSE
        tap.packet(packets[4], later, True)
        tap.packet(packets[5], later + 2, True)
        tap.close()
    assert packets_of(path) == [packets[0], packets[4], packets[5]]
    assert [record.getMessage() for record in caplog.records] == [
        f"packet capture to {path} paused, and tried again later: No space left on device",
        f"packet capture to {path} goes on",
    ]
    if shutil.which("tshark") is not None:
        comments = [row[0] for row in tshark(path, "frame.comment")]
        assert comments == ["", "packets before this one that could not be written: 3", ""]


@POSIX
def test_a_vanished_folder_is_told_once_and_when_it_is_back_a_new_file_is_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    path = folder / "inner.pcapng"
    with caplog.at_level(logging.INFO):
        tap = PcapTap(str(path))
        tap.packet(ping(b"before"), 1.0, True)
        tap.flush(1.0)
        shutil.rmtree(folder)
        for second in range(2, 30):
            tap.packet(ping(b"lost"), float(second), True)
        folder.mkdir()
        tap.packet(ping(b"after"), 60.0, True)
        tap.close()
    assert packets_of(path) == [ping(b"after")]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


@POSIX
def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "inner.pcapng"
    tap = PcapTap(str(path))
    tap.packet(ping(b"one"), 1.0, True)
    tap.flush(1.0)
    path.rename(tmp_path / "kept.pcapng")
    tap.packet(ping(b"two"), 2.5, True)
    tap.packet(ping(b"three"), 2.5 + FIRST_PAUSE, True)
    tap.close()
    assert packets_of(tmp_path / "kept.pcapng") == [ping(b"one")]
    assert packets_of(path) == [ping(b"three")]


def test_the_pauses_grow_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    file = CaptureFile(str(tmp_path / "x"), lambda: b"head")
    disk.left = 0
    tries = []
    for second in range(3000):
        if file.ready(float(second)):
            tries.append(second)
            file.add(b"block", float(second))
            file.flush(float(second))
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[:4] == [10, 20, 40, 80]
    assert max(gaps) == 300


@POSIX
def test_nothing_is_renamed_when_the_capture_goes_into_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        tap = PcapTap(f"/dev/fd/{writer}", size=100, count=3)
        for number in range(5):
            tap.packet(ping(bytes(200)), float(number), True)
        tap.close()
        os.close(writer)
        (tmp_path / "read").write_bytes(os.read(reader, 1 << 16))
    finally:
        os.close(reader)
    assert len(packets_of(tmp_path / "read")) == 5
