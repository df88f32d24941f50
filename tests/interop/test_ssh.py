"""OpenSSH and git through the tunnel: by -W as ssh's ProxyCommand, by -L, and by SOCKS as scripts do it."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_programs import soon, target_of

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

IS_ROOT = getattr(os, "getuid", lambda: -1)() == 0  # nobody is on Windows

PORT = 2222
SIZE = 64 << 20


@dataclass(frozen=True)
class SshServer:
    """An OpenSSH server behind the VPN server, which lets in whoever has ``key``."""

    address: str
    folder: Path
    """Its files, which the tests see too: only the network is another."""

    @property
    def options(self) -> list[str]:
        """What ssh and sftp are told so that they use nothing of this machine's user."""
        return [
            *("-F", "none", "-i", str(self.folder / "key"), "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "HostKeyAlias=inside", "-o", "BatchMode=yes"),
        ]


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(command: list[str], **variables: str) -> str:
    done = subprocess.run(
        command,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def ssh_server(server: Server, tmp_path: Path) -> Iterator[SshServer]:
    """An sshd on the machine of ``http``."""
    inside = shlex.split(server.need("inside"))
    sshd, keygen = program("sshd"), program("ssh-keygen")
    if not IS_ROOT:
        pytest.skip("sshd lets others in only when it is root")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("key", "host_key"):
        run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)])
    (folder / "known_hosts").write_text(f"inside {(folder / 'host_key.pub').read_text()}")
    Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd separates its privileges
    address = target_of(server)[0]
    (folder / "sshd_config").write_text(
        f"""
ListenAddress {address}:{PORT}
HostKey {folder / "host_key"}
AuthorizedKeysFile {folder / "key.pub"}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*inside, sshd, "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        assert soon(lambda: "Server listening" in (folder / "log").read_text(), 10), (folder / "log").read_text()
        yield SshServer(address, folder)
    finally:
        process.terminate()
        process.wait(10)


def proxy_command(client: Client, server: Server) -> str:
    arguments = [*client.arguments, "--auth", server.auth.split(",")[0], "-W", "%h:%p"]
    return f"ProxyCommand={shlex.join([sys.executable, '-m', 'sstpsocks', *arguments])}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_ssh_logs_in_through_its_proxy_command(client: Client, server: Server, ssh_server: SshServer) -> None:
    ssh = [program("ssh"), *ssh_server.options, "-o", proxy_command(client, server), "-p", str(PORT)]
    assert run([*ssh, ssh_server.address, "echo $SSH_CONNECTION"]).split()[2:] == [ssh_server.address, str(PORT)]


def test_sftp_carries_64_mb_there_and_back_through_a_forward(
    client: Client, server: Server, ssh_server: SshServer, tmp_path: Path
) -> None:
    sftp, port = program("sftp"), free_port()
    sent, stored, received = tmp_path / "sent", tmp_path / "stored", tmp_path / "received"
    sent.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    client.start("--auth", server.auth.split(",")[0], "-L", f"{port}:{ssh_server.address}:{PORT}")
    client.wait_ready()
    batch = tmp_path / "batch"
    batch.write_text(f"put {sent} {stored}\nget {stored} {received}\n")
    run([sftp, *ssh_server.options, "-b", str(batch), "-P", str(port), "127.0.0.1"])
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (sent, stored, received)}
    assert received.stat().st_size == SIZE
    assert len(digests) == 1


def test_git_clones_and_pushes_over_ssh(client: Client, server: Server, ssh_server: SshServer, tmp_path: Path) -> None:
    git = program("git")
    bare, clone, again = tmp_path / "project.git", tmp_path / "clone", tmp_path / "again"
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.com", "-c", "init.defaultBranch=main"]
    run([git, *identity, "init", "--quiet", "--bare", str(bare)])
    ssh = shlex.join([program("ssh"), *ssh_server.options, "-o", proxy_command(client, server), "-p", str(PORT)])
    url = f"ssh://{ssh_server.address}:{PORT}{bare}"
    run([git, "clone", "--quiet", url, str(clone)], GIT_SSH_COMMAND=ssh)
    (clone / "greeting.txt").write_text("hello\n")
    run([git, "-C", str(clone), "add", "greeting.txt"])
    run([git, "-C", str(clone), *identity, "commit", "--quiet", "-m", "Say hello"])
    run([git, "-C", str(clone), "push", "--quiet", "origin", "HEAD:main"], GIT_SSH_COMMAND=ssh)
    run([git, "clone", "--quiet", "--branch", "main", url, str(again)], GIT_SSH_COMMAND=ssh)
    assert (again / "greeting.txt").read_text() == "hello\n"
