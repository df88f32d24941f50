"""A server that talks back: ``talk.py ADDRESS PORT``; echoes WebSocket messages, and measures bodies of any framing.

``/socket.html`` is a page whose script says something to the WebSocket and writes what comes back into the page;
``/download`` is a file to save. PUT and POST are answered with the body's framing and SHA-256. It runs as a program of
its own behind the VPN server, so it imports nothing but Python's library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MESSAGE = "said through the tunnel"
DOWNLOAD = b"to be saved\n" * 100_000
PAGE = f"""<!DOCTYPE html><title>talk</title><p id=text>empty</p><img src="/closed"><script>
const socket = new WebSocket('ws://' + location.host + '/echo');
socket.onopen = () => socket.send('{MESSAGE}');
socket.onmessage = event => {{
    document.getElementById('text').textContent = 'echoed: ' + event.data;
    socket.close();
}};
</script>""".encode()
# RFC 6455 section 1.3
ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLOSE = 0x8

socket_closed = threading.Event()


class Talker(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Give a page, a file, or the WebSocket."""
        if self.path == "/echo":
            self._echo()
        elif self.path == "/download":
            self._answer(DOWNLOAD, "text/plain", "attachment; filename=saved.txt")
        elif self.path == "/closed":
            socket_closed.wait(20)
            self._answer(b"", "image/png")
        else:
            self._answer(PAGE, "text/html")

    def do_PUT(self) -> None:
        """Read the body and tell what it was."""
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        body = b"".join(self._chunks()) if chunked else self.rfile.read(int(self.headers["Content-Length"]))
        about = {"framing": "chunked" if chunked else "length", "sha256": hashlib.sha256(body).hexdigest()}
        self._answer(json.dumps(about).encode(), "application/json")

    def do_POST(self) -> None:
        """As PUT."""
        self.do_PUT()

    def _answer(self, body: bytes, media_type: str, disposition: str = "inline") -> None:
        self.send_response(200)
        for name, value in (("Type", media_type), ("Disposition", disposition), ("Length", str(len(body)))):
            self.send_header(f"Content-{name}", value)
        self.end_headers()
        self.wfile.write(body)

    def _chunks(self) -> list[bytes]:
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return chunks

    def _echo(self) -> None:
        """Send each message back until the browser closes (RFC 6455 section 5.2); browsers mask, servers do not."""
        accept = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + ACCEPT_GUID).encode()).digest()  # noqa: S324  # RFC 6455
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        self.close_connection = True
        while len(head := self.rfile.read(2)) == 2:
            size = head[1] & 0x7F
            assert size < 126, "the page says something short"
            mask, data = self.rfile.read(4), self.rfile.read(size)
            self.wfile.write(bytes((head[0], size)) + bytes(octet ^ mask[at % 4] for at, octet in enumerate(data)))
            if head[0] & 0x0F == CLOSE:
                socket_closed.set()
                return

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Talker).serve_forever()
