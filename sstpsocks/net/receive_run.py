"""The receive run: a batch of IP packets, most of them the next expected segment of a bulk transfer.

Theory of operation. This is Van Jacobson's header prediction, for a whole batch: in a transfer nearly every packet has
no IP options, is no fragment, carries only ACK or PSH (and timestamps, if those are used), bears no mark of congestion
that ECN would tell of, and is exactly the next in sequence. For those everything RFC 9293 section 3.10.7.4 does comes
down to a few comparisons, made here on local variables that live across packets of one flow. Whatever differs in any
way goes through the slow path, which is the complete TCP; both leave the same state, which a property test compares.
Checksums are verified before anything is believed.

One struct for each IP version reads the headers; its field of addresses and ports together finds the connection. A
batch is taken in stretches of one version, so that neither pays for the other. IPv6 packets with extension headers are
the slow path's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from struct import Struct
from typing import TYPE_CHECKING, Final

from ..base.build import COMPILED
from ..base.checksum import checksum
from ..base.seqnum import MASK
from .tcp.connection import TcpConnection
from .tcp.receive import LEFTOVER_PIECES, join_leftovers
from .tcp.recovery import new_ack
from .tcp.segment import TIMESTAMPS_SIZE, TIMESTAMPS_WORD
from .tcp.send import update_send_window

if TYPE_CHECKING:
    from mypy_extensions import i64
if COMPILED:
    from librt.strings import read_i64_be

# Version, header length, type of service | total length | identification, flags, fragment offset | time to live,
# protocol, header checksum | addresses and ports | SEG.SEQ | SEG.ACK | data offset and control bits | SEG.WND
_IPV4_HEADERS: Final = Struct(">HHII12sIIHH")
# Version, traffic class, flow label | its rest | payload length | next header, hop limit | the rest as above
_IPV6_HEADERS: Final = Struct(">HHHH36sIIHH")
_IPV4_IHL_5: Final = 0x45
_FRAGMENT: Final = 0xBFFF
"""Everything in the fragment word but DF (the reserved bit too, which must be zero)."""
_TCP: Final = 6
_NO_PUSH: Final = 0xFFF7
_ACK_ONLY: Final = 0x5010
"""Data offset 5 and only the ACK bit."""
_ACK_AND_TIMESTAMPS: Final = 0x8010
"""Data offset 8: the Timestamps option in the form of RFC 7323 appendix A follows."""
_TIMESTAMPS: Final = Struct(">III")
_OLDER: Final = 0x80000000


def receive_run(
    connections: Mapping[bytes, TcpConnection],
    data: bytes,
    spans: Sequence[tuple[int, int]],
    now: float,
    slow: Callable[[bytes, int, int, float], None],
) -> tuple[int, int]:
    """Take the IP packets ``data[start:end]`` of ``spans`` in order.

    ``connections`` maps the raw addresses and ports of a packet, as they lie in it, to its connection. What cannot be
    predicted is handed to ``slow``, in its place in the order. Payloads are delivered as slices of ``data``, which must
    not change. Return how many packets and how many octets of packets were taken without ``slow``; the caller counts
    them.
    """
    taken = octets_in = 0
    rest = iter(spans)
    first = next(rest, None)
    while first is not None:
        ipv6 = first[1] > first[0] and data[first[0]] >> 4 == 6
        stretch = _stretch(connections, data, chain((first,), rest), now, slow, ipv6)
        taken += stretch[0]
        octets_in += stretch[1]
        first = stretch[2]
    return taken, octets_in


def _stretch(
    connections: Mapping[bytes, TcpConnection],
    data: bytes,
    spans: Iterable[tuple[int, int]],
    now: float,
    slow: Callable[[bytes, int, int, float], None],
    ipv6: bool,
) -> tuple[int, int, tuple[int, int] | None]:
    """Take packets of one IP version; return what receive_run() does, and the span at which the other one begins."""
    view = memoryview(data)
    headers = _IPV6_HEADERS if ipv6 else _IPV4_HEADERS
    ip_size = 40 if ipv6 else 20
    minimum_size = ip_size + 20
    header_size = minimum_size
    # What the pseudo-header adds to the total length: the protocol, less the IP header.
    pseudo = _TCP - ip_size
    unpack = headers.unpack_from
    unpack_timestamps = _TIMESTAMPS.unpack_from
    taken = octets_in = 0
    key = b""
    flow: TcpConnection | None = None
    # Of the present flow, valid while it is not None. The first line counts what was taken since it was loaded.
    packets = segments = octets = 0
    rcv_nxt: i64 = 0
    room: i64 = 0
    snd_una: i64 = 0
    flight: i64 = 0
    snd_wnd: i64 = 0
    wind_shift: i64 = 0
    address_sum: i64 = 0
    last_seq: i64 = 0
    last_ack: i64 = 0
    last_window: i64 = 0
    start: i64
    end: i64
    first: i64
    second: i64
    third: i64
    fourth: i64
    seq: i64
    ack: i64
    control: i64
    window: i64
    timed = False
    expected_control = _ACK_ONLY
    # Where the ECN field is, and what it must not be: CE is for the slow path, unless ECN is not used.
    ecn_field = 0x30 if ipv6 else 0x03
    congestion_experienced = ecn_field
    ts_recent = last_ack_sent = 0
    stamps: tuple[i64, i64, i64] = (0, 0, 0)
    pieces: list[memoryview] = []
    append = pieces.append
    for start, end in spans:
        octets_in += end - start
        if end - start >= minimum_size:
            if COMPILED:
                first, second, third, fourth, packet_key, seq, ack, control, window = _read_headers(data, start, ipv6)
            else:
                first, second, third, fourth, packet_key, seq, ack, control, window = unpack(data, start)
            if packet_key != key:
                if packets and flow is not None:
                    _finish(flow, rcv_nxt, segments, octets, last_seq, last_ack, last_window, now)
                    taken += packets
                packets = segments = octets = 0
                key = packet_key
                flow = connections.get(packet_key)
                if flow is not None:
                    if flow.predictable:
                        rcv_nxt = flow.rcv_nxt
                        room = (flow.rcv_adv - rcv_nxt) & MASK
                        if flow.host.memory.short:
                            room = min(room, max(flow.host.memory.share - flow.readable, 0))
                        snd_una = flow.snd_una
                        flight = flow.flight_size
                        snd_wnd = flow.snd_wnd
                        wind_shift = flow.snd_wind_shift
                        address_sum = flow.address_sum
                        congestion_experienced = ecn_field if flow.ecn else -1
                        timed = flow.timestamps
                        if timed:
                            header_size = minimum_size + TIMESTAMPS_SIZE
                            expected_control = _ACK_AND_TIMESTAMPS
                            ts_recent = flow.ts_recent
                            last_ack_sent = flow.last_ack_sent
                        else:
                            header_size = minimum_size
                            expected_control = _ACK_ONLY
                        if len(flow.rcv_pieces) - flow.rcv_joined > LEFTOVER_PIECES:
                            join_leftovers(flow)
                        append = flow.rcv_pieces.append
                    else:
                        flow = None
            if flow is not None:
                total = third + 40 if ipv6 else second
                payload_size = total - header_size
                ahead = (ack - snd_una) & MASK
                if (
                    seq == rcv_nxt
                    and control & _NO_PUSH == expected_control
                    and first & ecn_field != congestion_experienced
                    and (
                        (first >> 12 == 6 and fourth >> 8 == _TCP)
                        if ipv6
                        else (
                            first >> 8 == _IPV4_IHL_5
                            and not third & _FRAGMENT
                            and fourth >> 16 & 0xFF == _TCP
                            # The header checksum.
                            and not (first + second + third + fourth + address_sum) % 0xFFFF
                        )
                    )
                    and 0 <= payload_size <= room
                    and total <= end - start
                    # An empty one that acknowledges nothing new is a duplicate ACK or a window update.
                    and (ahead <= flight if ahead else payload_size)
                    and (
                        not timed
                        or (
                            (
                                stamps := _read_timestamps(data, start + minimum_size)
                                if COMPILED
                                else unpack_timestamps(data, start + minimum_size)
                            )[0]
                            == TIMESTAMPS_WORD
                            # PAWS, RFC 7323 section 5.3 R1.
                            and (stamps[1] - ts_recent) & MASK < _OLDER
                        )
                    )
                    and not checksum(data, start + ip_size, start + total, address_sum + pseudo + total)
                ):
                    if timed:
                        flow.ts_ecr = stamps[2]
                        # RFC 7323 section 4.3 (2), where SEG.SEQ is RCV.NXT.
                        if seq == last_ack_sent:
                            ts_recent = flow.ts_recent = stamps[1]
                            flow.ts_recent_age = now
                    packets += 1
                    window <<= wind_shift
                    if ahead:
                        new_ack(flow, ack, now)
                        snd_una = ack
                        flight -= ahead
                    if window != snd_wnd:
                        update_send_window(flow, seq, ack, window)
                        snd_wnd = flow.snd_wnd
                    last_seq = seq
                    last_ack = ack
                    last_window = window
                    if payload_size:
                        append(view[start + header_size : start + total])
                        rcv_nxt = (seq + payload_size) & MASK
                        room -= payload_size
                        octets += payload_size
                        segments += 1
                    if not snd_wnd:
                        # A closed window is the slow path's business from the next packet on.
                        _finish(flow, rcv_nxt, segments, octets, last_seq, last_ack, last_window, now)
                        taken += packets
                        packets = segments = octets = 0
                        flow = None
                        key = b""
                    continue
        if packets and flow is not None:
            _finish(flow, rcv_nxt, segments, octets, last_seq, last_ack, last_window, now)
            taken += packets
        packets = segments = octets = 0
        flow = None
        # The slow path may make the flow predictable, so it is looked up again.
        key = b""
        if end > start and (data[start] >> 4 == 6) is not ipv6:
            return taken, octets_in - (end - start), (start, end)
        slow(data, start, end, now)
    if packets and flow is not None:
        _finish(flow, rcv_nxt, segments, octets, last_seq, last_ack, last_window, now)
        taken += packets
    return taken, octets_in, None


def _finish(
    flow: TcpConnection, rcv_nxt: int, segments: int, octets: int, seq: int, ack: int, window: int, now: float
) -> None:
    """Write the local variables back and let the connection report; ``seq``, ``ack``, ``window``: the last packet's."""
    flow.rcv_nxt = rcv_nxt
    update_send_window(flow, seq, ack, window)
    flow.run_received(segments, octets, now)


def _read_headers(data: bytes, start: i64, ipv6: bool) -> tuple[i64, i64, i64, i64, bytes, i64, i64, i64, i64]:
    """As the structs do; the caller has compared the length of ``data``."""
    word = read_i64_be(data, start)
    if ipv6:
        tcp = start + 44
        numbers = read_i64_be(data, tcp)
        rest = read_i64_be(data, tcp + 8)
        return (
            word >> 48 & 0xFFFF,
            word >> 32 & 0xFFFF,
            word >> 16 & 0xFFFF,
            word & 0xFFFF,
            data[start + 8 : tcp],
            numbers >> 32 & 0xFFFFFFFF,
            numbers & 0xFFFFFFFF,
            rest >> 48 & 0xFFFF,
            rest >> 32 & 0xFFFF,
        )
    tcp = start + 24
    numbers = read_i64_be(data, tcp)
    rest = read_i64_be(data, tcp + 8)
    return (
        word >> 48 & 0xFFFF,
        word >> 32 & 0xFFFF,
        word & 0xFFFFFFFF,
        read_i64_be(data, start + 8) >> 32 & 0xFFFFFFFF,
        data[start + 12 : tcp],
        numbers >> 32 & 0xFFFFFFFF,
        numbers & 0xFFFFFFFF,
        rest >> 48 & 0xFFFF,
        rest >> 32 & 0xFFFF,
    )


def _read_timestamps(data: bytes, start: i64) -> tuple[i64, i64, i64]:
    word = read_i64_be(data, start)
    return word >> 32 & 0xFFFFFFFF, word & 0xFFFFFFFF, read_i64_be(data, start + 4) & 0xFFFFFFFF
