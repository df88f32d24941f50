"""Runs one script against one Stack in virtual time.

Nothing here knows what is right: a script says what arrives and what must be sent, and when. The stack is driven as the
tunnel's driver does it: a batch of packets in, timers at their deadlines, then everything it wants to send.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, fields
from ipaddress import IPv4Address
from pathlib import Path

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack
from sstpsocks.net.tcp.connection import TcpConnection

from .calls import Calls
from .language import SegmentText, Statement, read_fields, read_script, read_segment_text, settings
from .wire import (
    FLAGS,
    MASK,
    QUIET_FLAGS,
    Captured,
    ScriptError,
    Segment,
    build_icmp,
    build_ip,
    build_segment,
    build_udp,
    format_options,
    number_matches,
    pattern,
    read_packet,
    read_segment,
)

HERE = Path(__file__).parent
OURS = IPv4Address("10.0.0.1")
PEER = IPv4Address("10.0.0.2")
PEER_ISS = 0xFFFFFF00
"""Close to the wrap, so that every script crosses it."""
_ORIGIN = 1000.0
"""The stack's clock at script time 0."""
_TOLERANCE = 0.0005
"""How far from the given time something may be sent, in seconds."""
_TRACE = 12
"""Packets before a failure that its message shows."""


class ScriptFailure(AssertionError):
    """The stack did not do what a line says."""


@dataclass
class Peer:
    """A TCP endpoint that the script plays, and the connection of ours with it."""

    name: str
    address: IPv4Address
    port: int
    iss: int = PEER_ISS
    local_port: int = 50_000
    """Our port; where segments to no connection go."""
    our_iss: int = 0
    """The sequence number of our last SYN to this peer, 0 before any."""
    iss_step: int = 0
    """How far that is from the one before, modulo 2**32."""
    connection: TcpConnection | None = None
    written: int = 0
    """Octets that our user gave to send()."""
    read: int = 0
    """Octets that our user took."""

    @property
    def endpoint(self) -> tuple[IPv4Address, int]:
        return (self.address, self.port)


class Interpreter:
    """One run of one script."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mtu = 1040
        self._config: dict[str, str] = {}
        self._stack: Stack | None = None
        self._origin = _ORIGIN
        self.now = _ORIGIN
        """The stack's clock."""
        self.peers = {"a": Peer("a", PEER, 80)}
        self.peer = self.peers["a"]
        """Who sends and is spoken to."""
        self._incoming: list[bytes] = []
        """A batch that has not been handed to the stack."""
        self._sent: deque[Captured] = deque()
        """What the stack sent and no line has expected yet."""
        self._last_sent: dict[int, bytes] = {}
        """The last packet of ours by protocol, for ICMP errors about it."""
        self._last_received = b""
        self._datagrams: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self._trace: deque[str] = deque(maxlen=_TRACE)
        self._statement: Statement | None = None
        self._calls = Calls(self)

    @property
    def stack(self) -> Stack:
        """The stack under test, made when first needed."""
        if self._stack is None:
            types = {field.name: field.type for field in fields(StackConfig)}
            values: dict[str, object] = {}
            for name, value in self._config.items():
                if name not in types:
                    raise ScriptError(f"StackConfig has no {name}")
                values[name] = _config_value(value, str(types[name]))
            config = StackConfig(**values)  # type: ignore[arg-type]  # names were checked, values converted
            self._stack = Stack(OURS, mtu=self._mtu, entropy=SeededEntropy(self._path.name), config=config)
        return self._stack

    def run(self) -> None:
        """Run the script. Raises ScriptFailure when the stack deviates, ScriptError when a line makes no sense."""
        self._run_file(self._path, {})
        self._draw()
        if self._sent:
            raise self._failure(f"at the end of the script unexpected: {self._describe(self._sent[0])}")

    def fail(self, message: str) -> ScriptFailure:
        """Return the failure of the present line, for others to raise."""
        return self._failure(message)

    # --- Lines -------------------------------------------------------------------------------------------------------

    def _run_file(self, path: Path, values: dict[str, str]) -> None:
        line_time = self.now
        for statement in read_script(path, values):
            self._statement = statement
            try:
                if statement.words[0] == "after":
                    self._run_prelude(statement)
                    line_time = self._origin = self.now
                else:
                    line_time = self._run_statement(statement, line_time)
            except ScriptFailure:
                raise
            except ScriptError as error:
                raise ScriptError(f"{statement.where}: {statement.text}\n  {error}") from None
            except AssertionError as error:
                raise self._failure(str(error)) from error
            except Exception as error:
                raise self._failure(f"{type(error).__name__}: {error}") from error

    def _run_prelude(self, statement: Statement) -> None:
        name = statement.words[1]
        path = HERE / "preludes" / f"{name}.txt"
        if not path.exists():
            raise ScriptError(f"no prelude {name}")
        self._run_file(path, settings(statement.words[2:], statement.text))
        self._draw()
        self._statement = statement
        self._require_quiet()

    def _run_statement(self, statement: Statement, line_time: float) -> float:
        """Run one line; return its time on the stack's clock."""
        start, end = line_time, None
        if statement.earliest is not None:
            base = line_time if statement.relative else self._origin
            start = base + statement.earliest
            end = None if statement.latest is None else base + statement.latest
        verb, *arguments = statement.words
        if start < self.now - _TOLERANCE:
            raise ScriptError(f"time goes backwards: it is {self._script_time():.3f} already")
        if verb == "expect" and arguments[:1] != ["nothing"]:
            self._expect(tuple(arguments), start, end)
            return self.now
        if end is not None:
            raise ScriptError("a range of times is for what is expected")
        if verb != "send" or start > self.now + _TOLERANCE:
            self._draw()
        if start > self.now + _TOLERANCE:
            self._require_quiet()
            self._advance(start)
            self._require_quiet()
        self._do(verb, tuple(arguments), statement)
        return max(start, self.now)

    def _do(self, verb: str, arguments: tuple[str, ...], statement: Statement) -> None:
        match verb:
            case "mtu" | "config" if self._stack is not None:
                raise ScriptError(f"{verb} comes before everything else")
            case "mtu":
                self._mtu = int(arguments[0])
            case "config":
                self._config.update(settings(arguments, statement.text))
            case "peer":
                self._choose_peer(arguments)
            case "send":
                self._send(arguments)
            case "expect":
                self._draw()
                self._require_quiet()
            case "datagram":
                self._name_datagram(arguments)
            case "call":
                self._calls.call(arguments)
                self._draw()
            case _:
                self._calls.check(verb, arguments)

    def _choose_peer(self, arguments: tuple[str, ...]) -> None:
        name, *rest = arguments
        if name not in self.peers:
            self.peers[name] = Peer(name, PEER, 80 + len(self.peers), local_port=self.peer.local_port)
        self.peer = self.peers[name]
        for key, value in zip(rest[::2], rest[1::2], strict=True):
            match key:
                case "port":
                    self.peer.port = int(value)
                case "to":
                    self.peer.local_port = int(value)
                case "address":
                    self.peer.address = IPv4Address(value)
                case "iss" if value[0] in "+-":
                    self.peer.iss = (self.peer.iss + int(value)) & MASK
                case "iss":
                    self.peer.iss = int(value)
                case _:
                    raise ScriptError(f"peer has no {key}")

    # --- Time and packets out ----------------------------------------------------------------------------------------

    def _script_time(self) -> float:
        return self.now - self._origin

    def _advance(self, until: float) -> None:
        """Let time pass to ``until``, or to when the stack sends something."""
        unchanged = 0
        while not self._sent:
            deadline = self.stack.poll_at()
            if deadline is None or deadline > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, deadline)
            self.stack.handle_timer(self.now)
            self._draw()
            unchanged = unchanged + 1 if self.stack.poll_at() == deadline else 0
            if unchanged > 3:
                raise self._failure("handle_timer() does not move its deadline forward")

    def _draw(self) -> None:
        """Hand in the batch that waits, and take everything the stack wants to send."""
        if self._stack is None and not self._incoming:
            return
        if self._incoming:
            data = b"".join(self._incoming)
            spans = []
            position = 0
            for packet in self._incoming:
                spans.append((position, position + len(packet)))
                position += len(packet)
            self._incoming.clear()
            self.stack.receive_batch(data, spans, self.now)
        while packets := self.stack.packets_to_send(self.now, 1 << 20):
            for packet in packets:
                captured = read_packet(packet, self._script_time())
                self._last_sent[captured.protocol] = packet
                self._learn(captured)
                self._trace.append(f"  {captured.at:8.3f}  sent      {self._describe(captured)}")
                self._sent.append(captured)

    def _learn(self, captured: Captured) -> None:
        """Take our initial sequence number from a SYN."""
        if captured.protocol != 6:
            return
        octets = captured.packet[captured.ip.hl * 4 :]
        peer = self._peer_of(captured)
        if peer is not None and octets[13] & FLAGS["SYN"]:
            iss = int.from_bytes(octets[4:8], "big")
            if iss != peer.our_iss:
                peer.iss_step = (iss - peer.our_iss) & MASK
            peer.our_iss = iss
            peer.local_port = captured.local_port

    def _peer_of(self, captured: Captured) -> Peer | None:
        for peer in self.peers.values():
            if peer.endpoint == captured.remote:
                return peer
        return None

    def _require_quiet(self) -> None:
        if self._sent:
            raise self._failure(f"unexpected: {self._describe(self._sent[0])} at {self._sent[0].at:.3f}")

    def _describe(self, captured: Captured) -> str:
        if captured.protocol == 6 and not captured.ip.offset:
            peer = self._peer_of(captured)
            base = (peer.our_iss, peer.iss) if peer is not None else (0, 0)
            return str(read_segment(captured, *base)) + (f" to {peer.name}" if peer not in (None, self.peer) else "")
        payload = captured.packet[captured.ip.hl * 4 :]
        if captured.protocol == 1 and not captured.ip.offset:
            return f"ICMP {payload[0]}/{payload[1]} of {len(payload)} octets"
        name = {1: "ICMP", 6: "TCP", 17: "UDP"}.get(captured.protocol, f"protocol {captured.protocol}")
        return f"{name} of {len(payload)} octets"

    def _failure(self, message: str) -> ScriptFailure:
        where = f"{self._statement.where}: {self._statement.text}" if self._statement else self._path.name
        connection = self.peer.connection
        state = f"\n  connection: {connection!r}" if connection is not None else ""
        trace = "\n  the last packets:\n  " + "\n  ".join(self._trace) if self._trace else ""
        return ScriptFailure(f"{where}\n  at {self._script_time():.3f}: {message}{state}{trace}")

    # --- send --------------------------------------------------------------------------------------------------------

    def _send(self, words: tuple[str, ...]) -> None:
        peer = self.peer
        us = (OURS, peer.local_port)
        ip = read_fields(words[-1][3:-1]) if words[-1].startswith("ip{") else {}
        match words[0]:
            case "UDP":
                size = int(words[2])
                checksum = words[3] if len(words) > 3 and not words[3].startswith("ip{") else "good"
                ports = [int(port) for port in words[1].split(">")]
                datagram = build_udp((peer.address, ports[0]), (OURS, ports[1]), pattern(0, size), checksum)
                self._arrive(build_ip(datagram, 17, peer.address, OURS, ip), " ".join(words))
            case "ICMP":
                self._arrive(build_ip(self._icmp(words[1:]), 1, peer.address, OURS, ip), " ".join(words))
            case "IP":
                payload = pattern(0, int(words[2]))
                self._arrive(build_ip(payload, int(words[1]), peer.address, OURS, ip), " ".join(words))
            case "fragment":
                self._arrive(self._fragment(words), " ".join(words))
            case _:
                for segment in self._segments(read_segment_text(words)):
                    packet = build_segment(segment, peer.endpoint, us, peer.iss, peer.our_iss)
                    self._arrive(packet, str(segment))

    def _arrive(self, packet: bytes, text: str) -> None:
        self._incoming.append(packet)
        self._last_received = packet
        self._trace.append(f"  {self._script_time():8.3f}  received  {text}")

    def _segments(self, text: SegmentText) -> list[Segment]:
        """Return the segments that one line of the peer stands for."""
        if text.first is None and "SYN" not in text.flags:
            raise ScriptError("which sequence number?")
        if ("ACK" in text.flags) != (text.ack is not None):
            raise ScriptError("a segment has an ack number if and only if it has the ACK flag")
        first = text.first or 0
        end = first if text.end is None else text.end
        segments = []
        while True:
            size = min(end - first, text.step)
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
                    b"",
                    text.ip,
                )
            )
            first += size
            if first >= end:
                return segments

    def _icmp(self, words: tuple[str, ...]) -> bytes:
        """Build ``TYPE/CODE id N sequence N data SIZE`` or ``TYPE/CODE [mtu N] about seq N|UDP|ICMP|other``."""
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
            number = {"UDP": 17, "ICMP": 1, "TCP": 6}[values["about"]]
            return build_icmp(kind, code, head, self._last_sent[number][:28], bad_checksum=bad)
        peer = self.peer
        seq = (peer.our_iss + int(values["seq"])) & MASK
        quoted = struct.pack("!HHI", peer.local_port, peer.port, seq)
        length = values["length"]
        quote = build_ip(quoted, 6, OURS, peer.address, {"length": length, "ttl": "1"})
        return build_icmp(kind, code, head, quote, bad_checksum=bad)

    def _name_datagram(self, words: tuple[str, ...]) -> None:
        """``datagram NAME UDP FROM>TO SIZE`` or ``datagram NAME echo SIZE``: what fragments are cut from."""
        name, protocol = words[:2]
        if protocol == "UDP":
            ports = [int(port) for port in words[2].split(">")]
            udp = build_udp((self.peer.address, ports[0]), (OURS, ports[1]), pattern(0, int(words[3])))
            self._datagrams[name] = (17, udp, {})
        elif protocol == "echo":
            echo = build_icmp(8, 0, struct.pack("!HH", 1, 1), pattern(0, int(words[2])))
            self._datagrams[name] = (1, echo, {})
        else:
            raise ScriptError(f"no such datagram: {protocol}")

    def _fragment(self, words: tuple[str, ...]) -> bytes:
        """``fragment NAME FIRST:END [more|last|zeros] [ip{...}]``."""
        protocol, octets, _ = self._datagrams[words[1]]
        first, end = (int(edge) for edge in words[2].split(":"))
        ip = read_fields(words[-1][3:-1]) if words[-1].startswith("ip{") else {}
        ip = {"id": str(sorted(self._datagrams).index(words[1]) + 7), "offset": str(first), **ip}
        if "more" in words or (end < len(octets) and "last" not in words):
            ip["mf"] = "yes"
        payload = octets[first:end]
        if "zeros" in words:
            payload = bytes(len(payload))
        return build_ip(payload, protocol, self.peer.address, OURS, ip)

    # --- expect ------------------------------------------------------------------------------------------------------

    def _expect(self, words: tuple[str, ...], start: float, end: float | None) -> None:
        self._draw()
        if start > self.now + _TOLERANCE:
            self._require_quiet()
            self._advance(start - _TOLERANCE)
            self._require_quiet()
        self._advance((start if end is None else end) + (_TOLERANCE if end is None else 0.0))
        if words[0] in ("UDP", "ICMP", "fragment"):
            self._expect_other(words)
            return
        text = read_segment_text(words)
        first, final = text.first or 0, text.end or text.first or 0
        while True:
            size = min(final - first, text.step)
            self._expect_segment(text, first, size)
            first += size
            if first >= final:
                return

    def _next(self, wanted: str) -> Captured:
        if not self._sent:
            raise self._failure(f"expected {wanted}, but nothing was sent")
        return self._sent.popleft()

    def _expect_segment(self, text: SegmentText, first: int, size: int) -> None:
        wanted = ",".join(name for name in FLAGS if name in text.flags) + f" seq {first}"
        wanted += f":{first + size}" if size else ""
        captured = self._next(wanted)
        peer = self._peer_of(captured)
        if captured.protocol != 6 or peer is None:
            raise self._failure(f"expected {wanted}, got {self._describe(captured)} to {captured.remote}")
        got = read_segment(captured, peer.our_iss, peer.iss)
        differences = [] if peer is self.peer else [f"sent to {peer.name}, not to {self.peer.name}"]
        differences += self._segment_differences(text, first, size, got)
        differences += ip_differences(text.ip, captured)
        if differences:
            listed = "\n    ".join(differences)
            raise self._failure(f"the stack sent {got}\n    {listed}")

    def _segment_differences(self, text: SegmentText, first: int, size: int, got: Segment) -> list[str]:
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

    def _expect_other(self, words: tuple[str, ...]) -> None:
        captured = self._next(" ".join(words))
        payload = captured.packet[captured.ip.hl * 4 :]
        differences = []
        rest = list(words[1:])
        if words[-1].startswith("ip{"):
            differences += ip_differences(read_fields(rest.pop()[3:-1]), captured)
        got = self._describe(captured)
        match words[0]:
            case "UDP":
                ports = f"{captured.local_port}>{captured.remote[1]}"
                wanted = rest[0].replace("any", str(captured.local_port))
                if captured.protocol != 17 or ports != wanted or payload[8:] != pattern(0, int(rest[1])):
                    differences.append(f"got {got} {ports}")
            case "fragment":
                first, end = (int(edge) for edge in rest[0].split(":"))
                more = "more" in rest
                if (captured.ip.offset * 8, len(payload), bool(captured.ip.mf)) != (first, end - first, more):
                    differences.append(f"got offset {captured.ip.offset} of {len(payload)} octets, MF {captured.ip.mf}")
            case _:
                differences += self._icmp_differences(rest, payload, captured, got)
        if differences:
            raise self._failure(f"expected {' '.join(words)}: " + "; ".join(differences))

    def _icmp_differences(self, words: list[str], payload: bytes, captured: Captured, got: str) -> list[str]:
        kind, code = (int(number) for number in words.pop(0).split("/"))
        if captured.protocol != 1 or (payload[0], payload[1]) != (kind, code):
            return [f"got {got}"]
        differences = []
        while words:
            name = words.pop(0)
            if name == "quotes":
                # RFC 1122 section 3.2.2: "Every ICMP error message includes the Internet header and at least the first
                # 8 data octets of the datagram that triggered the error".
                if len(payload) < 36 or not self._last_received.startswith(payload[8:]):
                    differences.append("it does not quote what was received")
                continue
            value = words.pop(0)
            actual = {
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
    """Compare the IPv4 header of a packet of ours with what a script asks for."""
    ip = captured.ip
    actual = {
        "ttl": ip.ttl,
        "tos": ip.tos,
        "ect": ip.tos & 3,
        "id": ip.id,
        "size": len(captured.packet),
        "df": int(ip.df),
        "mf": int(ip.mf),
        "ihl": ip.hl,
    }
    differences = []
    for name, value in wanted.items():
        if name not in actual:
            raise ScriptError(f"the IPv4 header has no {name}")
        text = {"yes": "1", "no": "0"}.get(value, value)
        if not number_matches(text, actual[name]):
            differences.append(f"IP {name}: expected {text}, got {actual[name]}")
    return differences


def _config_value(text: str, kind: str) -> object:
    if "bool" in kind:
        return text in ("yes", "true", "on")
    if "float" in kind:
        return None if text == "none" else float(text)
    return int(text) if "int" in kind else text


def run_script(path: Path) -> None:
    """Run one file."""
    Interpreter(path).run()
