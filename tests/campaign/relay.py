"""A piece of the way to the server that is ours: it passes on, resets, refuses, or forgets."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

LINGER_ZERO = struct.pack("ii", 1, 0)


class Relay:
    """Listens on loopback and connects each client to the server."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.refusing = False
        """Reset whoever connects."""
        self._forgotten: set[socket.socket] = set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """End all connections with RST, towards both sides."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                    # A thread in recv() holds the socket: closing it says nothing until that has returned.
                    end.shutdown(socket.SHUT_RD)
                end.close()

    def forget(self) -> None:
        """Take everything that comes on the connections of now, and pass nothing on; new ones work."""
        self._forgotten.update(end for pair in self._pairs for end in pair)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(262144):
                if source not in self._forgotten:
                    sink.sendall(data)
            if source not in self._forgotten:
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side has reset or closed: the other one is told in the same way.
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                    end.shutdown(socket.SHUT_RD)
                end.close()
