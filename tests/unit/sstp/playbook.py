"""Transcript tests: what happens to a machine, then exactly what it sends and tells.

Every step must be followed by the outcome it has. What a test does not mention must not happen: a packet or an event
that was not expected fails at the next step (or at ``done()``).
"""

from __future__ import annotations

from collections.abc import Callable

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.crypto_binding import build_call_connected, certificate_hash
from sstpsocks.sstp.events import CallEnded, CallEnding, FrameReceived, SstpEvent
from sstpsocks.sstp.machine import SstpMachine
from sstpsocks.sstp.packet import (
    ALL_HASHES,
    NONCE_SIZE,
    ControlPacket,
    HashProtocol,
    MessageType,
    StatusInfo,
    call_connect_ack,
    call_connect_request,
    encode_data,
    is_control,
)
from sstpsocks.sstp.server import SstpServer

CERTIFICATE = b"the DER bytes of a certificate"
HLAK = bytes(range(32))
SERVER_NONCE = SeededEntropy("server").random_bytes(NONCE_SIZE)

LCP_FRAME = bytes.fromhex("ff03 c021 01000004")
CHAP_FRAME = bytes.fromhex("ff03 c223 03010004")
IPCP_REQUEST = bytes.fromhex("ff03 8021 01000004")
IPCP_ACK = bytes.fromhex("ff03 8021 02000004")
IP_FRAME = bytes.fromhex("ff03 0021 45")

ACK = call_connect_ack(ALL_HASHES, SERVER_NONCE)
CONNECTED = build_call_connected(
    HLAK, HashProtocol.SHA256, SERVER_NONCE, certificate_hash(CERTIFICATE, HashProtocol.SHA256)
)


def control(message_type: MessageType, *infos: tuple[int, int]) -> bytes:
    """Return a control packet with these Status Infos."""
    return ControlPacket(message_type, tuple(StatusInfo(*info).to_attribute() for info in infos)).to_bytes()


def describe_packet(packet: bytes) -> str:
    """Return a packet as a transcript writes it: ``CALL_ABORT 2:5``, ``DATA ff03c021...``."""
    if not is_control(packet):
        return f"DATA {packet[4:].hex()}"
    parsed = ControlPacket.parse(packet)
    words = [MessageType(parsed.message_type).name]
    for attribute in parsed.attributes:
        if attribute.attribute_id == 2:
            info = StatusInfo.parse(attribute.value)
            words.append(f"{info.attribute_id}:{info.status}")
    return " ".join(words)


def describe_event(event: SstpEvent) -> str:
    """Return an event as a transcript writes it: ``CallEnded PEER_ABORTED 2:7``."""
    words = [type(event).__name__]
    if isinstance(event, CallEnded | CallEnding):
        words.append(event.reason.name)
        if event.status is not None:
            words.append(f"{'-' if event.attribute_id is None else int(event.attribute_id)}:{int(event.status)}")
    if isinstance(event, FrameReceived):
        words.append(event.frame.hex())
    return " ".join(words)


class Playbook:
    """A machine under test and what it has done since the last step."""

    def __init__(self, machine: SstpMachine) -> None:
        self.machine = machine
        self.now = 100.0
        self.text = ""
        """The text of the last CallEnding or CallEnded."""
        self._sent: list[str] = []
        self._told: list[str] = []

    def _act(self, action: Callable[[], None]) -> Playbook:
        self.done()
        action()
        self._sent = [describe_packet(packet) for packet in self.machine.data_to_send(self.now)]
        while (event := self.machine.next_event()) is not None:
            self._told.append(describe_event(event))
            if isinstance(event, CallEnded | CallEnding):
                self.text = event.text
        return self

    def done(self) -> None:
        assert self._sent == [], f"sent without being expected: {self._sent}"
        assert self._told == [], f"told without being expected: {self._told}"

    # What happens

    def local(self, action: Callable[[float], None]) -> Playbook:
        """The layer above calls one of the machine's methods that take ``now``."""
        return self._act(lambda: action(self.now))

    def receives(self, *packets: bytes) -> Playbook:
        """These packets arrive at once."""
        return self._act(lambda: self.machine.receive_data(b"".join(packets), self.now))

    def receives_frame(self, frame: bytes) -> Playbook:
        return self.receives(encode_data(frame))

    def waits(self, seconds: float) -> Playbook:
        """Time passes; the machine is called when it asked for it, never before."""

        def pass_time() -> None:
            end = self.now + seconds
            for _ in range(100):
                deadline = self.machine.poll_at()
                if deadline is None or deadline > end:
                    break
                self.now = max(self.now, deadline)
                self.machine.handle_timer(self.now)
            else:
                raise AssertionError("the timer never moved on")
            self.now = end
            # Called early it must do nothing.
            self.machine.handle_timer(self.now)

        return self._act(pass_time)

    # What comes of it

    def sends(self, *packets: str) -> Playbook:
        assert self._sent == list(packets)
        self._sent = []
        return self

    def tells(self, *events: str) -> Playbook:
        assert self._told == list(events)
        self._told = []
        return self

    def whatever(self) -> Playbook:
        """What comes of it does not matter here."""
        self._sent, self._told = [], []
        return self

    def says(self, *fragments: str) -> Playbook:
        """The user's sentence of the end holds these fragments."""
        for fragment in fragments:
            assert fragment in self.text
        return self


def client_machine() -> SstpClient:
    return SstpClient(CERTIFICATE)


def server_machine() -> SstpServer:
    return SstpServer(CERTIFICATE, SeededEntropy("server"))


def requesting_client() -> Playbook:
    """A client in Client_Connect_Request_Sent."""
    client = client_machine()
    return Playbook(client).local(client.connect).sends("CALL_CONNECT_REQUEST")


def accepted_client() -> Playbook:
    """A client in Client_Connect_Ack_Received."""
    return requesting_client().receives(ACK).tells("CallAccepted")


def connected_client() -> Playbook:
    """A client in Client_Call_Connected that has heard nothing since."""
    book = accepted_client()
    client = book.machine
    assert isinstance(client, SstpClient)
    return book.local(lambda now: client.authenticated(HLAK, now)).sends("CALL_CONNECTED").tells("CallConnected")


def established_client() -> Playbook:
    """A connected client whose address negotiation was answered."""
    return connected_client().receives_frame(IPCP_ACK).tells(f"FrameReceived {IPCP_ACK.hex()}")


def pending_server() -> Playbook:
    """A server in Server_Connect_Request_Pending."""
    server = server_machine()
    return Playbook(server).local(server.accept)


def accepted_server() -> Playbook:
    """A server in Server_Call_Connected_Pending."""
    return pending_server().receives(call_connect_request()).sends("CALL_CONNECT_ACK").tells("CallAccepted")


def connected_server() -> Playbook:
    """A server in Server_Call_Connected."""
    book = accepted_server()
    server = book.machine
    assert isinstance(server, SstpServer)
    return book.local(lambda now: server.authenticated(HLAK, now)).receives(CONNECTED).tells("CallConnected")
