"""How many connections each client has, so that one of them cannot take all the places.

A client is whoever logged in, where programs must; else the user of this machine whose program it is, where the system
tells (Linux); else the address it comes from.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

from .peer_user import peer_user
from .users import Login

Client = tuple[str, str]
"""What kind of name it is, and the name."""


class ClientPlaces:
    """The places that are taken, by client; at most ``most`` each, None for as many as there are."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._taken: Counter[Client] = Counter()
        self.refused = 0
        """How often a client was refused one more."""

    def __repr__(self) -> str:
        return f"<ClientPlaces {self._taken.total()} of {len(self._taken)} clients>"

    def take(self, client: Client) -> bool:
        """Take one more place for a client; False when it has as many as it may."""
        if self.most is not None and self._taken[client] >= self.most:
            self.refused += 1
            return False
        self._taken[client] += 1
        return True

    def give_back(self, client: Client) -> None:
        """A place of the client is free again."""
        self._taken[client] -= 1
        if self._taken[client] <= 0:
            del self._taken[client]


class CountedLogin:
    """Logs in as ``login`` does, and takes a place for each name that was given on one connection.

    ``refuse`` is called when there is none for it.
    """

    def __init__(self, login: Login, places: ClientPlaces, refuse: Callable[[], None]) -> None:
        self._login = login
        self._places = places
        self._refuse = refuse
        self._taken: set[Client] = set()

    @property
    def required(self) -> bool:
        """Whether clients must say who they are."""
        return self._login.required

    def check(self, username: bytes, password: bytes) -> bool:
        """Tell whether they belong together."""
        good = self._login.check(username, password)
        client = ("name", username.decode("utf-8", "replace"))
        if good and client not in self._taken:
            if self._places.take(client):
                self._taken.add(client)
            else:
                self._refuse()
        return good

    def give_back(self) -> None:
        """The connection has ended."""
        while self._taken:
            self._places.give_back(self._taken.pop())


def client_of(connection: socket.socket) -> Client:
    """Return whose connection it is, as far as the system tells."""
    user = peer_user(connection)
    if user is not None:
        return "user", str(user)
    try:
        peer = connection.getpeername()
    except OSError:
        return "address", ""  # it has gone away
    return "address", str(peer[0]) if isinstance(peer, tuple) else ""
