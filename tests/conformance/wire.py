"""TCP segments of the conformance scripts: as scripts write them, as octets, and back."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from .ip_wire import TCP, Captured, IPAddress, addresses, build_ip, transport_checksum

MASK = 0xFFFFFFFF
FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128}
QUIET_FLAGS = frozenset({"PSH", "ECE", "CWR"})
"""Compared only when a script names them: ``ACK`` matches with and without PSH, ``ACK,!PSH`` without only."""
Options = list[tuple[str, tuple[object, ...]]]
"""(name, arguments): mss, wscale, sackOK, TS, sack, nop, eol, or "raw" with the octets."""
_PATTERN = bytes((index * 7 + (index >> 8) * 13 + 5) & 0xFF for index in range(65521))


class ScriptError(Exception):
    """A line of a script makes no sense."""


def pattern(offset: int, size: int) -> bytes:
    """Return what both ends write: octets ``offset`` to ``offset + size`` of a fixed stream."""
    start = offset % len(_PATTERN)
    repeated = _PATTERN[start:] + _PATTERN * (size // len(_PATTERN) + 1)
    return repeated[:size]


@dataclass
class Segment:
    """A TCP segment with relative numbers."""

    flags: frozenset[str]
    seq: int = 0
    length: int = 0
    """Octets of data."""
    ack: int = 0
    window: int = 60_000
    urgent: int = 0
    options: Options = field(default_factory=list)
    payload: bytes = b""
    ip: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = ",".join(name for name in FLAGS if name in self.flags) or "no flags"
        text += f" seq {self.seq}" + (f":{self.seq + self.length}" if self.length else "")
        if "ACK" in self.flags:
            text += f" ack {self.ack}"
        text += f" win {self.window}"
        if self.options:
            text += f" <{format_options(self.options)}>"
        return text


# --- Options -------------------------------------------------------------------------------------------------------


def format_options(options: Options) -> str:
    """Return options as scripts write them."""
    return ", ".join(" ".join([name, *map(str, arguments)]) for name, arguments in options)


def encode_options(options: Options, *, seq_base: int) -> bytes:
    """Return the octets, padded with zeros to whole words (RFC 9293 section 3.1, MUST-69)."""
    octets = b""
    for name, arguments in options:
        match name:
            case "mss":
                octets += struct.pack("!BBH", 2, 4, _number(arguments[0]))
            case "wscale":
                octets += bytes((3, 3, _number(arguments[0])))
            case "sackOK":
                octets += b"\4\2"
            case "TS":
                octets += struct.pack("!BBII", 8, 10, _number(arguments[0]), _number(arguments[1]))
            case "sack":
                blocks = [str(block).split(":") for block in arguments]
                octets += bytes((5, 2 + 8 * len(blocks)))
                for left, right in blocks:
                    octets += struct.pack("!II", (seq_base + int(left)) & MASK, (seq_base + int(right)) & MASK)
            case "nop":
                octets += b"\1"
            case "eol":
                octets += b"\0"
            case "raw":
                octets += bytes.fromhex(str(arguments[0]))
            case _:
                raise ScriptError(f"no such TCP option: {name}")
    return octets + bytes(-len(octets) % 4)


def decode_options(octets: bytes, *, seq_base: int) -> Options:
    """Read options of ours; anything malformed is a failure of the stack."""
    options: Options = []
    index = 0
    while index < len(octets):
        kind = octets[index]
        if kind == 0:
            assert not any(octets[index:]), f"the padding of options is not zero: {octets.hex()}"
            break
        if kind == 1:
            options.append(("nop", ()))
            index += 1
            continue
        assert index + 1 < len(octets), f"option without a length: {octets.hex()}"
        length = octets[index + 1]
        assert 2 <= length <= len(octets) - index, f"option with an impossible length: {octets.hex()}"
        options.append(_decode_option(kind, octets[index + 2 : index + length], seq_base))
        index += length
    return options


def _decode_option(kind: int, body: bytes, seq_base: int) -> tuple[str, tuple[object, ...]]:
    match kind, len(body):
        case 2, 2:
            return "mss", (int.from_bytes(body, "big"),)
        case 3, 1:
            return "wscale", (body[0],)
        case 4, 0:
            return "sackOK", ()
        case 8, 8:
            return "TS", struct.unpack("!II", body)
        case 5, size if size and size % 8 == 0:
            edges = [(edge - seq_base) & MASK for edge in struct.unpack(f"!{size // 4}I", body)]
            return "sack", tuple(f"{edges[i]}:{edges[i + 1]}" for i in range(0, len(edges), 2))
        case _:
            return "raw", (bytes((kind, len(body) + 2)).hex() + body.hex(),)


def _number(value: object) -> int:
    return int(str(value), 0)


# --- Segments of the peer --------------------------------------------------------------------------------------------


def build_segment(
    segment: Segment,
    source: tuple[IPAddress, int],
    destination: tuple[IPAddress, int],
    seq_base: int,
    ack_base: int,
) -> bytes:
    """Return an IP packet; ``seq_base`` is the sender's ISS, ``ack_base`` the receiver's."""
    options = encode_options(segment.options, seq_base=ack_base)
    bits = sum(FLAGS[name] for name in segment.flags)
    offset = int(segment.ip.get("dataoffset", (20 + len(options)) // 4))
    reserved = int(segment.ip.get("reserved", 0))
    ack = (ack_base + segment.ack) & MASK if "ACK" in segment.flags else 0
    head = struct.pack(
        "!HHIIBBHHH",
        source[1],
        destination[1],
        (seq_base + segment.seq) & MASK,
        ack,
        offset << 4 | reserved,
        bits,
        segment.window,
        0,
        segment.urgent,
    )
    octets = head + options + segment.payload
    value = transport_checksum(octets, TCP, *addresses(segment.ip, source[0], destination[0]))
    if "tcpchecksum" in segment.ip:
        value ^= 0x5555
    octets = octets[:16] + struct.pack("!H", value) + octets[18:]
    return build_ip(octets, TCP, source[0], destination[0], segment.ip)


# --- Segments of ours ------------------------------------------------------------------------------------------------


def read_segment(captured: Captured, seq_base: int, ack_base: int) -> Segment:
    """Return the TCP segment in a packet of ours, with relative numbers."""
    octets = captured.payload
    _, _, seq, ack, offset, bits, window, _, urgent = struct.unpack_from("!HHIIBBHHH", octets)
    assert offset & 15 == 0, "reserved bits are set (RFC 9293 section 3.1)"
    header_size = (offset >> 4) * 4
    assert 20 <= header_size <= len(octets), "impossible data offset"
    payload = octets[header_size:]
    flags = frozenset(name for name, bit in FLAGS.items() if bits & bit)
    return Segment(
        flags,
        (seq - seq_base) & MASK,
        len(payload),
        (ack - ack_base) & MASK if "ACK" in flags else 0,
        window,
        urgent,
        decode_options(octets[20:header_size], seq_base=ack_base),
        payload,
    )


_RANGE = re.compile(r"(\d*)\.\.(\d*)$")


def number_matches(wanted: str, value: int) -> bool:
    """Whether ``value`` is what a script asks for: 5, 5.. (at least), ..5 (at most), 5..9 or any."""
    if wanted == "any":
        return True
    if found := _RANGE.match(wanted):
        return int(found[1] or 0) <= value <= int(found[2] or 1 << 40)
    if not wanted.isdigit():
        raise ScriptError(f"not a number or a range of numbers: {wanted}")
    return value == int(wanted)
