"""The contract of EAP methods, the peer's side and the server's.

A method sees Requests (or Responses) of its Type, without knowing what carries them: the same ones run bare and inside
PEAP. Its MSK and what it has to say are plain attributes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from ...errors import LocalProtocolError
from ..auth import AuthMethod, Credentials
from .packet import EapPacket, MethodType


class Decision(Enum):
    """What the peer's side makes of a Success or a Failure that comes now (RFC 4137 section 4.2)."""

    FAIL = "a Success is ignored"
    CONDITIONAL_SUCCESS = "either is taken"
    UNCONDITIONAL_SUCCESS = "a Failure is ignored"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it came to nothing; what AuthRefused says."""

    message: str
    hint: str = ""
    code: int | None = None
    retry_allowed: bool = False


class PeerMethod(ABC):
    """The side that is asked. One object lives for one run of the method.

    ``answer()`` and ``retry()`` return the data of the Response. ``refusal`` is set when the method knows that it
    failed; a last Response may go out all the same.
    """

    kind: ClassVar[MethodType]
    method: ClassVar[AuthMethod]
    username: str
    """Who logs in, as the server's side of the method sees it."""

    def __init__(self) -> None:
        self.decision = Decision.FAIL
        self.msk: bytes | None = None
        """Master session key, 64 bytes; None: the method gives none, or not yet."""
        self.refusal: Refusal | None = None
        self.pending: Refusal | None = None
        """What a Failure that comes now is due to; more Requests may come before."""
        self.message = ""
        """The server's text, cleaned."""
        self.password_changed = False
        """The password is now Credentials.new_password."""

    @abstractmethod
    def answer(self, request: EapPacket) -> bytes | None:
        """Return what to answer to a new Request; None: nothing, or not now.

        Raises RemoteProtocolError when the Request is malformed or out of place; it is then discarded and the method
        is as it was.
        """

    def retry(self, credentials: Credentials) -> bytes:
        """Return the answer, with other credentials, to the Request that was left open by a refusal."""
        raise LocalProtocolError("the server allows no other try", layer="eap")

    def finished(self) -> None:  # noqa: B027 - most methods have nothing to do
        """Learn that the server's Success was taken."""


class ServerMethod(ABC):
    """The side that asks. ``request()`` gives the data of the next Request, after start and after each ``take()``."""

    kind: ClassVar[MethodType]
    method: ClassVar[AuthMethod]

    def __init__(self) -> None:
        self.done = False
        """Whether there is a verdict: ``refusal`` or success."""
        self.refusal: Refusal | None = None
        self.msk: bytes | None = None
        self.username = ""
        """Who has logged in."""

    @abstractmethod
    def request(self, identifier: int) -> bytes:
        """Return the data of the next Request."""

    @abstractmethod
    def take(self, response: EapPacket) -> None:
        """Take the Response to the last Request.

        Raises RemoteProtocolError when it is malformed; the Request then stands, and is repeated.
        """

    def fail(self, message: str) -> None:
        """End with a refusal."""
        self.refusal = Refusal(message)
        self.done = True


@dataclass(frozen=True, slots=True)
class Users:
    """What the server's side knows: its users and its name."""

    lookup: Callable[[str], str | None] = field(repr=False)
    """User name, the whole text that the client sent -> password; None for an unknown user."""
    name: str = "sstpsocks"
    change_password: Callable[[str, str], bool] | None = field(default=None, repr=False)
    """Takes user name and new password; None: passwords never expire."""
    expired: frozenset[str] = frozenset()
    """Users whose password has to be changed before they get in."""
