"""The server's side of EAP, whatever carries it (RFC 3748, RFC 4137 section 5): Identity, then methods in turn.

The first method is proposed; a Nak makes it the best of those that the peer wants and that have not been refused yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...errors import RemoteProtocolError
from ..auth_text import clean_text
from .method import Refusal, ServerMethod
from .packet import IDENTITY, NAK, EapCode, EapPacket, MethodType, describe_type, parse_nak

ServerMethods = Mapping[MethodType, Callable[[str], ServerMethod]]
"""The methods to propose, in turn, and how each is begun for an identity."""


class ServerConversation:
    """One conversation, from the Identity to the verdict."""

    def __init__(self, methods: ServerMethods) -> None:
        self._remaining = dict(methods)
        self._accepted = False
        """Whether the peer has answered the present method, so that a Nak comes too late."""
        self.identity: str | None = None
        self.method: ServerMethod | None = None
        self.refusal: Refusal | None = None
        self.done = False

    def __repr__(self) -> str:
        return f"<ServerConversation {type(self.method).__name__ if self.method else 'no method'}>"

    def request(self, identifier: int) -> EapPacket:
        """Return the next Request."""
        if self.method is None:
            return EapPacket(EapCode.REQUEST, identifier, IDENTITY)
        return EapPacket(EapCode.REQUEST, identifier, self.method.kind, self.method.request(identifier))

    def take(self, response: EapPacket) -> None:
        """Take the Response to the last Request; raises RemoteProtocolError for what is to be discarded."""
        if self.method is None:
            if response.kind != IDENTITY:
                raise RemoteProtocolError("EAP Response other than the Identity", layer="eap")
            self.identity = response.data.decode("utf-8", "replace")
            self._propose(tuple(self._remaining))
        elif response.kind == NAK and not self._accepted:
            self._propose(parse_nak(response))
        elif response.kind == self.method.kind:
            self.method.take(response)
            self._accepted = True
            if self.method.done:
                self.done = True
                self.refusal = self.method.refusal
        else:
            raise RemoteProtocolError("EAP Response of another Type than the Request's", layer="eap")

    def _propose(self, wanted: tuple[MethodType, ...]) -> None:
        kind = next((kind for kind in wanted if kind in self._remaining), None)
        if kind is None or self.identity is None:
            names = ", ".join(map(describe_type, wanted)) or "nothing"
            self.refusal = Refusal(clean_text(f"the client wants none of our EAP methods but {names}"))
            self.done = True
            return
        self.method = self._remaining.pop(kind)(self.identity)
