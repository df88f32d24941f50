"""The packets of ``send`` lines."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from .language import SegmentText, read_fields, read_segment_text
from .peer import OURS, Peer
from .wire import MASK, ScriptError, Segment, build_icmp, build_ip, build_segment, build_udp, pattern

_PROTOCOLS = {"ICMP": 1, "TCP": 6, "UDP": 17}


class Arrivals:
    """Builds what a peer sends."""

    def __init__(self, last_sent: Mapping[int, bytes]) -> None:
        self._last_sent = last_sent
        """The last packet of ours by protocol, for ICMP errors about it."""
        self._datagrams: dict[str, tuple[int, bytes]] = {}
        """Protocol and payload by name, for fragments."""

    def packets(self, words: tuple[str, ...], peer: Peer) -> list[tuple[bytes, str]]:
        """Return what one line sends: packets, and how a trace shows them."""
        ip = read_fields(words[-1][3:-1]) if words[-1].startswith("ip{") else {}
        match words[0]:
            case "UDP":
                size = int(words[2])
                checksum = words[3] if len(words) > 3 and not words[3].startswith("ip{") else "good"
                ports = [int(port) for port in words[1].split(">")]
                payload = build_udp((peer.address, ports[0]), (OURS, ports[1]), pattern(0, size), checksum)
                packet = build_ip(payload, 17, peer.address, OURS, ip)
            case "ICMP":
                packet = build_ip(self._icmp(words[1:], peer), 1, peer.address, OURS, ip)
            case "IP":
                packet = build_ip(pattern(0, int(words[2])), int(words[1]), peer.address, OURS, ip)
            case "fragment":
                packet = self._fragment(words, ip, peer)
            case _:
                us = (OURS, peer.local_port)
                return [
                    (build_segment(segment, peer.endpoint, us, peer.iss, peer.our_iss), str(segment))
                    for segment in _segments(read_segment_text(words))
                ]
        return [(packet, " ".join(words))]

    def name_datagram(self, words: tuple[str, ...], peer: Peer) -> None:
        """``datagram NAME UDP FROM>TO SIZE`` or ``datagram NAME echo SIZE``: what fragments are cut from."""
        name, protocol = words[:2]
        if protocol == "UDP":
            ports = [int(port) for port in words[2].split(">")]
            udp = build_udp((peer.address, ports[0]), (OURS, ports[1]), pattern(0, int(words[3])))
            self._datagrams[name] = (17, udp)
        elif protocol == "echo":
            self._datagrams[name] = (1, build_icmp(8, 0, struct.pack("!HH", 1, 1), pattern(0, int(words[2]))))
        else:
            raise ScriptError(f"no such datagram: {protocol}")

    def _icmp(self, words: tuple[str, ...], peer: Peer) -> bytes:
        """``TYPE/CODE id N sequence N data SIZE``: no error; or ``TYPE/CODE [mtu N] [length N] seq N``: about a segment
        of ours that began there; or ``TYPE/CODE [mtu N] about UDP|ICMP|TCP``: about our last packet of that protocol.
        """
        kind, code = (int(number) for number in words[0].split("/"))
        values = {"mtu": "0", "length": "1040", "id": "0", "sequence": "0", "data": "0", "seq": "", "about": ""}
        rest = [word for word in words[1:] if not word.startswith("ip{") and word != "bad-checksum"]
        for name, value in zip(rest[::2], rest[1::2], strict=True):
            if name not in values:
                raise ScriptError(f"ICMP has no {name}")
            values[name] = value
        bad = "bad-checksum" in words
        if not values["about"] and not values["seq"]:
            head = struct.pack("!HH", int(values["id"]), int(values["sequence"]))
            return build_icmp(kind, code, head, pattern(0, int(values["data"])), bad_checksum=bad)
        head = struct.pack("!HH", 0, int(values["mtu"]))
        if values["about"]:
            return build_icmp(kind, code, head, self._last_sent[_PROTOCOLS[values["about"]]][:28], bad_checksum=bad)
        seq = (peer.our_iss + int(values["seq"])) & MASK
        quoted = struct.pack("!HHI", peer.local_port, peer.port, seq)
        quote = build_ip(quoted, 6, OURS, peer.address, {"length": values["length"], "ttl": "1"})
        return build_icmp(kind, code, head, quote, bad_checksum=bad)

    def _fragment(self, words: tuple[str, ...], changes: dict[str, str], peer: Peer) -> bytes:
        """``fragment NAME FIRST:END [more|last] [zeros] [ip{...}]``."""
        protocol, octets = self._datagrams[words[1]]
        first, end = (int(edge) for edge in words[2].split(":"))
        ip = {"id": str(list(self._datagrams).index(words[1]) + 7), "offset": str(first), **changes}
        if "more" in words or (end < len(octets) and "last" not in words):
            ip["mf"] = "yes"
        payload = octets[first:end]
        if "zeros" in words:
            payload = bytes(len(payload))
        return build_ip(payload, protocol, peer.address, OURS, ip)


def _segments(text: SegmentText) -> list[Segment]:
    """Return the segments that one line stands for."""
    if text.first is None and "SYN" not in text.flags:
        raise ScriptError("which sequence number?")
    if ("ACK" in text.flags) != (text.ack is not None):
        raise ScriptError("a segment has an ack number if and only if it has the ACK flag")
    first = text.first or 0
    end = first if text.end is None else text.end
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
                text.options or [],
                payload,
                text.ip,
            )
        )
        first += size
        if first >= end:
            return segments
