"""An SSTP client and server on one simulated connection, in virtual time, with any single packet lost.

TLS loses nothing, but a middlebox, a bug on the other side or a stalled peer can make a message missing all the
same: then the call must still come up or end cleanly, and always within its timers.
"""

from __future__ import annotations

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.events import (
    CallAccepted,
    CallConnected,
    CallEnded,
    EchoRequested,
    EndReason,
    FrameReceived,
    SstpEvent,
)
from sstpsocks.sstp.machine import SstpMachine
from sstpsocks.sstp.packet import HashProtocol
from sstpsocks.sstp.server import SstpServer

CERTIFICATE = b"the certificate of the server"
HLAK = bytes(range(32))

# A PPP in three frames: log-in, its success, and an address negotiation that the server answers.
LOGIN = bytes.fromhex("ff03c02301000004")
SUCCESS = bytes.fromhex("ff03c02302000004")
ADDRESS_REQUEST = bytes.fromhex("ff03802101000004")
ADDRESS_ACK = bytes.fromhex("ff03802102000004")
IP_THERE = bytes.fromhex("ff03002145")
IP_BACK = bytes.fromhex("ff03002146")

# Longest way to an end: negotiation, the abort that follows it, a hello and its second interval, a disconnect.
BOUND = 60 + 3 + 1 + 20 + 20 + 5 + 1


class Call:
    """Both machines, the connection between them, and a script for what is above them."""

    def __init__(self, *, lose: int | None = None, closes_propagate: bool = True, server_key: bytes = HLAK) -> None:
        self.client = SstpClient(CERTIFICATE)
        self.server = SstpServer(CERTIFICATE, SeededEntropy("two ends"))
        self.now = 0.0
        self.carried = 0
        """Packets handed to the connection so far, both directions."""
        self.told: dict[SstpMachine, list[SstpEvent]] = {self.client: [], self.server: []}
        self._lose = lose
        self._closes_propagate = closes_propagate
        self._server_key = server_key
        self.server.accept(self.now)
        self.client.connect(self.now)
        self.settle()

    def other(self, machine: SstpMachine) -> SstpMachine:
        return self.server if machine is self.client else self.client

    def settle(self) -> None:
        """Carry packets and events until both sides are quiet."""
        busy = True
        while busy:
            busy = False
            for machine in (self.client, self.server):
                for packet in machine.data_to_send(self.now):
                    busy = True
                    self.carried += 1
                    if self.carried - 1 != self._lose:
                        self.other(machine).receive_data(packet, self.now)
                while (event := machine.next_event()) is not None:
                    busy = True
                    self.told[machine].append(event)
                    self.react(machine, event)

    def react(self, machine: SstpMachine, event: SstpEvent) -> None:
        """Be the PPP above ``machine``, and the transport below."""
        match event:
            case CallAccepted() if machine is self.client:
                self.client.send_frame(LOGIN, self.now)
            case FrameReceived(frame) if frame == LOGIN:
                self.server.authenticated(self._server_key, self.now)
                self.server.send_frame(SUCCESS, self.now)
            case FrameReceived(frame) if frame == SUCCESS:
                self.client.authenticated(HLAK, self.now)
                self.client.send_frame(ADDRESS_REQUEST, self.now)
            case FrameReceived(frame) if frame == ADDRESS_REQUEST:
                self.server.send_frame(ADDRESS_ACK, self.now)
            case FrameReceived(frame) if frame == ADDRESS_ACK and self.client.passes_data:
                self.client.send_frame(IP_THERE, self.now)
            case FrameReceived(frame) if frame == IP_THERE:
                self.server.send_frame(IP_BACK, self.now)
            case CallEnded() if self._closes_propagate:
                # The transport is closed after what was queued; the other side sees the end of the stream.
                self.deliver_last(machine)
                self.other(machine).lower_layer_lost(self.now)
            case _:
                pass

    def deliver_last(self, machine: SstpMachine) -> None:
        for packet in machine.data_to_send(self.now):
            self.carried += 1
            if self.carried - 1 != self._lose:
                self.other(machine).receive_data(packet, self.now)

    def run_until(self, end: float) -> None:
        """Let time pass, calling each timer exactly when it asks."""
        for _ in range(1000):
            times = [time for machine in (self.client, self.server) if (time := machine.poll_at()) is not None]
            if not times or min(times) > end:
                self.now = end
                return
            self.now = min(times)
            for machine in (self.client, self.server):
                machine.handle_timer(self.now)
            self.settle()
        raise AssertionError("the timers never moved on")

    def ended(self, machine: SstpMachine) -> list[CallEnded]:
        return [event for event in self.told[machine] if isinstance(event, CallEnded)]

    def received(self, machine: SstpMachine, frame: bytes) -> bool:
        return FrameReceived(frame) in self.told[machine]


def test_a_call_comes_up_lives_on_echoes_and_ends_in_order() -> None:
    call = Call()
    assert call.received(call.client, IP_BACK)
    call.run_until(600.0)
    assert call.client.passes_data
    assert call.server.passes_data
    # Twenty seconds of quiet are asked about, again and again, and every question is answered.
    assert call.told[call.client].count(EchoRequested()) + call.told[call.server].count(EchoRequested()) >= 29
    call.client.disconnect(call.now)
    call.settle()
    assert [end.reason for end in call.ended(call.client)] == [EndReason.DISCONNECTED]
    assert [end.reason for end in call.ended(call.server)] == [EndReason.PEER_DISCONNECTED]


def test_a_server_ends_a_call_in_order() -> None:
    call = Call()
    call.server.disconnect(call.now)
    call.settle()
    assert [end.reason for end in call.ended(call.server)] == [EndReason.DISCONNECTED]
    assert [end.reason for end in call.ended(call.client)] == [EndReason.PEER_DISCONNECTED]


@pytest.mark.parametrize("closes_propagate", [True, False])
def test_both_sides_abort_at_once(closes_propagate: bool) -> None:
    call = Call(closes_propagate=closes_propagate)
    call.client.abort(2, 7, call.now)
    call.server.abort(2, 5, call.now)
    call.settle()
    call.run_until(call.now + 1.0)
    assert [end.reason for end in call.ended(call.client)] == [EndReason.ABORTED]
    assert [end.reason for end in call.ended(call.server)] == [EndReason.ABORTED]


@pytest.mark.parametrize("closes_propagate", [True, False])
def test_both_sides_disconnect_at_once(closes_propagate: bool) -> None:
    call = Call(closes_propagate=closes_propagate)
    call.client.disconnect(call.now)
    call.server.disconnect(call.now)
    call.settle()
    call.run_until(call.now + 1.0)
    assert [end.reason for end in call.ended(call.client)] == [EndReason.DISCONNECTED]
    assert [end.reason for end in call.ended(call.server)] == [EndReason.DISCONNECTED]


def test_a_server_with_another_key_refuses_and_the_client_says_why() -> None:
    call = Call(server_key=bytes(32))
    call.run_until(BOUND)
    (end,) = call.ended(call.client)
    assert end.reason is EndReason.PEER_ABORTED
    assert (end.attribute_id, end.status) == (3, 4)
    assert "crypto binding" in end.text
    assert not call.received(call.client, IP_BACK)


def test_a_server_behind_another_certificate_is_not_connected_to() -> None:
    call = Call()
    stranger = SstpClient(b"the certificate of a middlebox")
    server = SstpServer(CERTIFICATE, SeededEntropy("x"), offered_hashes=HashProtocol.SHA1)
    stranger.connect(0.0)
    for packet in stranger.data_to_send(0.0):
        server.receive_packet(packet, 0.0)
    for packet in server.data_to_send(0.0):
        stranger.receive_packet(packet, 0.0)
    server.authenticated(HLAK, 0.0)
    stranger.authenticated(HLAK, 0.0)
    for packet in stranger.data_to_send(0.0):
        server.receive_packet(packet, 0.0)
    assert not server.passes_data
    assert call.server.passes_data


def whole_life(call: Call) -> None:
    """Up, idling until every timer has had its turn, down."""
    call.run_until(BOUND)
    call.client.disconnect(call.now)
    call.settle()
    call.run_until(call.now + BOUND)


# Nine to come up and carry data, echoes with their answers every 20 s for 110 s, two to end.
PACKETS_OF_A_LIFE = 31


def test_a_life_has_as_many_packets_as_are_lost_one_by_one_below() -> None:
    call = Call()
    whole_life(call)
    assert call.carried == PACKETS_OF_A_LIFE


@pytest.mark.parametrize("closes_propagate", [True, False], ids=["closes are seen", "closes are not seen"])
@pytest.mark.parametrize("lost", range(PACKETS_OF_A_LIFE))
def test_with_any_packet_lost_the_call_lives_or_ends_within_its_timers(lost: int, closes_propagate: bool) -> None:
    call = Call(lose=lost, closes_propagate=closes_propagate)
    call.run_until(BOUND)
    for machine in (call.client, call.server):
        # Up or over: nothing hangs in between.
        assert machine.passes_data or machine.closed
        assert machine.closed == (len(call.ended(machine)) == 1)
    if call.client.passes_data and not call.received(call.client, IP_BACK):
        # Up without traffic: what was lost is a frame of PPP's, which repeats its own.
        assert CallConnected() in call.told[call.server]
    whole_life(call)
    for machine in (call.client, call.server):
        assert machine.closed
        (end,) = call.ended(machine)
        assert end.text
        assert machine.poll_at() is None
