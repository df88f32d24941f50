"""What differs between a packet that a line expects and the one that was sent, in plain words."""

from __future__ import annotations

from .ip_wire import ICMP, ICMP6, Captured
from .language import SegmentText
from .wire import FLAGS, QUIET_FLAGS, ScriptError, Segment, format_options, number_matches, pattern


def segment_differences(text: SegmentText, first: int, size: int, got: Segment) -> list[str]:
    """Compare a segment of ours with what a line expects: ``size`` octets from ``first`` on."""
    quiet = QUIET_FLAGS - text.flags - text.absent
    differences = []
    if got.flags - quiet != text.flags:
        differences.append(f"flags: expected {_flags(text.flags)}, got {_flags(got.flags - quiet)}")
    if (text.first is not None or "SYN" in text.flags) and (got.seq, got.length) != (first, size):
        expected = f"{first}:{first + size}" if size else str(first)
        actual = f"{got.seq}:{got.seq + got.length}" if got.length else str(got.seq)
        differences.append(f"seq: expected {expected}, got {actual}")
    elif got.payload and "any-data" not in text.extras and got.payload != pattern(got.seq, got.length):
        differences.append("the data is not what the user wrote")
    for name, wanted, value in (
        ("ack", text.ack, got.ack),
        ("win", text.window, got.window),
        ("urg", text.urgent, got.urgent),
    ):
        if wanted is not None and not number_matches(wanted, value):
            differences.append(f"{name}: expected {wanted}, got {value}")
    if text.options is not None:
        differences += _option_differences(text, got)
    return differences


def icmp_differences(words: list[str], captured: Captured, got: str, last_received: bytes) -> list[str]:
    """Compare an ICMP message of ours with ``TYPE/CODE [quotes] [id N] [sequence N] [data N] [size N]``."""
    payload = captured.payload
    kind, code = (int(number) for number in words.pop(0).split("/"))
    if captured.protocol not in (ICMP, ICMP6) or (payload[0], payload[1]) != (kind, code):
        return [f"got {got}"]
    differences = []
    while words:
        name = words.pop(0)
        if name == "quotes":
            # RFC 1122 section 3.2.2: "Every ICMP error message includes the Internet header and at least the first
            # 8 data octets of the datagram that triggered the error".
            if len(payload) < 36 or not last_received.startswith(payload[8:]):
                differences.append("it does not quote what was received")
            continue
        value = words.pop(0)
        actual = {
            "number": int.from_bytes(payload[4:8], "big"),
            "id": int.from_bytes(payload[4:6], "big"),
            "sequence": int.from_bytes(payload[6:8], "big"),
            "data": len(payload) - 8,
            "size": len(captured.packet),
        }[name]
        if not number_matches(value, actual):
            differences.append(f"{name}: expected {value}, got {actual}")
        if name == "data" and payload[8:] != pattern(0, len(payload) - 8):
            differences.append("the data is not what was sent")
    return differences


def _flags(flags: frozenset[str]) -> str:
    return ",".join(name for name in FLAGS if name in flags) or "none"


def _option_differences(text: SegmentText, got: Segment) -> list[str]:
    differences = []
    present = dict(got.options)
    for name, arguments in text.options or []:
        actual = present.get(name)
        wanted = tuple(str(argument) for argument in arguments)
        if actual is None:
            differences.append(f"option {name}: expected, but the options are <{format_options(got.options)}>")
        elif len(wanted) != len(actual) or not all(
            expected in ("any", str(value)) for expected, value in zip(wanted, actual, strict=False)
        ):
            differences.append(f"option {name}: expected {' '.join(wanted)}, got {' '.join(map(str, actual))}")
    differences += [f"option {name}: must not be there" for name in text.absent_options if name in present]
    if not text.options and not text.absent_options and set(present) - {"nop"}:
        differences.append(f"expected no options, got <{format_options(got.options)}>")
    return differences


def ip_differences(wanted: dict[str, str], captured: Captured) -> list[str]:
    """Compare the IP header of a packet of ours with what a script asks for."""
    actual = captured.fields
    differences = []
    for name, value in wanted.items():
        if name not in actual:
            raise ScriptError(f"the IP header has no {name}")
        text = {"yes": "1", "no": "0"}.get(value, value)
        if not number_matches(text, actual[name]):
            differences.append(f"IP {name}: expected {text}, got {actual[name]}")
    return differences
