"""Copies of the traffic for people who look into it: the inner IP packets as a pcapng file."""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from collections.abc import Callable

from dpkt import pcapng

from ..errors import ConfigError

_LOGGER = logging.getLogger(__name__)

LINKTYPE_RAW = 101
"""IP packets without a link header. dpkt's own DLT_RAW is a number of the BSDs that files must not carry."""
SNAPLEN = 65535
"""Whole packets, whatever their size."""
FLUSH_INTERVAL = 1.0
"""Seconds after which written packets reach the file, so that it can be watched."""

# draft-ietf-opsawg-pcapng section 4.3: option epb_flags, bits 0-1: 01 inbound, 10 outbound.
_EPB_FLAGS = 2
_INBOUND, _OUTBOUND = 1, 2

_LITTLE_ENDIAN = sys.byteorder == "little"  # dpkt writes in the machine's order
_Block = pcapng.EnhancedPacketBlockLE if _LITTLE_ENDIAN else pcapng.EnhancedPacketBlock
_Option = pcapng.PcapngOptionLE if _LITTLE_ENDIAN else pcapng.PcapngOption


class PcapTap:
    """Writes IP packets to a pcapng file that only its owner can read.

    A failure later on, such as a full disk, stops the recording with one line in the log and never the tunnel.
    """

    def __init__(self, path: str, *, wall_clock: Callable[[], float] = time.time) -> None:
        """Create or empty the file. Raises ConfigError when that is not possible."""
        self._path = path
        self._wall_clock = wall_clock
        self._offset: float | None = None  # wall-clock time less monotonic time, fixed at the first packet
        self._flushed_at = 0.0
        self.packets = 0
        """Packets recorded."""
        try:
            self._file = os.fdopen(_open_private(path), "wb")
        except OSError as error:
            raise ConfigError(
                f"packet capture file {path}: {error.strerror}", path=path, hint="choose another file for --pcap"
            ) from error
        self._open = True
        try:
            self._writer = pcapng.Writer(self._file, snaplen=SNAPLEN, linktype=LINKTYPE_RAW)
            self._file.flush()
        except OSError as error:
            self._stop(error)

    @property
    def recording(self) -> bool:
        """Whether packets are still written."""
        return self._open

    def packet(self, data: bytes | memoryview, now: float, outbound: bool) -> None:
        """Record one IP packet. ``now`` is monotonic, in seconds; ``outbound`` means towards the server."""
        if not self._open:
            return
        if self._offset is None:
            self._offset = self._wall_clock() - now
            self._flushed_at = now
        block = _Block(pkt_data=bytes(data), opts=_OUTBOUND_OPTIONS if outbound else _INBOUND_OPTIONS)
        try:
            self._writer.writepkt(block, now + self._offset)
            self.packets += 1
            if now - self._flushed_at >= FLUSH_INTERVAL:
                self._flushed_at = now
                self._file.flush()
        except OSError as error:
            self._stop(error)

    def close(self) -> None:
        """Write what is buffered and close the file; closing again does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            self._file.close()
        except OSError as error:
            self._report(error)

    def _stop(self, error: OSError) -> None:
        self._open = False
        self._report(error)
        try:
            self._file.close()
        except OSError:
            # The buffered rest could not be written either; the file is closed all the same.
            pass

    def _report(self, error: OSError) -> None:
        _LOGGER.warning("packet capture to %s stopped: %s", self._path, error.strerror or error)


def _direction(flags: int) -> list[pcapng.PcapngOption]:
    """Return the options of a packet block that record its direction."""
    return [_Option(code=_EPB_FLAGS, data=flags.to_bytes(4, sys.byteorder)), _Option()]


_INBOUND_OPTIONS, _OUTBOUND_OPTIONS = _direction(_INBOUND), _direction(_OUTBOUND)


def _open_private(path: str) -> int:
    """Open ``path`` for writing, readable by nobody else: the packets hold what the tunnel was there to protect."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        # A file that was there already keeps its old mode. Pipes and terminals are left as they are.
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and hasattr(os, "fchmod"):
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
