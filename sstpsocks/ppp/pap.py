"""PAP (RFC 1334 section 2): the password goes to the server in clear text, inside TLS. No keys come out of it.

Malformed packets raise RemoteProtocolError and leave the machine as it was; well-formed ones that do not fit the
state are discarded and counted.
"""

from __future__ import annotations

import hmac
from enum import Enum

from ..errors import ConfigError, LocalProtocolError
from .auth import ZERO_HLAK, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from .auth_outbox import AuthOutbox
from .auth_packet import AuthPacket, PapCode, PapRequest, pap_message_to_bytes, parse_pap_message
from .auth_text import CREDENTIALS_HINT, clean_text, encode_name, encode_password, with_server_text
from .chap_machine import MAX_ATTEMPTS, RESPONSE_TIMER, Lookup
from .packet import PROTOCOL_PAP

MAX_PASSWORD_SIZE = 255  # a length field of one byte, RFC 1334 section 2.2.1


class PapState(Enum):
    """Where a log-in stands, for either side."""

    INITIAL = "not started"
    REQUEST_SENT = "Authenticate-Request sent"
    WAITING = "waiting for the Authenticate-Request"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class PapClient(AuthOutbox):
    """The side that sends name and password until it is answered.

    Requests are as rare as CHAP's Responses, and for the same reason: each one may make a server ask for the second
    factor once more. After ``max_attempts`` it goes on waiting in silence: the limit to the whole log-in is not here,
    and an answer that takes a server long still counts.
    """

    protocol: int = PROTOCOL_PAP
    method = AuthMethod.PAP

    def __init__(
        self, credentials: Credentials, *, restart_timer: float = RESPONSE_TIMER, max_attempts: int = MAX_ATTEMPTS
    ) -> None:
        """``restart_timer`` in seconds. Raises ConfigError when the user name or the password cannot be sent."""
        password = encode_password(credentials.password)
        if len(password) > MAX_PASSWORD_SIZE:
            raise ConfigError(f"the password takes more than the {MAX_PASSWORD_SIZE} bytes that PAP can carry")
        self._username = credentials.username
        self._request = PapRequest(encode_name(credentials.username), password).to_bytes()
        self._restart_timer = restart_timer
        self._max_attempts = max_attempts
        super().__init__()
        self.state = PapState.INITIAL
        self._attempts = 0
        self._identifiers: set[int] = set()
        """Of all requests sent: a slow server may answer any of them."""

    def __repr__(self) -> str:
        return f"<PapClient {self.state.name} {self._username!r}>"

    def start(self, now: float) -> None:
        """Send the first request."""
        if self.state is PapState.INITIAL:
            self.state = PapState.REQUEST_SENT
            self._send_request(now)

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed."""
        parsed = AuthPacket.parse(packet)
        answers = (PapCode.AUTHENTICATE_ACK, PapCode.AUTHENTICATE_NAK)
        if (
            self.state is not PapState.REQUEST_SENT
            or parsed.code not in answers
            or parsed.identifier not in self._identifiers
        ):
            self.discarded += 1
            return
        text = clean_text(parse_pap_message(parsed.data))
        self._deadline = None
        self._output = []
        if parsed.code == PapCode.AUTHENTICATE_ACK:
            self.state = PapState.SUCCEEDED
            self._events.append(AuthSucceeded(self.method, ZERO_HLAK, self._username, text))
        else:
            self.state = PapState.REFUSED
            message = with_server_text("the server refused the user name or the password", text)
            self._events.append(AuthRefused(self.method, None, False, message, CREDENTIALS_HINT))

    def handle_timer(self, now: float) -> None:
        """Repeat the request when its time has come."""
        if self._deadline is not None and now >= self._deadline:
            if self._attempts < self._max_attempts:
                self._send_request(now)
            else:
                self._deadline = None

    def retry(self, credentials: Credentials, now: float) -> None:
        """RFC 1334 knows no second try."""
        raise LocalProtocolError(f"PAP allows no other try ({self.state.value})", layer="pap")

    def _send_request(self, now: float) -> None:
        # RFC 1334 section 2.2.1: "The Identifier field MUST be changed each time an Authenticate-Request packet is
        # issued."
        self._attempts += 1
        identifier = self._attempts % 256
        self._identifiers.add(identifier)
        self._output = [AuthPacket(PapCode.AUTHENTICATE_REQUEST, identifier, self._request).to_bytes()]
        self._deadline = now + self._restart_timer


class PapServer(AuthOutbox):
    """The side that judges. ``lookup`` sees the whole user name."""

    protocol: int = PROTOCOL_PAP
    method = AuthMethod.PAP

    def __init__(self, lookup: Lookup) -> None:
        super().__init__()
        self.state = PapState.WAITING
        self._lookup = lookup

    def __repr__(self) -> str:
        return f"<PapServer {self.state.name}>"

    def start(self, now: float) -> None:
        """Begin: the client speaks first, so there is nothing to do."""

    def receive_packet(self, packet: bytes, now: float) -> None:
        """Take one packet; raises RemoteProtocolError when it is malformed."""
        parsed = AuthPacket.parse(packet)
        if parsed.code != PapCode.AUTHENTICATE_REQUEST:
            self.discarded += 1
            return
        request = PapRequest.parse(parsed.data)
        if self.state is PapState.WAITING:
            self._judge(request)
        # RFC 1334 section 2.2.1: the Ack might be lost, so a repeated request gets the code that the first one got.
        if self.state is PapState.SUCCEEDED:
            answer = AuthPacket(PapCode.AUTHENTICATE_ACK, parsed.identifier, pap_message_to_bytes(b"Welcome"))
        else:
            text = pap_message_to_bytes(b"Wrong user name or password")
            answer = AuthPacket(PapCode.AUTHENTICATE_NAK, parsed.identifier, text)
        if answer.to_bytes() not in self._output:
            self._output.append(answer.to_bytes())

    def _judge(self, request: PapRequest) -> None:
        username = request.peer_id.decode("utf-8", "replace")
        password = self._lookup(username)
        if password is not None and hmac.compare_digest(encode_password(password), request.password):
            self.state = PapState.SUCCEEDED
            self._events.append(AuthSucceeded(self.method, ZERO_HLAK, username))
        else:
            self.state = PapState.REFUSED
            message = f"wrong user name or password for {clean_text(username)!r}"
            self._events.append(AuthRefused(self.method, None, False, message))

    def handle_timer(self, now: float) -> None:
        """Nothing to do."""

    def retry(self, credentials: Credentials, now: float) -> None:
        """A server has no credentials to try."""
        raise LocalProtocolError("the server's side of a log-in has no credentials", layer="pap")
