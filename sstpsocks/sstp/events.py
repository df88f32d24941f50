"""What an SSTP machine tells the layer above."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EndReason(Enum):
    """Why a call ended; what began the end counts, not what came while it was ending."""

    PEER_ABORTED = "peer aborted"
    PEER_DISCONNECTED = "peer disconnected"
    ABORTED = "aborted by us"
    DISCONNECTED = "disconnected by us"
    PEER_SILENT = "peer silent"
    NEGOTIATION_TIMEOUT = "negotiation timeout"
    LOWER_LAYER_LOST = "lower layer lost"


@dataclass(frozen=True, slots=True)
class CallAccepted:
    """CALL_CONNECT_ACK was taken (client) or sent (server): PPP may start ("Lower Link Up", MS-SSTP 3.1.7.1)."""


@dataclass(frozen=True, slots=True)
class CallConnected:
    """CALL_CONNECTED was sent (client) or verified (server): network-layer frames pass from here on.

    A client never hears whether the server accepted it; only the server's going on with the NCPs shows that.
    """


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A PPP frame that the state of the call lets pass."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class EchoRequested:
    """The hello timer expired and an ECHO_REQUEST goes out.

    Some servers never answer one. The layer above should add an LCP echo: any packet at all counts as life.
    """


@dataclass(frozen=True, slots=True)
class CallEnding:
    """An abort or a disconnect has begun. No more frames pass; CallEnded follows within the timers.

    The fields are those that CallEnded will have.
    """

    reason: EndReason
    attribute_id: int | None
    status: int | None
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over: close the transport after sending what data_to_send() still gives."""

    reason: EndReason
    attribute_id: int | None
    """Attribute id of the Status Info of the message that ended the call, or of the last NAK of a refused call."""
    status: int | None
    """Its status (MS-SSTP 2.2.8)."""
    text: str
    """One sentence for the user without a full stop: which side, what happened, the likely cause."""


SstpEvent = CallAccepted | CallConnected | FrameReceived | EchoRequested | CallEnding | CallEnded
