"""Transcripts of PPP negotiations as text, played against a PppPeer.

One line is one step:

    >> lcp Configure-Request 1 mru=4087 magic=*     what our end must send next (* stands for anything)
    << lcp Configure-Ack 1 mru=4087 magic=*         what the other end sends (* repeats what our end had there)
    <~ ipcp ...                                     the same with address, control and protocol compressed
    !! LcpOpened peer_mru=1500                      the event that must come next, with a part of its repr
    @3.5                                            let time pass until 3.5 s, or until our end sends or ends

Nothing may be left over: frames and events that no line asks for fail the test.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import IPv4Address

from sstpsocks.ppp.auth import Authenticator
from sstpsocks.ppp.packet import Code, ControlPacket, Option, build_frame, options_to_bytes, parse_frame, parse_options
from sstpsocks.ppp.peer import PppPeer

PROTOCOLS = {
    "ip": 0x0021, "ipv6": 0x0057, "ipcp": 0x8021, "ecp": 0x8053, "ipv6cp": 0x8057, "ccp": 0x80FD, "lcp": 0xC021,
    "pap": 0xC023, "cbcp": 0xC029, "chap": 0xC223, "eap": 0xC227,
}  # fmt: skip
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
LCP_OPTIONS = {
    "mru": 1, "accm": 2, "auth": 3, "quality": 4, "magic": 5, "pfc": 7, "acfc": 8, "callback": 13, "mrru": 17,
    "epdisc": 19,
}  # fmt: skip
IPCP_OPTIONS = {"addresses": 1, "vj": 2, "address": 3, "dns1": 129, "nbns1": 130, "dns2": 131, "nbns2": 132}
IPV6CP_OPTIONS = {"identifier": 1, "compression": 2}
OPTIONS = {"lcp": LCP_OPTIONS, "ipcp": IPCP_OPTIONS, "ipv6cp": IPV6CP_OPTIONS}
NEGOTIATED = {"lcp", "ipcp", "ipv6cp", "ccp", "ecp"}
CODES = {"-".join(word.capitalize() for word in code.name.split("_")): code for code in Code}
CODE_NAMES = {int(code): name for name, code in CODES.items()}


def _option_text(protocol: str, option: Option) -> str:
    names = {number: name for name, number in OPTIONS.get(protocol, {}).items()}
    name = names.get(option.type, f"option{option.type}")
    if not option.value:
        return name
    if protocol == "ipcp" and name not in {"addresses", "vj"} and len(option.value) == 4:
        return f"{name}={IPv4Address(option.value)}"
    if name in {"mru", "mrru"}:
        return f"{name}={int.from_bytes(option.value, 'big')}"
    return f"{name}={option.value.hex()}"


def _option_of(protocol: str, text: str) -> Option:
    name, _, value = text.partition("=")
    numbers = OPTIONS.get(protocol, {})
    number = numbers[name] if name in numbers else int(name.removeprefix("option"))
    if "." in value:
        return Option(number, IPv4Address(value).packed)
    if name in {"mru", "mrru"}:
        return Option(number, int(value).to_bytes(2, "big"))
    return Option(number, bytes.fromhex(value))


def describe(frame: bytes) -> str:
    """Return a frame as a line of a transcript."""
    number, offset = parse_frame(frame)
    protocol = PROTOCOL_NAMES.get(number, f"{number:04x}")
    if number < 0x4000:
        return f"{protocol} {frame[offset:].hex()}"
    packet = ControlPacket.parse(frame[offset:])
    is_control = protocol in NEGOTIATED
    code = CODE_NAMES.get(packet.code, str(packet.code)) if is_control else str(packet.code)
    words = [protocol, code, str(packet.identifier)]
    if is_control and packet.code <= Code.CONFIGURE_REJECT:
        words += [_option_text(protocol, option) for option in parse_options(packet.data)]
    elif packet.data:
        words.append(packet.data.hex())
    return " ".join(words)


def frame_of(line: str, *, compressed: bool = False) -> bytes:
    """Return the frame that a line of a transcript describes."""
    protocol, *words = line.split()
    number = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol, 16)
    if number < 0x4000:
        information = bytes.fromhex("".join(words))
    else:
        code = CODES[words[0]] if words[0] in CODES else int(words[0])
        if protocol in NEGOTIATED and code <= Code.CONFIGURE_REJECT:
            data = options_to_bytes(_option_of(protocol, word) for word in words[2:])
        else:
            data = bytes.fromhex("".join(words[2:]))
        information = ControlPacket(code, int(words[1]), data).to_bytes()
    if not compressed:
        return build_frame(number, information)
    return (bytes((number,)) if number < 0x100 else number.to_bytes(2, "big")) + information


class Playbook:
    """Plays transcripts against one PppPeer, with a clock of its own."""

    def __init__(self, peer: PppPeer, login: Authenticator | None = None) -> None:
        self.peer = peer
        self.now = 0.0
        self.login = login
        """The other end of the authentication: takes our frames of its protocol; "<< login" sends what it has."""
        self._pending: list[bytes] = []
        self._last_magic = ""
        peer.open(self.now)

    def play(self, transcript: str) -> None:
        """Play the lines one after the other."""
        for number, raw in enumerate(transcript.strip().splitlines(), 1):
            line = " ".join(raw.split("#")[0].split())
            if line:
                self._step(line, f"line {number}: {line}")
        assert self._outgoing() == [], "frames left over"
        assert self.peer.next_event() is None, "events left over"

    def _step(self, line: str, where: str) -> None:
        if line.startswith("@"):
            assert self._outgoing() == [], where
            self._advance(float(line[1:]))
            return
        sign, _, text = line.partition(" ")
        if sign == ">>":
            self._expect_frame(text, where)
        elif sign == "!!":
            self._expect_event(text, where)
        else:
            assert sign in {"<<", "<~"}, where
            assert self._outgoing() == [], where
            self._receive(text, compressed=sign == "<~")

    def _outgoing(self) -> list[str]:
        self._pending += self.peer.frames_to_send(self.now)
        return [describe(frame) for frame in self._pending]

    def _expect_frame(self, text: str, where: str) -> None:
        outgoing = self._outgoing()
        assert outgoing, f"{where}: nothing was sent"
        assert fnmatchcase(outgoing[0], text), f"{where}: sent instead: {outgoing}"
        frame = self._pending.pop(0)
        if match := re.fullmatch(r"lcp Configure-Request .*magic=(\w+).*", outgoing[0]):
            self._last_magic = match[1]
        protocol, offset = parse_frame(frame)
        if self.login is not None and protocol == self.login.protocol:
            self.login.receive_packet(frame[offset:], self.now)

    def _expect_event(self, text: str, where: str) -> None:
        event = self.peer.next_event()
        name, _, part = text.partition(" ")
        assert type(event).__name__ == name, f"{where}: {event}"
        assert part in repr(event), f"{where}: {event}"

    def _receive(self, text: str, *, compressed: bool) -> None:
        if text == "login":
            assert self.login is not None
            packets = self.login.packets_to_send(self.now)
            assert packets, "the login has nothing to send"
            prefix = self.login.protocol.to_bytes(2, "big")
            for packet in packets:
                frame = prefix + packet if compressed else build_frame(self.login.protocol, packet)
                self.peer.receive_frame(frame, self.now)
            return
        line = text.replace("magic=*", f"magic={self._last_magic}")
        self.peer.receive_frame(frame_of(line, compressed=compressed), self.now)

    def _advance(self, until: float) -> None:
        while (due := self.peer.poll_at()) is not None and due <= until:
            assert due >= self.now, "a timer in the past"
            self.now = due
            self.peer.handle_timer(self.now)
            assert self.peer.poll_at() != due, "a timer that does not move"
            if self._outgoing() or self.peer.poll_at() is None:
                return
        self.now = until
