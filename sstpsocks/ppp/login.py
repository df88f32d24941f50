"""The authentication phase of one link (RFC 1661 section 3.5): the machine that speaks, and with which credentials.

A client that was refused keeps that in mind across LCP's renegotiations, so that the same credentials are never sent
twice: servers lock accounts.
"""

from __future__ import annotations

from ..base.entropy import Entropy
from ..errors import AuthenticationFailed, ConfigError, LocalProtocolError
from .auth import Authenticator, AuthEvent, AuthMethod, Credentials
from .authenticators import make_client, make_server
from .config import PppConfig, Role
from .packet import build_frame


class Login:
    """Holds the Authenticator of the method that LCP agreed on, none outside of the phase."""

    def __init__(self, config: PppConfig, entropy: Entropy) -> None:
        self._config = config
        self._entropy = entropy
        self._authenticator: Authenticator | None = None
        self._credentials = config.credentials
        self.refused = False
        """Client: the server refused the credentials, and there have been no others since."""

    @property
    def protocol(self) -> int | None:
        """The PPP protocol of its packets, None outside of the phase."""
        return self._authenticator.protocol if self._authenticator is not None else None

    def begin(self, method: AuthMethod, now: float) -> None:
        """Start. Raises AuthenticationFailed when the credentials cannot be sent with this method."""
        try:
            authenticator = self._make_authenticator(method)
        except ConfigError as error:
            raise AuthenticationFailed(str(error), hint=error.hint) from error
        self._authenticator = authenticator
        authenticator.start(now)

    def end(self) -> None:
        """Leave the phase."""
        self._authenticator = None

    def retry(self, credentials: Credentials, now: float) -> None:
        """Try other credentials. Raises LocalProtocolError or ConfigError, as PppPeer.retry_authentication() does."""
        if self._authenticator is None or not self.refused:
            raise LocalProtocolError("no other log-in is due", layer="ppp")
        self._authenticator.retry(credentials, now)
        self._credentials = credentials
        self.refused = False

    # The contract of a machine.

    def receive(self, information: memoryview, now: float) -> None:
        """Take one packet of ``protocol``. Raises RemoteProtocolError for what is to be discarded."""
        if self._authenticator is not None:
            self._authenticator.receive_packet(bytes(information), now)

    def frames_to_send(self, now: float) -> list[bytes]:
        """Return the frames to send now and forget them."""
        if self._authenticator is None:
            return []
        protocol = self._authenticator.protocol
        return [build_frame(protocol, packet) for packet in self._authenticator.packets_to_send(now)]

    def next_event(self) -> AuthEvent | None:
        """Return the next verdict, or None."""
        return self._authenticator.next_event() if self._authenticator is not None else None

    def poll_at(self) -> float | None:
        """When handle_timer() wants to be called, None for never."""
        return self._authenticator.poll_at() if self._authenticator is not None else None

    def handle_timer(self, now: float) -> None:
        """Let the retransmission timers act."""
        if self._authenticator is not None:
            self._authenticator.handle_timer(now)

    def _make_authenticator(self, method: AuthMethod) -> Authenticator:
        if self._config.role is Role.CLIENT and self._credentials is not None:
            return make_client(
                method,
                self._credentials,
                self._entropy,
                methods=self._config.methods,
                tls=self._config.eap_tls,
                zero_hlak=self._config.eap_zero_hlak,
            )
        if self._config.role is Role.SERVER and self._config.lookup is not None:
            return make_server(
                method,
                self._config.lookup,
                self._entropy,
                self._config.name,
                methods=self._config.methods,
                tls=self._config.eap_tls_server,
            )
        raise LocalProtocolError("nothing to authenticate with", layer="ppp")
