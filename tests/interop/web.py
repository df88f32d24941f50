"""A web server behind the VPN server: nginx with HTTPS and HTTP/2, and what programs fetch from it."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

HTTP_PORT = 8088
HTTPS_PORT = 8443
GREETING = "hello from the intranet\n"
PACKAGE = "intranet_greeting"


@dataclass(frozen=True)
class Web:
    """Where it is, and whom to trust."""

    name: str
    """A name that only the tunnel's DNS knows."""
    address: str
    ca_file: Path

    def http(self, path: str = "greeting.txt", *, by_name: bool = True) -> str:
        """Return a URL without TLS."""
        return f"http://{self.name if by_name else self.address}:{HTTP_PORT}/{path}"

    def https(self, path: str = "greeting.txt", *, by_name: bool = True) -> str:
        """Return a URL with TLS."""
        return f"https://{self.name if by_name else self.address}:{HTTPS_PORT}/{path}"


def _write_package(folder: Path) -> None:
    """Write a package index with one small wheel (PEP 503)."""
    folder.mkdir(parents=True)
    files = {
        f"{PACKAGE}.py": f"GREETING = {GREETING!r}\n",
        f"{PACKAGE}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{PACKAGE}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}"
        for name, text in files.items()
    ]
    files[f"{PACKAGE}-1.0.dist-info/RECORD"] = "\n".join([*record, f"{PACKAGE}-1.0.dist-info/RECORD,,", ""])
    wheel = f"{PACKAGE}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    (folder / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel}">{wheel}</a></body></html>')


@contextmanager
def running(nginx: str, inside: list[str], name: str, address: str, folder: Path) -> Iterator[Web]:
    """Run it on the machine that ``inside`` leads to, with its files in ``folder``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert(name, address)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    pages = folder / "pages"
    _write_package(pages / "simple" / PACKAGE.replace("_", "-"))
    (pages / "greeting.txt").write_text(GREETING)
    (pages / "page.html").write_text(
        "<!DOCTYPE html><title>intranet</title><p id=text>empty</p>"
        "<script>fetch('greeting.txt').then(answer => answer.text())"
        ".then(text => { document.getElementById('text').textContent = 'fetched ' + text; })</script>"
    )
    (folder / "nginx.conf").write_text(
        f"""
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
user root;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    types {{ text/html html; text/plain txt; application/octet-stream whl; }}
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:{HTTP_PORT};
        listen {address}:{HTTPS_PORT} ssl http2;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.pem;
        root {pages};
    }}
}}
"""
    )
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(
            [*inside, nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Web(name, address, folder / "ca.pem")
    finally:
        process.terminate()
        process.wait(10)
