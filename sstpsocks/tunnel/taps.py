"""Copies of the traffic for people who look into it: the inner IP packets as pcapng.

The file tells where it comes from: the tunnel is its interface, a comment names program and server, and the first
packet behind something worth knowing, such as a reconnect or packets that are missing, has a comment that says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from dpkt import pcapng

from .._version import __version__
from ..errors import ConfigError
from .capture_file import CaptureFile

LINKTYPE_RAW = 101
"""IP packets without a link header. dpkt's own DLT_RAW is a number of the BSDs that files must not carry."""
SNAPLEN = 65535
"""Whole packets, whatever their size."""

# draft-ietf-opsawg-pcapng sections 3.5 and 4.1 to 4.3.
_COMMENT = 1
_OS, _PROGRAM = 3, 4
_IF_NAME, _IF_DESCRIPTION = 2, 3
_EPB_FLAGS = 2  # bits 0-1: 01 inbound, 10 outbound
_INBOUND, _OUTBOUND = 1, 2

_LITTLE_ENDIAN = sys.byteorder == "little"  # dpkt writes in the machine's order
_Packet = pcapng.EnhancedPacketBlockLE if _LITTLE_ENDIAN else pcapng.EnhancedPacketBlock
_Section = pcapng.SectionHeaderBlockLE if _LITTLE_ENDIAN else pcapng.SectionHeaderBlock
_Interface = pcapng.InterfaceDescriptionBlockLE if _LITTLE_ENDIAN else pcapng.InterfaceDescriptionBlock
_Option = pcapng.PcapngOptionLE if _LITTLE_ENDIAN else pcapng.PcapngOption


class PcapTap:
    """Writes IP packets to pcapng files that only their owner can read; what fails there never ends the tunnel.

    ``name`` is what the interface is called, ``description`` says where it leads. ``size`` and ``count``: when the next
    file is begun, in octets, and how many are kept (capture_file.py).
    """

    def __init__(
        self,
        path: str,
        *,
        name: str = "tunnel",
        description: str = "",
        size: int | None = None,
        count: int = 1,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Create or empty the file. Raises ConfigError when that is not possible."""
        self._name = name
        self._description = description
        self._wall_clock = wall_clock
        self._offset: float | None = None  # wall-clock time less monotonic time, fixed at the first packet
        self._notes: list[str] = []
        self.packets = 0
        """Packets recorded."""
        try:
            self._file = CaptureFile(path, self._head, size=size, count=count)
        except OSError as error:
            raise ConfigError(
                f"packet capture file {path}: {error.strerror}", path=path, hint="choose another file for --pcap"
            ) from error

    @property
    def recording(self) -> bool:
        """Whether packets are still written, now or when the file can be written again."""
        return self._file.recording

    def packet(self, data: bytes | memoryview, now: float, outbound: bool) -> None:
        """Record one IP packet."""
        if not self._file.ready(now):
            return
        if self._offset is None:
            self._offset = self._wall_clock() - now
        options = _OUTBOUND_OPTIONS if outbound else _INBOUND_OPTIONS
        if self._file.gap:
            self._notes.append(f"packets before this one that could not be written: {self._file.gap}")
        if self._notes:
            options = [_option(_COMMENT, text) for text in self._notes] + options
            self._notes.clear()
        microseconds = round((now + self._offset) * 1_000_000)
        block = _Packet(
            pkt_data=bytes(data), ts_high=microseconds >> 32, ts_low=microseconds & 0xFFFFFFFF, opts=options
        )
        self._file.add(bytes(block), now)
        self.packets += 1

    def control(self, packet: bytes, now: float, outbound: bool) -> None:
        """Leave it out: the log-in is among these packets."""

    def note(self, text: str) -> None:
        """Put it on the next packet."""
        self._notes.append(text)

    def flush(self, now: float) -> None:
        """Write what waits to be written."""
        self._file.flush(now)

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._file.close()

    def _head(self) -> bytes:
        section = _Section(
            opts=[
                _option(_COMMENT, f"IP packets inside an SSTP tunnel, {self._description or self._name}"),
                _option(_OS, sys.platform),
                _option(_PROGRAM, f"sstpsocks {__version__}"),
                _Option(),
            ]
        )
        said = [_option(_IF_DESCRIPTION, self._description)] if self._description else []
        options = [_option(_IF_NAME, self._name), *said, _Option()]
        interface = _Interface(snaplen=SNAPLEN, linktype=LINKTYPE_RAW, opts=options)
        return bytes(section) + bytes(interface)


def _option(code: int, text: str) -> pcapng.PcapngOption:
    """Return an option with UTF-8 text, as section 3.5 wants it."""
    return _Option(code=code, data=text.encode())


def _direction(flags: int) -> list[pcapng.PcapngOption]:
    """Return the options of a packet block that record its direction."""
    return [_Option(code=_EPB_FLAGS, data=flags.to_bytes(4, sys.byteorder)), _Option()]


_INBOUND_OPTIONS, _OUTBOUND_OPTIONS = _direction(_INBOUND), _direction(_OUTBOUND)
