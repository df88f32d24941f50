"""Runs one script against one Stack in virtual time.

Nothing here knows what is right: a script says what arrives and what must be sent, and when. The stack is driven as the
tunnel's driver does it: a batch of packets in, timers at their deadlines, then everything it wants to send.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.net.config import StackConfig
from sstpsocks.net.stack import Stack

from .arrivals import Arrivals
from .calls import Calls
from .compare import icmp_differences, ip_differences, segment_differences
from .ip_wire import ICMP, ICMP6, TCP, UDP, Captured, read_packet
from .language import SegmentText, Statement, read_fields, read_script, read_segment_text, settings
from .peer import OURS, OURS_6, OURS_LINK_LOCAL, PEER, PEER_6, Peer
from .wire import FLAGS, MASK, ScriptError, pattern, read_segment

HERE = Path(__file__).parent
_ORIGIN = 1000.0
"""The stack's clock at script time 0."""
_TOLERANCE = 0.0005
"""How far from the given time something may be sent, in seconds."""
_TRACE = 12
"""Packets before a failure that its message shows."""


class ScriptFailure(AssertionError):
    """The stack did not do what a line says."""


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
        self._trace: deque[str] = deque(maxlen=_TRACE)
        self._statement: Statement | None = None
        self._calls = Calls(self)
        self._arrivals = Arrivals(self._last_sent)

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
            case "mtu" | "config" | "ipv6" if self._stack is not None:
                raise ScriptError(f"{verb} comes before everything else")
            case "mtu":
                self._mtu = int(arguments[0])
            case "config":
                self._config.update(settings(arguments, statement.text))
            case "ipv6":
                self._use_ipv6()
            case "peer":
                self._choose_peer(arguments)
            case "send":
                for packet, text in self._arrivals.packets(arguments, self.peer):
                    self._incoming.append(packet)
                    self._last_received = packet
                    self._trace.append(f"  {self._script_time():8.3f}  received  {text}")
            case "expect":
                self._draw()
                self._require_quiet()
            case "datagram":
                self._arrivals.name_datagram(arguments, self.peer)
            case "call":
                self._calls.call(arguments)
                self._draw()
            case _:
                self._calls.check(verb, arguments)

    def _use_ipv6(self) -> None:
        """Speak IPv6 from here on, on a link of at least 1280 octets."""
        self._mtu = max(self._mtu, 1280)
        self.peer.address = PEER_6
        self.stack.add_address(OURS_LINK_LOCAL, 64)
        self.stack.add_address(OURS_6, 64)

    def _choose_peer(self, arguments: tuple[str, ...]) -> None:
        name, *rest = arguments
        if name not in self.peers:
            self.peers[name] = Peer(name, self.peer.address, 80 + len(self.peers), local_port=self.peer.local_port)
        self.peer = self.peers[name]
        for key, value in zip(rest[::2], rest[1::2], strict=True):
            match key:
                case "port":
                    self.peer.port = int(value)
                case "to":
                    self.peer.local_port = int(value)
                case "address":
                    self.peer.address = ip_address(value)
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
                # RFC 9293 section 3.9.1.1 (MUST-45), RFC 1122 section 3.2.1.3: the source is the host's own address.
                assert captured.source in self.stack.local_addresses, f"sent from {captured.source}"
                self._last_sent[captured.protocol] = packet
                self._learn(captured)
                self._trace.append(f"  {captured.at:8.3f}  sent      {self._describe(captured)}")
                self._sent.append(captured)

    def _learn(self, captured: Captured) -> None:
        """Take our initial sequence number from a SYN."""
        if captured.protocol != TCP or captured.is_fragment:
            return
        octets = captured.payload
        peer = self._peer_of(captured)
        if peer is None:
            return
        segment = read_segment(captured, 0, 0)
        peer.timestamps += [(captured.at, int(str(value[0]))) for name, value in segment.options if name == "TS"]
        if octets[13] & FLAGS["SYN"]:
            iss = int.from_bytes(octets[4:8], "big")
            if iss != peer.our_iss:
                peer.iss_step = (iss - peer.our_iss) & MASK
            peer.our_iss = iss
            peer.local_port = captured.local_port

    def _peer_of(self, captured: Captured) -> Peer | None:
        for peer in self.peers.values():
            if peer.endpoint == (captured.destination, captured.remote_port):
                return peer
        return None

    def _require_quiet(self) -> None:
        if self._sent:
            raise self._failure(f"unexpected: {self._describe(self._sent[0])} at {self._sent[0].at:.3f}")

    def _describe(self, captured: Captured) -> str:
        payload = captured.payload
        if captured.protocol == TCP and not captured.is_fragment:
            peer = self._peer_of(captured)
            base = (peer.our_iss, peer.iss) if peer is not None else (0, 0)
            return str(read_segment(captured, *base)) + (f" to {peer.name}" if peer not in (None, self.peer) else "")
        if captured.protocol in (ICMP, ICMP6) and not captured.is_fragment:
            return f"ICMP {payload[0]}/{payload[1]} of {len(payload)} octets"
        name = {ICMP: "ICMP", ICMP6: "ICMP", TCP: "TCP", UDP: "UDP"}.get(captured.protocol, str(captured.protocol))
        return f"{name} of {len(payload)} octets" + (" in a fragment" if captured.is_fragment else "")

    def _failure(self, message: str) -> ScriptFailure:
        where = f"{self._statement.where}: {self._statement.text}" if self._statement else self._path.name
        connection = self.peer.connection
        state = f"\n  connection: {connection!r}" if connection is not None else ""
        trace = "\n  the last packets:\n  " + "\n  ".join(self._trace) if self._trace else ""
        return ScriptFailure(f"{where}\n  at {self._script_time():.3f}: {message}{state}{trace}")

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
        if captured.protocol != TCP or peer is None:
            raise self._failure(f"expected {wanted}, got {self._describe(captured)} to {captured.destination}")
        got = read_segment(captured, peer.our_iss, peer.iss)
        differences = [] if peer is self.peer else [f"sent to {peer.name}, not to {self.peer.name}"]
        differences += segment_differences(text, first, size, got)
        differences += ip_differences(text.ip, captured)
        if differences:
            listed = "\n    ".join(differences)
            raise self._failure(f"the stack sent {got}\n    {listed}")

    def _expect_other(self, words: tuple[str, ...]) -> None:
        captured = self._next(" ".join(words))
        payload = captured.payload
        differences = []
        rest = list(words[1:])
        if words[-1].startswith("ip{"):
            differences += ip_differences(read_fields(rest.pop()[3:-1]), captured)
        got = self._describe(captured)
        match words[0]:
            case "UDP":
                ports = f"{captured.local_port}>{captured.remote_port}"
                wanted = rest[0].replace("any", str(captured.local_port))
                if captured.protocol != UDP or ports != wanted or payload[8:] != pattern(0, int(rest[1])):
                    differences.append(f"got {got} {ports}")
            case "fragment":
                first, end = (int(edge) for edge in rest[0].split(":"))
                fields = captured.fields
                if (fields["offset"], len(payload), fields["mf"]) != (first, end - first, int("more" in rest)):
                    differences.append(f"got {len(payload)} octets at {fields['offset']}, more {fields['mf']}")
            case _:
                differences += icmp_differences(rest, captured, got, self._last_received)
        if differences:
            raise self._failure(f"expected {' '.join(words)}: " + "; ".join(differences))


def _config_value(text: str, kind: str) -> object:
    if "bool" in kind:
        return text in ("yes", "true", "on")
    if "float" in kind:
        return None if text == "none" else float(text)
    return int(text) if "int" in kind else text


def run_script(path: Path) -> None:
    """Run one file."""
    Interpreter(path).run()
