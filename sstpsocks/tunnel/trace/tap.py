"""The trace: each packet of a tunnel as a line of the logger "sstpsocks.trace".

Where the lines go is up to whoever sets up logging; the program sends them to standard error or to a file.
"""

from __future__ import annotations

import logging

from .control import describe_control
from .packets import describe_packet

TRACE_LOGGER = "sstpsocks.trace"
_LOGGER = logging.getLogger(TRACE_LOGGER)
_EXTRA = {"fields": {"event": "packet"}}


class TraceTap:
    """Tells the packets of one tunnel; ``label`` is what it calls the tunnel."""

    def __init__(self, label: str) -> None:
        self._label = label

    def packet(self, data: bytes | memoryview, now: float, outbound: bool) -> None:
        """Tell an IP packet."""
        self._tell(outbound, describe_packet(bytes(data)))

    def control(self, packet: bytes, now: float, outbound: bool) -> None:
        """Tell an SSTP packet."""
        self._tell(outbound, describe_control(packet))

    def note(self, text: str) -> None:
        """Tell it in a line of its own."""
        _LOGGER.debug("-- %s %s", self._label, text, extra=_EXTRA)

    def flush(self, now: float) -> None:
        """Do nothing: lines are told at once."""

    def close(self) -> None:
        """Do nothing: the logger is not ours."""

    def _tell(self, outbound: bool, text: str) -> None:
        _LOGGER.debug("%s %s %s", "->" if outbound else "<-", self._label, text, extra=_EXTRA)
