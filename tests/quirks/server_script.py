"""Transcripts of whole SSTP calls as text, played against the client's link.

The lines are those of ``tests/unit/ppp/ppp_playbook.py``, for the packets of PPP, and these for SSTP:

    >> sstp CALL_CONNECT_REQUEST        what the client must send next; CALL_CONNECTED must bind, too
    << sstp CALL_CONNECT_ACK            what the server sends, in its usual form
    << raw 1001001400060001...          octets of its stream, whatever they are
    << login                            what the server's authentication has to send (<~: in compressed frames)

Steps of PhaseEntered are not told. Nothing else may be left over.
"""

from __future__ import annotations

import hashlib
from collections import deque
from fnmatch import fnmatchcase
from typing import Any

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.link import Link, LinkEvent, PhaseEntered
from sstpsocks.ppp.auth import AuthMethod, AuthSucceeded, Credentials
from sstpsocks.ppp.authenticators import make_server
from sstpsocks.ppp.ipcp import IpcpOption
from sstpsocks.ppp.packet import build_frame, parse_frame
from sstpsocks.ppp.peer import PppConfig, PppPeer
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.crypto_binding import verify_call_connected
from sstpsocks.sstp.packet import (
    HEADER_SIZE,
    ControlPacket,
    HashProtocol,
    MessageType,
    PacketBuffer,
    call_connect_ack,
    call_disconnect,
    encode_data,
    is_control,
)
from tests.unit.ppp.ppp_playbook import describe, frame_of

CERTIFICATE = hashlib.sha512(b"the certificate of a scripted server").digest()
NONCE = bytes.fromhex("412b489aebd7ecc7d08966f26be7cd72b231a0e9210d7c91b308862b0344c435")
PASSWORDS = {"alice": "wonderland", "LAB\\alice": "wonderland", "alice@hub": "wonderland"}
NBNS = frozenset({IpcpOption.PRIMARY_NBNS, IpcpOption.SECONDARY_NBNS})


class ServerScript:
    """Plays transcripts against a client's link, with a clock of its own."""

    def __init__(
        self,
        *methods: AuthMethod,
        username: str = "alice",
        hashes: HashProtocol = HashProtocol.SHA256,
        **config: Any,
    ) -> None:
        """``methods``: what the client may use. ``config``: other things than usual of its PppConfig."""
        usual: dict[str, Any] = {"mru": 1400, "magic_number": False, "unasked": NBNS}
        methods = methods or (AuthMethod.MSCHAPV2, AuthMethod.EAP_MSCHAPV2)
        credentials = Credentials(username, PASSWORDS[username])
        ppp = PppConfig(methods=methods, credentials=credentials, **(usual | config))
        self.link = Link(SstpClient(CERTIFICATE), PppPeer(ppp, SeededEntropy("client")))
        self.now = 0.0
        self.packets: list[bytes] = []
        """The IP packets that came through."""
        self._hashes = hashes
        self._stream = PacketBuffer()
        self._outgoing: deque[bytes] = deque()
        self._events: deque[LinkEvent] = deque()
        self._hlak = bytes(32)
        self.demand(AuthMethod.MSCHAPV2)
        self.link.start(self.now)

    def demand(self, method: AuthMethod, name: str = "SERVER") -> None:
        """Let the server ask the client for a log-in by ``method`` from now on."""
        self._login = make_server(method, PASSWORDS.get, SeededEntropy("server"), name)
        self._login.start(self.now)

    def play(self, transcript: str) -> None:
        """Play the lines one after the other."""
        for number, raw in enumerate(transcript.strip().splitlines(), 1):
            line = " ".join(raw.partition("#")[0].split())
            if line:
                self._step(line, f"line {number}: {line}")
        assert self.sent() == [], "packets left over"
        assert self._told() == [], f"events left over: {self._told()}"

    def send_ip(self, packet: bytes) -> bytes:
        """Let the client send an IP packet; returns the data packet of SSTP."""
        assert self.link.carries_ip
        return self.link.frame_packets([packet])

    def receive_ip(self, packet: bytes) -> None:
        """Let the server send an IP packet in the usual form."""
        self.receive(encode_data(build_frame(0x21, packet)))

    def receive(self, data: bytes) -> None:
        """Let the client take octets of the server's stream."""
        buffer, spans = self.link.receive_data(data, self.now)
        self.packets += [buffer[start:end] for start, end in spans]

    def sent(self) -> list[str]:
        """What the client has sent and no line asked for yet."""
        self._collect()
        while (packet := self._stream.next_packet()) is not None:
            self._outgoing.append(packet)
        return [self._describe(packet) for packet in self._outgoing]

    def _describe(self, packet: bytes) -> str:
        if not is_control(packet):
            assert packet[HEADER_SIZE : HEADER_SIZE + 2] == b"\xff\x03", "the client compresses"
            return describe(packet[HEADER_SIZE:])
        return f"sstp {MessageType(ControlPacket.parse(packet).message_type).name}"

    def _collect(self) -> None:
        """Take what the client sends and tells from where it puts that."""
        for data in self.link.data_to_send(self.now):
            self._stream.feed(data)
        while (event := self.link.next_event()) is not None:
            if not isinstance(event, PhaseEntered):
                self._events.append(event)

    def _let_timers_act(self) -> None:
        self.link.handle_timer(self.now)

    def _told(self) -> list[LinkEvent]:
        self._collect()
        return list(self._events)

    def _step(self, line: str, where: str) -> None:
        if line.startswith("@"):
            assert self.sent() == [], where
            self._advance(float(line[1:]))
            return
        sign, _, text = line.partition(" ")
        if sign == ">>":
            self._expect_packet(text, where)
        elif sign == "!!":
            self._expect_event(text, where)
        else:
            assert sign in {"<<", "<~"}, where
            assert self.sent() == [], where
            self._send(text, compressed=sign == "<~")

    def _expect_packet(self, text: str, where: str) -> None:
        sent = self.sent()
        assert sent, f"{where}: nothing was sent"
        assert fnmatchcase(sent[0], text), f"{where}: sent instead: {sent}"
        packet = self._outgoing.popleft()
        if sent[0] == "sstp CALL_CONNECTED":
            fault = verify_call_connected(
                packet, hlak=self._hlak, nonce=NONCE, certificate_der=CERTIFICATE, offered=self._hashes
            )
            assert fault is None, f"{where}: {fault}"
        elif not is_control(packet):
            frame = packet[HEADER_SIZE:]
            protocol, offset = parse_frame(frame)
            if protocol == self._login.protocol:
                self._login.receive_packet(frame[offset:], self.now)

    def _expect_event(self, text: str, where: str) -> None:
        told = self._told()
        assert told, f"{where}: nothing was told"
        event = self._events.popleft()
        name, _, part = text.partition(" ")
        assert type(event).__name__ == name, f"{where}: {event}"
        assert part in repr(event), f"{where}: {event}"

    def _send(self, text: str, *, compressed: bool) -> None:
        kind, _, rest = text.partition(" ")
        match kind:
            case "raw":
                self.receive(bytes.fromhex(rest))
            case "sstp":
                self.receive(self._control(MessageType[rest]))
            case "login":
                packets = self.login_packets()
                prefix = self._login.protocol.to_bytes(2, "big")
                for packet in packets:
                    frame = prefix + packet if compressed else build_frame(self._login.protocol, packet)
                    self.receive(encode_data(frame))
            case _:
                self.receive(encode_data(frame_of(text, compressed=compressed)))

    def login_packets(self) -> list[bytes]:
        """What the server's authentication has to send: packets of its protocol."""
        packets = self._login.packets_to_send(self.now)
        assert packets, "the login has nothing to send"
        if isinstance(verdict := self._login.next_event(), AuthSucceeded):
            self._hlak = verdict.hlak
        return packets

    def _control(self, message: MessageType) -> bytes:
        if message is MessageType.CALL_CONNECT_ACK:
            return call_connect_ack(self._hashes, NONCE)
        if message is MessageType.CALL_DISCONNECT:
            return call_disconnect()
        return ControlPacket(message, ()).to_bytes()

    def _advance(self, until: float) -> None:
        while (due := self.link.poll_at()) is not None and due <= until:
            assert due >= self.now, "a timer in the past"
            self.now = due
            self._let_timers_act()
            assert self.link.poll_at() != due, "a timer that does not move"
            if self.sent() or self.link.poll_at() is None:
                return
        self.now = until


CALL = """
    >> sstp CALL_CONNECT_REQUEST
    << sstp CALL_CONNECT_ACK
    >> lcp Configure-Request 1 mru=1400
    << lcp Configure-Request 1 mru=1500 auth={auth} magic=0a0b0c0d
    >> lcp Configure-Ack 1 mru=1500 auth={auth} magic=0a0b0c0d
    << lcp Configure-Ack 1 mru=1400
"""
"""A call to an ordinary server, up to the log-in; format() with the authentication that it asks for."""

LOGIN = """
    << login
    >> chap 2 *
    << login
    >> sstp CALL_CONNECTED
    >> ipcp Configure-Request 1 address=0.0.0.0 dns1=0.0.0.0 dns2=0.0.0.0
    << ipcp Configure-Request 1 address=10.0.0.1
    >> ipcp Configure-Ack 1 address=10.0.0.1
    << ipcp Configure-Nak 1 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    >> ipcp Configure-Request 2 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    << ipcp Configure-Ack 2 address=10.0.0.9 dns1=10.0.0.53 dns2=10.0.0.54
    !! LinkUp local=IPv4Address('10.0.0.9'), peer=IPv4Address('10.0.0.1')
"""
"""The log-in by CHAP and the addresses."""


def connected(*, username: str = "alice") -> ServerScript:
    """Return the call to an ordinary server once it carries traffic."""
    script = ServerScript(username=username)
    script.play(CALL.format(auth="c22381") + LOGIN)
    return script
