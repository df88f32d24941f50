"""One TCP connection of ours and a peer played by the test, segment by segment.

Numbers are relative, as in tcpdump: our SYN is 0 and the peer's SYN is 0. Flags are letters as in tcpdump: S, F, R, P,
E and W for ECE and CWR, and ``.`` for ACK. Every packet of ours is read by dpkt, so its view and ours must agree,
checksums included.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

import dpkt

from sstpsocks.net.tcp.builder import PacketBuilder
from sstpsocks.net.tcp.config import TcpConfig
from sstpsocks.net.tcp.connection import TcpConnection
from sstpsocks.net.tcp.segment import syn_options
from sstpsocks.net.tcp.tcb import TcpState
from tests.helpers.tcp_host import TcpTestHost

PEER = IPv4Address("10.0.0.2")
PEER_ISS = 0xFFFFFF00
"""Close to the wrap, so that every test crosses it."""
MASK = 0xFFFFFFFF
MSS = 1000
LETTERS = (("S", 2), ("F", 1), ("R", 4), ("P", 8), (".", 16), ("U", 32), ("E", 64), ("W", 128))


@dataclass(frozen=True)
class Sent:
    """A segment of ours."""

    flags: str
    seq: int
    ack: int
    payload: bytes
    window: int
    """As in the header."""
    options: dict[int, bytes]
    ecn: int = 0
    """The ECN codepoint of its packet."""

    @property
    def sack(self) -> list[tuple[int, int]]:
        """The blocks of the SACK option, in relative numbers of the peer."""
        edges = struct.unpack(f">{len(self.options.get(5, b'')) // 4}I", self.options.get(5, b""))
        relative = [(edge - PEER_ISS) & MASK for edge in edges]
        return list(zip(relative[::2], relative[1::2], strict=True))


class Peer:
    """Plays the other end of ``connection``."""

    def __init__(self, config: TcpConfig | None = None, *, mtu: int = 1400) -> None:
        self.host = TcpTestHost("10.0.0.1", mtu=mtu, config=config)
        self.now = 10.0
        self.connection = TcpConnection(self.host, (self.host.address, 50_000), (PEER, 80))
        self._builder = PacketBuilder(PEER.packed, 80, self.host.address.packed, 50_000)
        self.acked = 1
        """What plain sends acknowledge of ours."""
        self.seq = 1
        """Where plain sends begin."""
        self.tsval: int | None = None
        """TSval of what is sent when the timestamps were negotiated; it counts milliseconds of ``now``."""
        self.tsecr = 0
        """The TSval that came from the connection last."""

    def packet(
        self,
        flags: str,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        window: int = 60_000,
        options: bytes = b"",
        ecn: int = 0,
    ) -> bytes:
        bits = sum(bit for letter, bit in LETTERS if letter in flags)
        ack = (self.connection.iss + ack) & MASK if "." in flags else 0
        if self.tsval is not None and "S" not in flags and not options.startswith(b"\x01\x01\x08"):
            options = (
                struct.pack(">BBBBII", 1, 1, 8, 10, (self.tsval + int(self.now * 1000)) & MASK, self.tsecr) + options
            )
        return self._builder.build((PEER_ISS + seq) & MASK, ack, bits, window, payload, options, ecn)

    def send(
        self,
        flags: str,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        window: int = 60_000,
        options: bytes = b"",
        ecn: int = 0,
    ) -> None:
        """Have the connection receive a segment, in a packet with this ECN codepoint."""
        self.host.receive_packet(self.packet(flags, seq, ack, payload, window, options, ecn), self.now)

    def take(self) -> list[Sent]:
        """Return what the connection sends now."""
        return [self._read(packet) for packet in self.host.packets_to_send(self.now)]

    def expect(self, flags: str, seq: int, ack: int = 0, payload: bytes = b"") -> Sent:
        """The connection sends exactly this one segment now."""
        sent = self.take()
        assert len(sent) == 1, sent
        seen = sent[0]
        assert (seen.flags, seen.seq, seen.ack, seen.payload) == (flags, seq, ack, payload)
        return seen

    def expect_nothing(self) -> None:
        assert self.take() == []

    def expect_state(self, state: TcpState) -> None:
        assert self.connection.state is state

    def expect_no_error(self) -> None:
        assert self.connection.error is None

    def wait(self, seconds: float) -> None:
        """Let time pass; timers fire when they are due."""
        end = self.now + seconds
        while (deadline := self.host.poll_at()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.host.handle_timer(self.now)
            if self.host.output:
                break
        else:
            self.now = end

    def wait_and_expect(self, seconds: float, flags: str, seq: int, ack: int = 0, payload: bytes = b"") -> float:
        """Within ``seconds`` the next thing sent is this; return when, counted from now."""
        before = self.now
        self.wait(seconds)
        self.expect(flags, seq, ack, payload)
        return self.now - before

    def read(self) -> bytes:
        """Consume everything readable."""
        data = b"".join(self.connection.pieces())
        self.connection.consume(len(data), self.now)
        return data

    def _read(self, packet: bytes) -> Sent:
        ip = dpkt.ip.IP(packet)
        tcp = ip.data
        assert isinstance(tcp, dpkt.tcp.TCP)
        assert ip.len == len(packet)
        assert ip.df == 1
        assert ip.id == 0
        assert dpkt.in_cksum(packet[:20]) == 0
        pseudo = packet[12:20] + b"\0\x06" + (len(packet) - 20).to_bytes(2, "big")
        assert dpkt.in_cksum(pseudo + packet[20:]) == 0
        assert (ip.src, ip.dst, tcp.sport, tcp.dport) == (self.host.address.packed, PEER.packed, 50_000, 80)
        flags = "".join(letter for letter, bit in LETTERS if tcp.flags & bit)
        ack = (tcp.ack - PEER_ISS) & MASK if "." in flags else 0
        seq = (tcp.seq - self.connection.iss) & MASK
        options = dict(dpkt.tcp.parse_opts(tcp.opts))
        if 8 in options:
            self.tsecr = int.from_bytes(options[8][:4], "big")
        return Sent(flags, seq, ack, bytes(tcp.data), tcp.win, options, ip.tos & 3)


def syn_sent(config: TcpConfig | None = None, *, mtu: int = 1400) -> Peer:
    peer = Peer(config, mtu=mtu)
    peer.connection.open_active(peer.now)
    peer.expect("SEW" if peer.host.config.ecn == "active" else "S", 0)
    return peer


def established(
    config: TcpConfig | None = None,
    *,
    mss: int = MSS,
    wind_shift: int | None = None,
    window: int = 60_000,
    sack: bool = False,
    timestamps: bool = False,
    ecn: bool = False,
) -> Peer:
    """ESTABLISHED after an active open; the round-trip time was 100 ms. With ``sack`` the peer permits SACK, with
    ``timestamps`` it sends them, with ``ecn`` both sides use ECN.
    """
    peer = syn_sent(replace(config or TcpConfig(), ecn="active") if ecn else config)
    peer.now += 0.1
    stamps = None
    if timestamps:
        peer.tsval = 0xFFFFFF00 - int(peer.now * 1000)
        stamps = (0xFFFFFF00, peer.tsecr)
    options = syn_options(mss, wind_shift, sack_permitted=sack, timestamps=stamps)
    peer.send("S.E" if ecn else "S.", 0, 1, window=window, options=options)
    peer.expect(".", 1, 1)
    assert peer.connection.state is TcpState.ESTABLISHED
    return peer


def syn_received() -> Peer:
    """SYN-RECEIVED after a simultaneous open."""
    peer = syn_sent()
    peer.send("S", 0, options=syn_options(MSS, None))
    peer.expect("S.", 0, 1)
    assert peer.connection.state is TcpState.SYN_RECEIVED
    return peer


def fin_wait_1() -> Peer:
    peer = established()
    peer.connection.shutdown(peer.now)
    peer.expect("F.", 1, 1)
    assert peer.connection.state is TcpState.FIN_WAIT_1
    return peer


def fin_wait_2() -> Peer:
    peer = fin_wait_1()
    peer.send(".", 1, 2)
    assert peer.connection.state is TcpState.FIN_WAIT_2
    return peer


def close_wait() -> Peer:
    peer = established()
    peer.send("F.", 1, 1)
    peer.expect(".", 1, 2)
    assert peer.connection.state is TcpState.CLOSE_WAIT
    return peer


def closing() -> Peer:
    peer = fin_wait_1()
    peer.send("F.", 1, 1)
    peer.expect(".", 2, 2)
    assert peer.connection.state is TcpState.CLOSING
    return peer


def last_ack() -> Peer:
    peer = close_wait()
    peer.connection.shutdown(peer.now)
    peer.expect("F.", 1, 2)
    assert peer.connection.state is TcpState.LAST_ACK
    return peer


def time_wait() -> Peer:
    peer = fin_wait_2()
    peer.send("F.", 1, 2)
    peer.expect(".", 2, 2)
    assert peer.connection.state is TcpState.TIME_WAIT
    return peer


def synchronized_states() -> dict[str, Peer]:
    """One connection in each state from ESTABLISHED on."""
    return {
        "ESTABLISHED": established(),
        "FIN-WAIT-1": fin_wait_1(),
        "FIN-WAIT-2": fin_wait_2(),
        "CLOSE-WAIT": close_wait(),
        "CLOSING": closing(),
        "LAST-ACK": last_ack(),
        "TIME-WAIT": time_wait(),
    }
