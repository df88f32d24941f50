"""An upload sink for labs that have none: ``sink.py ADDRESS PORT``; answers a PUT with the SHA-256 of what came."""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink(BaseHTTPRequestHandler):
    """Takes uploads with a Content-Length."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Read the body and answer with its size and digest."""
        left = int(self.headers.get("Content-Length", "0"))
        digest = hashlib.sha256()
        size = left
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        while left > 0:
            data = self.rfile.read(min(left, 1 << 20))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        body = json.dumps({"bytes": size, "sha256": digest.hexdigest()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Sink).serve_forever()
