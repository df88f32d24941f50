"""The packets of ``send`` lines."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address

from .ip_wire import (
    ICMP,
    ICMP6,
    TCP,
    UDP,
    Fields,
    IPAddress,
    addresses,
    build_fragment,
    build_icmp,
    build_ip,
    build_udp,
)
from .language import SegmentText, read_fields, read_segment_text
from .peer import Peer
from .wire import MASK, Options, ScriptError, Segment, build_segment, pattern

_SAME_TIME = 0.002


class Arrivals:
    """Builds what a peer sends."""

    def __init__(self, last_sent: Mapping[int, bytes]) -> None:
        self._last_sent = last_sent
        """The last packet of ours by protocol, for ICMP errors about it."""
        self._datagrams: dict[str, tuple[int, bytes]] = {}
        """Protocol and payload by name, for fragments."""

    def packets(self, words: tuple[str, ...], peer: Peer) -> list[tuple[bytes, str]]:
        """Return what one line sends: packets, and how a trace shows them."""
        fields = read_fields(words[-1][3:-1]) if words[-1].startswith("ip{") else {}
        ends = addresses(fields, peer.address, peer.ours)
        icmp = ICMP if isinstance(peer.address, IPv4Address) else ICMP6
        match words[0]:
            case "UDP":
                checksum = words[3] if len(words) > 3 and not words[3].startswith("ip{") else "good"
                packet = build_ip(_datagram(words[1], words[2], ends, checksum), UDP, *ends, fields)
            case "ICMP":
                packet = build_ip(self._icmp(words[1:], peer, ends), icmp, *ends, fields)
            case "IP":
                packet = build_ip(pattern(0, int(words[2])), int(words[1]), *ends, fields)
            case "fragment":
                packet = self._fragment(words, fields, ends)
            case _:
                us = (peer.ours, peer.local_port)
                return [
                    (build_segment(segment, peer.endpoint, us, peer.iss, peer.our_iss), str(segment))
                    for segment in _segments(read_segment_text(words), peer)
                ]
        return [(packet, " ".join(words))]

    def name_datagram(self, words: tuple[str, ...], peer: Peer) -> None:
        """``datagram NAME UDP FROM>TO SIZE``, ``datagram NAME echo SIZE`` or ``datagram NAME TCP`` and a segment: what
        fragments are cut from.
        """
        name, protocol = words[:2]
        ends = (peer.address, peer.ours)
        if protocol == "UDP":
            self._datagrams[name] = (UDP, _datagram(words[2], words[3], ends))
        elif protocol == "echo":
            body = struct.pack("!HH", 1, 1) + pattern(0, int(words[2]))
            ipv4 = isinstance(peer.address, IPv4Address)
            self._datagrams[name] = (ICMP if ipv4 else ICMP6, build_icmp(8 if ipv4 else 128, 0, body, *ends))
        elif protocol == "TCP":
            (segment,) = _segments(read_segment_text(words[2:]), peer)
            us = (peer.ours, peer.local_port)
            packet = build_segment(segment, peer.endpoint, us, peer.iss, peer.our_iss)
            self._datagrams[name] = (TCP, packet[20 if isinstance(peer.address, IPv4Address) else 40 :])
        else:
            raise ScriptError(f"no such datagram: {protocol}")

    def _icmp(self, words: tuple[str, ...], peer: Peer, ends: tuple[IPAddress, IPAddress]) -> bytes:
        """``TYPE/CODE id N sequence N data SIZE``: no error; or ``TYPE/CODE [mtu N] [length N] seq N``: about a segment
        of ours that began there; or ``TYPE/CODE [mtu N] about UDP|ICMP|TCP``: about our last packet of that protocol;
        or ``TYPE/CODE body HEX``.
        """
        kind, code = (int(number) for number in words[0].split("/"))
        values = {"mtu": "0", "length": "1040", "id": "0", "sequence": "0", "data": "0"}
        rest = [word for word in words[1:] if not word.startswith("ip{") and word != "bad-checksum"]
        for name, value in zip(rest[::2], rest[1::2], strict=True):
            if name not in values and name not in ("seq", "about", "body"):
                raise ScriptError(f"ICMP has no {name}")
            values[name] = value
        ipv4 = isinstance(peer.address, IPv4Address)
        # The MTU of "fragmentation needed" is the low half of the word that is all MTU in "packet too big".
        body = struct.pack("!I", int(values["mtu"]))
        if "body" in values:
            body = bytes.fromhex(values["body"])
        elif "about" in values:
            number = {"ICMP": ICMP if ipv4 else ICMP6, "TCP": TCP, "UDP": UDP}[values["about"]]
            body += self._last_sent[number][: 28 if ipv4 else 1000]
        elif "seq" in values:
            seq = (peer.our_iss + int(values["seq"])) & MASK
            quoted = struct.pack("!HHI", peer.local_port, peer.port, seq)
            length = int(values["length"])
            shape = {"length": str(length if ipv4 else length - 40), "ttl": "1"}
            body += build_ip(quoted, TCP, peer.ours, peer.address, shape)
        else:
            body = struct.pack("!HH", int(values["id"]), int(values["sequence"])) + pattern(0, int(values["data"]))
        return build_icmp(kind, code, body, *ends, bad_checksum="bad-checksum" in words)

    def _fragment(self, words: tuple[str, ...], fields: Fields, ends: tuple[IPAddress, IPAddress]) -> bytes:
        """``fragment NAME FIRST:END [more|last] [zeros] [ip{...}]``."""
        protocol, octets = self._datagrams[words[1]]
        first, end = (int(edge) for edge in words[2].split(":"))
        fields = {"id": str(list(self._datagrams).index(words[1]) + 7), **fields}
        more = "more" in words or (end < len(octets) and "last" not in words)
        payload = octets[first:end]
        if "zeros" in words:
            payload = bytes(len(payload))
        return build_fragment(payload, protocol, first, more, ends, fields)


def _datagram(ports: str, size: str, ends: tuple[IPAddress, IPAddress], checksum: str = "good") -> bytes:
    source, destination = ports.split(">")
    return build_udp((int(source), int(destination)), pattern(0, int(size)), *ends, checksum)


def _echo(options: Options, peer: Peer) -> Options:
    """Fill in the timestamp that ``TS 5 echo`` echoes, our last, or ``TS 5 echo@1.5``, that of what left then."""
    filled: Options = []
    for name, arguments in options:
        if name == "TS" and str(arguments[1]).startswith("echo"):
            _, _, at = str(arguments[1]).partition("@")
            found = [tsval for sent_at, tsval in peer.timestamps if not at or abs(sent_at - float(at)) < _SAME_TIME]
            if not found:
                raise ScriptError(f"there is no timestamp to {arguments[1]}")
            arguments = (arguments[0], found[-1])
        filled.append((name, arguments))
    return filled


def _segments(text: SegmentText, peer: Peer) -> list[Segment]:
    """Return the segments that one line stands for."""
    if text.first is None and "SYN" not in text.flags:
        raise ScriptError("which sequence number?")
    if ("ACK" in text.flags) != (text.ack is not None):
        raise ScriptError("a segment has an ack number if and only if it has the ACK flag")
    first = text.first or 0
    end = first if text.end is None else text.end
    options = _echo(text.options or [], peer)
    segments = []
    while True:
        size = min(end - first, text.step)
        # Data begins behind the SYN's own number.
        payload = bytes(size) if "zeros" in text.extras else pattern(first + ("SYN" in text.flags), size)
        segments.append(
            Segment(
                text.flags,
                first,
                size,
                int(text.ack or 0),
                int(text.window or 60_000),
                int(text.urgent or 0),
                options,
                payload,
                text.ip,
            )
        )
        first += size
        if first >= end:
            return segments
