"""The peer's side of EAP, whatever carries it (RFC 3748, RFC 4137 section 4): PPP outside, PEAP's tunnel inside.

Theory of operation. A Request comes in, a Response or nothing goes out: Identity and Notification are answered here,
the first Request of a method that we have selects that method, any other is refused with a Nak that lists what we have.
Once a method is selected Requests of other Types are discarded (RFC 3748 section 2.1). What a Success or Failure means
is the method's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...errors import LocalProtocolError, RemoteProtocolError
from ..auth import Credentials
from ..auth_text import clean_text, encode_name
from .method import Decision, PeerMethod, Refusal
from .packet import IDENTITY, NAK, NOTIFICATION, EapCode, EapPacket, EapType, MethodType, nak

PeerMethods = Mapping[MethodType, Callable[[Credentials], PeerMethod]]
"""The methods that may be used, most wanted first, and how each is begun."""


class PeerConversation:
    """One conversation: at most one method runs in it."""

    def __init__(self, identity: str, methods: PeerMethods, credentials: Credentials) -> None:
        """``identity`` answers an Identity Request. Raises ConfigError when it cannot be sent."""
        self._identity = encode_name(identity)
        self._methods = methods
        self._credentials = credentials
        self._open_request: EapPacket | None = None
        """A Request that waits for other credentials."""
        self.method: PeerMethod | None = None
        """The method that was selected."""
        self.refused_types: list[MethodType] = []
        """What the server proposed and we refused."""
        self.notification = ""
        """The last text of the server that was not a method's, cleaned."""

    def __repr__(self) -> str:
        return f"<PeerConversation {type(self.method).__name__ if self.method else 'no method'}>"

    @property
    def decision(self) -> Decision:
        """What a Success or Failure would mean now."""
        return self.method.decision if self.method is not None else Decision.FAIL

    @property
    def refusal(self) -> Refusal | None:
        """Why the method failed, None when it did not."""
        return self.method.refusal if self.method is not None else None

    @property
    def text(self) -> str:
        """What the server said to the user; may be empty."""
        return (self.method.message if self.method is not None else "") or self.notification

    def answer(self, request: EapPacket) -> EapPacket | None:
        """Return the Response to a Request that is not a repetition, None when there is none or none yet.

        Raises RemoteProtocolError for what is to be discarded.
        """
        kind = request.kind
        if request.code != EapCode.REQUEST or kind is None:
            raise RemoteProtocolError("EAP Request expected", layer="eap")
        if kind == NOTIFICATION:
            # RFC 3748 section 5.2: "The peer MUST respond to a Notification Request with a Notification Response", at
            # any time, and its data field is empty.
            self.notification = clean_text(request.data)
            return request.answer(b"")
        if kind == IDENTITY and self.method is None:
            return request.answer(self._identity)
        if self.method is None:
            return self._select(kind, request)
        if kind != self.method.kind:
            raise RemoteProtocolError("EAP Request of another Type than the method's", layer="eap")
        return self._run(self.method, request)

    def retry(self, credentials: Credentials) -> EapPacket:
        """Answer the Request that was left open by a refusal with other credentials."""
        if self.method is None or self._open_request is None:
            raise LocalProtocolError("the server allows no other try", layer="eap")
        data = self.method.retry(credentials)
        self.method.refusal = None
        request, self._open_request = self._open_request, None
        return request.answer(data)

    def _select(self, kind: MethodType, request: EapPacket) -> EapPacket | None:
        if not kind.vendor and (kind.number < EapType.MD5_CHALLENGE or kind == NAK):
            raise RemoteProtocolError("EAP Request of a Type that has no Requests", layer="eap")
        make = self._methods.get(kind)
        if make is None:
            self.refused_types.append(kind)
            return nak(request, tuple(self._methods))
        method = make(self._credentials)
        # Selected only when its first Request was good: RFC 3748 section 2.1 counts from our first Response.
        answer = self._run(method, request)
        self.method = method
        return answer

    def _run(self, method: PeerMethod, request: EapPacket) -> EapPacket | None:
        data = method.answer(request)
        if data is None:
            self._open_request = request if method.refusal is not None and method.refusal.retry_allowed else None
            return None
        return request.answer(data)
