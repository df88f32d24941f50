"""Numbers as people read them, and charts of one character a column."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"


def octets(count: float) -> str:
    """Return "12.3 MB": three digits, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError(count)


def rate(octets_a_second: float) -> str:
    """Return "98.1 Mbit/s"."""
    bits = octets_a_second * 8
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if bits < 999.5 or unit == "Gbit/s":
            return f"{bits:.0f} {unit}" if unit == "bit/s" or bits >= 99.95 else f"{bits:.1f} {unit}"
        bits /= 1000
    raise AssertionError(bits)


def milliseconds(seconds: float | None) -> str:
    """Return "12.3 ms", "-" for what was not measured."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.0995 else f"{seconds * 1000:.1f} ms"


def duration(seconds: float) -> str:
    """Return "3 d 04:05:06", "04:05:06" or "5 s"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def chart(
    values: Sequence[float | None], width: int, height: int, *, top: float = 0.0, blocks: bool = True
) -> list[str]:
    """Return ``height`` lines that show the latest ``width`` values; a gap where there is none.

    ``top``: what a full column stands for, at least.
    """
    ramp = _BLOCKS if blocks else _ASCII
    shown = [None] * max(0, width - len(values)) + list(values[-width:] if width else [])
    top = max([top, *(value for value in shown if value is not None)])
    steps = len(ramp) - 1
    levels = [0 if not value or top <= 0 else max(1, round(value / top * height * steps)) for value in shown]
    return [
        "".join(ramp[min(max(level - row * steps, 0), steps)] for level in levels) for row in reversed(range(height))
    ]
