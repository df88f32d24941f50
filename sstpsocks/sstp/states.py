"""The states of a call, what messages do in them, and the tables that both roles share (MS-SSTP 3.1.1, 3.1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from .packet import MessageType


class State(Enum):
    """CurrentState of MS-SSTP 3.1.1, 3.2.1 and 3.3.1, and two final states of ours."""

    CLIENT_CALL_DISCONNECTED = "Client_Call_Disconnected"
    CLIENT_CONNECT_REQUEST_SENT = "Client_Connect_Request_Sent"
    CLIENT_CONNECT_ACK_RECEIVED = "Client_Connect_Ack_Received"
    CLIENT_CALL_CONNECTED = "Client_Call_Connected"
    SERVER_CALL_DISCONNECTED = "Server_Call_Disconnected"
    SERVER_CONNECT_REQUEST_PENDING = "Server_Connect_Request_Pending"
    SERVER_CALL_CONNECTED_PENDING = "Server_Call_Connected_Pending"
    SERVER_CALL_CONNECTED = "Server_Call_Connected"
    CALL_ABORT_PENDING = "Call_Abort_Pending"
    CALL_ABORT_TIMEOUT_PENDING = "Call_Abort_Timeout_Pending"
    CALL_DISCONNECT_ACK_PENDING = "Call_Disconnect_Ack_Pending"
    CALL_DISCONNECT_TIMEOUT_PENDING = "Call_Disconnect_Timeout_Pending"
    CLOSED = "closed"
    """The call is over; CallEnded has been given. Whatever else arrives is ignored."""
    ERROR = "error"
    """The stream could not be delineated; RemoteProtocolError has been raised."""


class Reaction(Enum):
    """What a message does in a state."""

    IGNORE = "ignore"
    REFUSE = "abort: the state does not allow this message"
    TAKE_REQUEST = "server: judge the connect request"
    TAKE_ACK = "client: judge the answer, start PPP"
    TAKE_NAK = "client: ask again, or give up"
    TAKE_CONNECTED = "server: judge the crypto binding"
    ANSWER_ECHO = "send ECHO_RESPONSE"
    ANSWER_ABORT = "send CALL_ABORT, linger, close"
    LINGER = "the peer's CALL_ABORT has crossed or answered ours: linger, close"
    ANSWER_DISCONNECT = "send CALL_DISCONNECT_ACK, linger, close"
    ACKNOWLEDGE = "send CALL_DISCONNECT_ACK and stay"
    FINISH = "our CALL_DISCONNECT is acknowledged: close"


Table = Mapping[State, Mapping[MessageType, Reaction]]

NOT_STARTED: Final = frozenset({State.CLIENT_CALL_DISCONNECTED, State.SERVER_CALL_DISCONNECTED})
ENDING: Final = frozenset(
    {
        State.CALL_ABORT_PENDING,
        State.CALL_ABORT_TIMEOUT_PENDING,
        State.CALL_DISCONNECT_ACK_PENDING,
        State.CALL_DISCONNECT_TIMEOUT_PENDING,
    }
)
FINAL: Final = frozenset({State.CLOSED, State.ERROR})

_M = MessageType
_R = Reaction

# MS-SSTP 3.2.5.3 and 3.3.5.2, the part common to both roles, message by message. One leniency: a CALL_DISCONNECT
# is acknowledged in every state, as 3.2.4.2 wants it: "The SSTP far end MUST acknowledge the disconnect request by
# sending SSTP_MSG_CALL_DISCONNECT_ACK regardless of the value of CurrentState".
ENDING_TABLE: Final[Table] = MappingProxyType(
    {
        State.CALL_ABORT_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.IGNORE,
            _M.CALL_CONNECT_ACK: _R.IGNORE,
            _M.CALL_CONNECT_NAK: _R.IGNORE,
            _M.CALL_CONNECTED: _R.IGNORE,
            _M.CALL_ABORT: _R.LINGER,
            _M.CALL_DISCONNECT: _R.ACKNOWLEDGE,
            _M.CALL_DISCONNECT_ACK: _R.IGNORE,
            _M.ECHO_REQUEST: _R.IGNORE,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CALL_ABORT_TIMEOUT_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.IGNORE,
            _M.CALL_CONNECT_ACK: _R.IGNORE,
            _M.CALL_CONNECT_NAK: _R.IGNORE,
            _M.CALL_CONNECTED: _R.IGNORE,
            _M.CALL_ABORT: _R.IGNORE,
            _M.CALL_DISCONNECT: _R.ACKNOWLEDGE,
            _M.CALL_DISCONNECT_ACK: _R.IGNORE,
            _M.ECHO_REQUEST: _R.IGNORE,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CALL_DISCONNECT_ACK_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.IGNORE,
            _M.CALL_CONNECT_ACK: _R.IGNORE,
            _M.CALL_CONNECT_NAK: _R.IGNORE,
            _M.CALL_CONNECTED: _R.IGNORE,
            _M.CALL_ABORT: _R.ANSWER_ABORT,
            _M.CALL_DISCONNECT: _R.ANSWER_DISCONNECT,
            _M.CALL_DISCONNECT_ACK: _R.FINISH,
            _M.ECHO_REQUEST: _R.IGNORE,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
        State.CALL_DISCONNECT_TIMEOUT_PENDING: {
            _M.CALL_CONNECT_REQUEST: _R.IGNORE,
            _M.CALL_CONNECT_ACK: _R.IGNORE,
            _M.CALL_CONNECT_NAK: _R.IGNORE,
            _M.CALL_CONNECTED: _R.IGNORE,
            _M.CALL_ABORT: _R.IGNORE,
            _M.CALL_DISCONNECT: _R.ACKNOWLEDGE,
            _M.CALL_DISCONNECT_ACK: _R.IGNORE,
            _M.ECHO_REQUEST: _R.IGNORE,
            _M.ECHO_RESPONSE: _R.IGNORE,
        },
    }
)
