"""The sentences in which a call's end is told to the user."""

from __future__ import annotations

from enum import Enum

from .packet import AttributeId, Status

_STATUS_TEXTS = {
    Status.NO_ERROR: "no error",
    Status.DUPLICATE_ATTRIBUTE: "duplicate attribute",
    Status.UNRECOGNIZED_ATTRIBUTE: "unrecognized attribute",
    Status.INVALID_ATTRIB_VALUE_LENGTH: "invalid attribute length",
    Status.VALUE_NOT_SUPPORTED: "value not supported",
    Status.UNACCEPTED_FRAME_RECEIVED: "message not allowed in this state",
    Status.RETRY_COUNT_EXCEEDED: "retry count exceeded",
    Status.INVALID_FRAME_RECEIVED: "invalid message received",
    Status.NEGOTIATION_TIMEOUT: "negotiation timed out",
    Status.ATTRIB_NOT_SUPPORTED_IN_MSG: "attribute missing or not supported in the message",
    Status.REQUIRED_ATTRIBUTE_MISSING: "required attribute missing",
    Status.STATUS_INFO_NOT_SUPPORTED_IN_MSG: "status info not supported in the message",
}
_ATTRIBUTE_TEXTS = {
    AttributeId.NO_ERROR: "no attribute",
    AttributeId.ENCAPSULATED_PROTOCOL_ID: "encapsulated protocol",
    AttributeId.STATUS_INFO: "status info",
    AttributeId.CRYPTO_BINDING: "crypto binding",
    AttributeId.CRYPTO_BINDING_REQ: "crypto binding request",
}

_BINDING_CAUSE = (
    "its TLS certificate is not the one seen here, because a load balancer or TLS inspection stands between, "
    "or its authentication server gave it no keys for the binding"
)


class Phase(Enum):
    """How far a call had come when it ended."""

    UNANSWERED = "before the call was accepted"
    NEGOTIATING = "during PPP negotiation and log-in"
    # Of a client only: the server has shown no sign yet that it took CALL_CONNECTED.
    UNPROVEN = "right after the crypto binding (CALL_CONNECTED), before any answer to address negotiation"
    ESTABLISHED = "while the call was established"


def describe_status(attribute_id: int | None, status: int | None) -> str:
    """Return a Status Info in words, with the numbers that logs on the other side show; empty for none."""
    if status is None:
        return ""
    if attribute_id == AttributeId.NO_ERROR and status == Status.NO_ERROR:
        return "no error (attribute 0, status 0)"
    text = _STATUS_TEXTS[Status(status)] if status in _STATUS_TEXTS else "unknown"
    if attribute_id is None:
        return f"{text} (status {status})"
    subject = _ATTRIBUTE_TEXTS[AttributeId(attribute_id)] if attribute_id in _ATTRIBUTE_TEXTS else "unknown attribute"
    return f"{subject}: {text} (attribute {attribute_id}, status {status})"


def _with_binding_cause(sentence: str, phase: Phase, rejected: bool) -> str:
    """Add the likely cause of an end that came after CALL_CONNECTED and before the server went on.

    The status in the message is not to be relied on (servers send 7, or nothing, for a wrong MAC too), the moment is.
    """
    if rejected:
        return f"{sentence}: it rejected the crypto binding; probably {_BINDING_CAUSE}"
    if phase is Phase.UNPROVEN:
        return f"{sentence}: it probably rejected the crypto binding; then {_BINDING_CAUSE}"
    return sentence


def peer_aborted(peer: str, phase: Phase, attribute_id: int | None, status: int | None) -> str:
    """Return the sentence for a received CALL_ABORT; ``peer`` is "server" or "client"."""
    details = describe_status(attribute_id, status)
    sentence = f"The {peer} aborted the SSTP call {phase.value}" + (f", saying {details}" if details else "")
    # Only a server judges the binding.
    rejected = peer == "server" and (attribute_id, status) == (AttributeId.CRYPTO_BINDING, Status.VALUE_NOT_SUPPORTED)
    return _with_binding_cause(sentence, phase, rejected)


def peer_disconnected(peer: str, phase: Phase) -> str:
    """Return the sentence for a received CALL_DISCONNECT."""
    sentence = f"The {peer} ended the SSTP call {phase.value}"
    return _with_binding_cause(sentence, phase, False)


def lower_layer_lost(peer: str, phase: Phase) -> str:
    """Return the sentence for a connection that broke or was closed without CALL_DISCONNECT."""
    sentence = f"The connection to the {peer} was closed or lost {phase.value}"
    if phase is Phase.UNPROVEN:
        return f"{sentence}: if that was the server, it probably rejected the crypto binding; then {_BINDING_CAUSE}"
    return sentence


def peer_silent(peer: str, seconds: float) -> str:
    """Return the sentence for a peer that sent nothing during two hello intervals."""
    return f"The {peer} sent nothing for {seconds:.0f} seconds and did not answer an echo request"


def negotiation_timed_out(peer: str, phase: Phase, seconds: float) -> str:
    """Return the sentence for an expired negotiation timer."""
    if phase is Phase.UNANSWERED and peer == "server":
        return f"The server did not answer the SSTP connect request within {seconds:.0f} seconds"
    if phase is Phase.UNANSWERED:
        return f"The client sent no SSTP connect request within {seconds:.0f} seconds"
    if peer == "server":
        return f"PPP negotiation and log-in with the server did not finish within {seconds:.0f} seconds"
    return f"The client did not send CALL_CONNECTED within {seconds:.0f} seconds"


def call_refused(peer: str, attempts: int, attribute_id: int | None, status: int | None) -> str:
    """Return the sentence for a connect request that was refused once too often."""
    details = describe_status(attribute_id, status)
    why = f": {details}" if details else ""
    if peer == "server":
        return f"The server refused the SSTP connect request {attempts} times{why}"
    return f"The client sent {attempts} SSTP connect requests that cannot be accepted{why}"
