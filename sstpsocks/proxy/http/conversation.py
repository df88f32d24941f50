"""The answer to CONNECT, as an attempt to connect asks for it (../socks/attempt.py)."""

from __future__ import annotations

from ...tunnel.network import SocketAddress

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# RFC 9110 section 9.3.6: "A server MUST NOT send any Transfer-Encoding or Content-Length header fields in a 2xx
# (Successful) response to CONNECT."


class ConnectConversation:
    """A client that waits for its connection, and what it sent early."""

    def __init__(self, early_data: bytes) -> None:
        self._early_data = bytearray(early_data)
        self._output = b""

    def receive_data(self, data: bytes) -> None:
        """Keep what the client sends before its connection stands."""
        self._early_data += data

    @property
    def early_data_size(self) -> int:
        """How many bytes were kept."""
        return len(self._early_data)

    def take_early_data(self) -> bytes:
        """Return what was kept, each byte once."""
        data = bytes(self._early_data)
        self._early_data.clear()
        return data

    def reply(self, code: int, bound: SocketAddress | None = None) -> None:
        """Queue the answer that the connection stands; other codes are answered by whoever gets the error."""
        if code == 0:
            self._output = ESTABLISHED

    def data_to_send(self) -> bytes:
        """Return what is to be sent to the client, each byte once."""
        data, self._output = self._output, b""
        return data
