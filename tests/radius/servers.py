"""hostapd's and FreeRADIUS' EAP servers, started on loopback with certificates and users of their own.

Both are what stands behind real SSTP servers. Their configuration is written here in full: nothing of the machine's own
is used.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from sstpsocks.tunnel.client_certificate import ClientCertificate
from tests.helpers.certificates import authority, issue
from tests.helpers.radius import RadiusClient

SECRET = b"between the servers"
PASSWORD = "open sesame"
SERVER_NAME = "radius.corp.example"
START_TIMEOUT = 20.0

# The users of hostapd have one method each; [2] are those inside PEAP.
HOSTAPD_USERS = f"""
"md5" MD5 "{PASSWORD}"
"gtc" GTC "{PASSWORD}"
"alice" MSCHAPV2 "{PASSWORD}"
"tls-user" TLS
"anonymous" PEAP
"alice" MSCHAPV2 "{PASSWORD}" [2]
"gtc" GTC "{PASSWORD}" [2]
"tls-user" TLS [2]
"""

FREERADIUS = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {folder}
logdir = {folder}
run_dir = {folder}
pidfile = {folder}/pid
max_request_time = 30
cleanup_delay = 1
proxy_requests = no
security {{
  reject_delay = 0
  allow_vulnerable_openssl = yes
}}
thread pool {{
  start_servers = 1
  max_servers = 2
  min_spare_servers = 1
  max_spare_servers = 1
}}
client loopback {{
  ipaddr = 127.0.0.1
  secret = "{secret}"
}}
modules {{
  files {{
    usersfile = {folder}/users
  }}
  pap {{
  }}
  mschap {{
    use_mppe = yes
  }}
  eap {{
    default_eap_type = mschapv2
    md5 {{
    }}
    gtc {{
      auth_type = PAP
    }}
    mschapv2 {{
    }}
    tls-config common {{
      private_key_file = {folder}/server.key
      certificate_file = {folder}/server.pem
      ca_file = {folder}/ca.pem
      cipher_list = "DEFAULT"
      ecdh_curve = ""
      tls_min_version = "1.2"
      tls_max_version = "1.3"
      fragment_size = 1024
    }}
    tls {{
      tls = common
    }}
    peap {{
      tls = common
      default_eap_type = mschapv2
      use_tunneled_reply = yes
      virtual_server = inner
    }}
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  {policy}
}}
server inner {{
  {policy}
}}
"""
FREERADIUS_POLICY = """
  authorize {
    files
    eap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
"""


@dataclass(frozen=True)
class EapServer:
    """A running server."""

    name: str
    port: int
    ca_file: str
    certificate: ClientCertificate
    """What it lets in by EAP-TLS, as "tls-user"."""

    def connect(self) -> RadiusClient:
        return RadiusClient(("127.0.0.1", self.port), SECRET)


def missing(program: str) -> str | None:
    """Return why the server cannot be run, None when it can."""
    if not (shutil.which(program) or Path("/usr/sbin", program).exists()):
        return f"{program} is not installed"
    return None


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(program: str, folder: Path) -> Iterator[EapServer]:
    """Run a server until the block is left."""
    corp = authority("Corp Authority")
    server = issue([SERVER_NAME], corp)
    client = issue([], corp, subject="tls-user", usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    (folder / "ca.pem").write_bytes(corp.pem)
    (folder / "server.pem").write_bytes(server.pem)
    (folder / "server.key").write_bytes(server.key_pem)
    port = free_port()
    command = _hostapd(folder, port) if program == "hostapd" else _freeradius(folder, port)
    path = shutil.which(program) or f"/usr/sbin/{program}"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([path, *command], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(process, port, folder / "log")
        certificate = ClientCertificate(client.certificate, client.key)
        yield EapServer(program, port, str(folder / "ca.pem"), certificate)
    finally:
        process.terminate()
        process.wait(10)


def _hostapd(folder: Path, port: int) -> list[str]:
    (folder / "users").write_text(HOSTAPD_USERS)
    (folder / "clients").write_text(f"127.0.0.1 {SECRET.decode()}\n")
    (folder / "conf").write_text(
        f"""
interface=lo
driver=none
logger_stdout=-1
logger_stdout_level=2
eap_server=1
eap_user_file={folder}/users
ca_cert={folder}/ca.pem
server_cert={folder}/server.pem
private_key={folder}/server.key
radius_server_clients={folder}/clients
radius_server_auth_port={port}
tls_session_lifetime=3600
tls_flags=[ENABLE-TLSv1.3]
"""
    )
    return [str(folder / "conf")]


def _freeradius(folder: Path, port: int) -> list[str]:
    (folder / "users").write_text(
        "".join(f'{user} Cleartext-Password := "{PASSWORD}"\n' for user in ("alice", "gtc", "md5"))
    )
    (folder / "radiusd.conf").write_text(
        FREERADIUS.format(folder=folder, port=port, secret=SECRET.decode(), policy=FREERADIUS_POLICY)
    )
    return ["-f", "-l", "stdout", "-d", str(folder), "-n", "radiusd"]


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return when the server has the port: nobody else can bind it any more."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not start: {log.read_text(errors='replace')[-2000:]}")
