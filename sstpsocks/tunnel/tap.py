"""Who is shown the traffic of a tunnel: a capture, a trace, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .settings import TunnelSettings


class Tap(Protocol):
    """Somebody who is shown the traffic of a tunnel. Times are trio's clock, in seconds; nothing of it raises."""

    def packet(self, data: bytes | memoryview, now: float, outbound: bool) -> None:
        """Take one IP packet; ``outbound`` means towards the server."""
        ...

    def control(self, packet: bytes, now: float, outbound: bool) -> None:
        """Take one SSTP packet that is not an IP packet of an open link."""
        ...

    def note(self, text: str) -> None:
        """Take something worth knowing about the packets that follow."""
        ...

    def flush(self, now: float) -> None:
        """Write what waits to be written."""
        ...

    def close(self) -> None:
        """End; ending again does nothing."""
        ...


class Taps:
    """Several at once."""

    def __init__(self, *taps: Tap) -> None:
        self._taps = taps

    def packet(self, data: bytes | memoryview, now: float, outbound: bool) -> None:
        """Show an IP packet to each."""
        for tap in self._taps:
            tap.packet(data, now, outbound)

    def control(self, packet: bytes, now: float, outbound: bool) -> None:
        """Show another packet to each."""
        for tap in self._taps:
            tap.control(packet, now, outbound)

    def note(self, text: str) -> None:
        """Tell each."""
        for tap in self._taps:
            tap.note(text)

    def flush(self, now: float) -> None:
        """Have each write what waits."""
        for tap in self._taps:
            tap.flush(now)

    def close(self) -> None:
        """End each."""
        for tap in self._taps:
            tap.close()


def open_tap(settings: TunnelSettings) -> Tap | None:
    """Return what the settings want the packets shown to, None for nothing. Raises ConfigError."""
    taps: list[Tap] = []
    label = settings.label or settings.server
    # dpkt takes its time to load, and hardly anybody wants a capture; nor the words for all packets.
    if settings.trace:
        from .trace.tap import TraceTap

        taps.append(TraceTap(label))
    if settings.pcap_file is not None:
        from .taps import PcapTap

        taps.append(
            PcapTap(
                settings.pcap_file,
                name=label,
                description=settings.server,
                size=settings.pcap_size,
                count=settings.pcap_files,
            )
        )
    return taps[0] if len(taps) == 1 else Taps(*taps) if taps else None
